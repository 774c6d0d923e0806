"""The last minutes and the last hour: what is kept of them, for how long, and in how much memory."""

import os
import signal
from multiprocessing import get_context
from multiprocessing.synchronize import Event

import pytest

from coregateway.shared_memory.history import (
    AMOUNTS,
    FINE_LANES,
    LANES,
    MINUTES,
    MOST,
    SECONDS,
    SIZE,
    History,
    Lanes,
    size_of,
)
from coregateway.shared_memory.memory import SharedMemory

NOON = 1_764_417_600.0


def amounts(number: float) -> list[float]:
    return [float(number)] * AMOUNTS


def lanes(count: int = 2, rows: int = 3, *, is_reused: bool = False) -> Lanes:
    memory = SharedMemory(size_of(count, rows))
    return Lanes(memory, 0, count, rows, 60, is_reused=is_reused)


def add(table: Lanes, name: str, now: float, number: float) -> None:
    lane = table.lane(name, now)
    assert lane is not None
    table.add(lane, now, 1.0, amounts(number))


def test_the_hour_takes_less_than_eight_mebibytes() -> None:
    assert SIZE < 8 * 1024 * 1024
    assert MINUTES > 60
    assert SECONDS >= 300
    assert (LANES, FINE_LANES) == (1024, 33)


def test_what_falls_into_one_span_is_added_up() -> None:
    table = lanes()
    add(table, "a", NOON, 1)
    add(table, "a", NOON + 59, 2.5)
    add(table, "a", NOON + 60, 4)
    first, second = table.read("a", NOON + 60)
    assert (first.when, first.span) == (NOON, 2.0)
    assert first.amounts[0] == 3  # counts are whole
    assert first.amounts[-1] == 3.5
    assert (second.when, second.amounts[0]) == (NOON + 60, 4)
    assert table.read("b", NOON) == []


def test_the_oldest_rows_give_way_and_old_ones_are_not_shown() -> None:
    table = lanes(rows=3)
    for minute in range(5):
        add(table, "a", NOON + 60 * minute, minute)
    assert [row.amounts[0] for row in table.read("a", NOON + 240)] == [2, 3, 4]
    assert [row.amounts[0] for row in table.read("a", NOON + 300)] == [3, 4]
    assert table.read("a", NOON + 3600) == []


def test_a_count_stays_within_its_room() -> None:
    table = lanes()
    add(table, "a", NOON, MOST)
    add(table, "a", NOON, 1)
    (row,) = table.read("a", NOON)
    assert row.amounts[0] == MOST


def test_lanes_are_for_good_or_for_names_that_are_in_use() -> None:
    table = lanes(2, 3, is_reused=False)
    assert [table.lane(name, NOON + 9000 * at) is None for at, name in enumerate("abc")] == [
        False,
        False,
        True,
    ]
    table = lanes(2, 3, is_reused=True)
    add(table, "a", NOON, 1)
    add(table, "b", NOON + 60, 2)
    assert table.lane("c", NOON + 120) is None
    add(table, "c", NOON + 180, 3)  # a's rows are all too old
    assert table.read("a", NOON + 180) == []
    assert [row.amounts[0] for row in table.read("c", NOON + 180)] == [3]
    assert [row.amounts[0] for row in table.read("b", NOON + 180)] == [2]


def test_long_names_have_lanes() -> None:
    table = lanes()
    add(table, "é" * 100, NOON, 1)
    assert len(table.read("é" * 100, NOON)) == 1


def write_until_killed(memory: SharedMemory, writes: Event) -> None:
    history = History(memory, 0)
    assert history.may_write()
    lane = history.minutes.lane("a", NOON)
    assert lane is not None
    history.minutes.note_counted(lane, amounts(7))
    writes.set()
    signal.pause()


@pytest.fixture(name="memory")
def fixture_memory() -> SharedMemory:
    return SharedMemory(SIZE)


def test_one_process_writes_until_it_ends_and_the_next_goes_on_from_there(memory: SharedMemory) -> None:
    context = get_context("spawn")
    writes = context.Event()
    process = context.Process(target=write_until_killed, args=(memory, writes))
    process.start()
    assert writes.wait(30)
    history = History(memory, 0)
    assert not history.may_write()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert history.may_write()
    assert history.may_write()
    lane = history.minutes.lane("a", NOON)
    assert lane is not None
    assert history.minutes.counted(lane) == amounts(7)
    history.leave()
    assert History(memory, 0).may_write()
