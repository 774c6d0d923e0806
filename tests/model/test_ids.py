"""Random ids: what they look like, and that none comes twice."""

import re

import pytest

from coregateway.model.ids import new_id


@pytest.mark.parametrize("size", [8, 16])
def test_each_is_of_its_length_and_comes_once(size: int) -> None:
    taken = [new_id(size) for _ in range(200)]
    assert all(re.fullmatch(r"[0-9a-f]+", each) and len(each) == 2 * size for each in taken)
    assert len(set(taken)) == len(taken)
