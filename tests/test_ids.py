"""Random ids: what they look like, and that none comes twice."""

import re

import pytest

from coregateway.model.ids import AHEAD, Ids


@pytest.mark.parametrize("size", [8, 16])
def test_each_is_of_its_length_and_comes_once(size: int) -> None:
    ids = Ids(size)
    taken = [ids.take() for _ in range(3 * AHEAD + 1)]
    assert all(re.fullmatch(r"[0-9a-f]+", each) and len(each) == 2 * size for each in taken)
    assert len(set(taken)) == len(taken)
