import pytest

from tests.node.running_node import ROOT
from tests.scheduling import APART, RANKS


@pytest.mark.parametrize("module", APART)
def test_tests_that_are_dealt_out_one_by_one_share_nothing(module: str) -> None:
    text = (ROOT / module).read_text("utf-8")
    assert 'scope="module"' not in text


def test_what_comes_first_is_there() -> None:
    assert [module for module in RANKS if not (ROOT / module).is_file()] == []
