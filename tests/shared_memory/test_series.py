"""Numbers by name in one process's table."""

import pytest

from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.series import MAX_KEY, WIDTH, Series, size_of


def tables(slots: int) -> tuple[Series, Series]:
    """A writer's view of a new table and a reader's."""
    memory = SharedMemory(8 + size_of(slots))
    return Series(memory, 8, slots), Series(memory, 8, slots)


def contents(series: Series) -> dict[str, list[float]]:
    return {key: series.read(at) for key, at in series}


def test_a_reader_sees_what_the_writer_wrote_under_the_same_keys() -> None:
    writer, reader = tables(4)
    for key, value in (("a", 1.5), ("ä" * 60, 2.0)):
        at = writer.slot(key)
        assert at is not None
        writer.numbers[at : at + WIDTH] = memoryview(bytes(8 * WIDTH)).cast("d")
        writer.numbers[at + WIDTH - 1] = value
    assert contents(reader) == {"a": [0.0] * 15 + [1.5], "ä" * 60: [0.0] * 15 + [2.0]}


def test_slots_never_touch_each_other() -> None:
    writer, reader = tables(3)
    for number, key in enumerate(("x" * MAX_KEY, "y", "z" * MAX_KEY), 1):
        at = writer.slot(key)
        assert at is not None
        for place in range(WIDTH):
            writer.numbers[at + place] = number
    assert list(contents(reader)) == ["x" * MAX_KEY, "y", "z" * MAX_KEY]
    assert [set(values) for values in contents(reader).values()] == [{1.0}, {2.0}, {3.0}]


def test_who_takes_over_finds_the_slots_and_adds_to_them() -> None:
    writer, successor = tables(2)
    at = writer.slot("total")
    assert at is not None
    writer.numbers[at] = 41
    again = successor.slot("total")
    assert again is not None
    assert again == at
    successor.numbers[again] += 1
    assert writer.read(at, 1) == [42.0]


@pytest.mark.parametrize("key", ["k" * (MAX_KEY + 1), "ü" * 61])
def test_a_key_that_is_too_long_has_no_slot(key: str) -> None:
    writer, reader = tables(2)
    assert writer.slot(key) is None
    assert contents(reader) == {}


def test_a_full_table_takes_no_more_keys_and_keeps_those_it_has() -> None:
    writer, reader = tables(2)
    first = writer.slot("a")
    assert writer.slot("b") is not None
    assert writer.slot("c") is None
    assert writer.slot("a") == first
    assert list(contents(reader)) == ["a", "b"]
