"""Random ids: what they look like, and that none comes twice."""

import os
import re

import pytest

from coregateway.model.ids import new_id


@pytest.mark.parametrize("size", [8, 16])
def test_each_is_of_its_length_and_comes_once(size: int) -> None:
    taken = [new_id(size) for _ in range(200)]
    assert all(re.fullmatch(r"[0-9a-f]+", each) and len(each) == 2 * size for each in taken)
    assert len(set(taken)) == len(taken)


def test_a_forked_process_has_ids_of_its_own() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, new_id(16).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 32).decode() != new_id(16)
    os.close(reading)
    os.close(writing)
