"""A small fixed part of what `python -m tests.fuzz` makes: it is refused, or passed on soundly."""

import pytest

from tests.fuzz.running import Side, run


@pytest.mark.parametrize(("side", "inputs"), [("requests", 240), ("responses", 96), ("services", 96)])
def test_generated_inputs(side: Side, inputs: int) -> None:
    done = run(side, inputs, first_seed=1, seconds=60)
    assert done.failure is None, done.failure
    assert done.inputs >= inputs
