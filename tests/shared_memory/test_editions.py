"""Large texts: an edition stays whole for its readers until two others have come."""

import pytest

from coregateway.shared_memory.editions import CAPACITY, SIZE, Editions, Overtaken
from coregateway.shared_memory.memory import SharedMemory


@pytest.fixture(name="editions")
def fixture_editions() -> Editions:
    return Editions(SharedMemory(SIZE), 0)


def test_pieces_lie_one_after_the_other(editions: Editions) -> None:
    number = editions.write([b"one", b"", b"three"])
    assert editions.read(number, 0, 3) == b"one"
    assert editions.read(number, 3, 5) == b"three"


def test_an_edition_stays_while_the_next_one_is_there(editions: Editions) -> None:
    first = editions.write([b"first"])
    second = editions.write([b"second"])
    assert editions.read(first, 0, 5) == b"first"
    assert editions.read(second, 0, 6) == b"second"
    editions.write([b"third"])
    with pytest.raises(Overtaken):
        editions.read(first, 0, 5)
    assert editions.read(second, 0, 6) == b"second"


def test_nothing_was_ever_written(editions: Editions) -> None:
    with pytest.raises(Overtaken):
        editions.read(0, 0, 1)


def test_what_is_too_large_changes_nothing(editions: Editions) -> None:
    first = editions.write([b"first"])
    half = bytes(CAPACITY // 2 + 1)
    assert editions.write([half, half]) == 0
    assert editions.read(first, 0, 5) == b"first"
    assert editions.write([b"next"]) == first + 1
