"""Many processes read as one node."""

import os
import subprocess

import pytest

from coregateway import __version__
from coregateway.node.state import Node, State
from coregateway.observability.metrics import families
from coregateway.observability.metrics.families import key
from coregateway.observability.metrics.reading import Reader, Snapshot
from coregateway.shared_memory import Board, Part
from tests.observability.metrics.tables import claim


def write(part: Part, family: families.Family, *values: str, number: float, at: int = 0) -> None:
    place = part.series.slot(key(family, *values))
    assert place is not None
    part.series.numbers[place + at] = number


@pytest.fixture(name="dead")
def fixture_dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_counters_are_summed_over_all_processes_and_gauges_over_the_living(dead: int) -> None:
    board = Board(2, 2)
    living, gone = claim(board, 0), claim(board, 1, dead)
    for part, number in ((living, 1.0), (gone, 10.0)):
        write(part, families.REQUESTS, "b", "/b", "GET", "200", number=number)
        write(part, families.IN_FLIGHT, "b", number=number)
        write(part, families.OVERHEAD, "b", number=number, at=3)
        write(part, families.OVERHEAD, "b", number=number / 4, at=families.OVERHEAD.width - 1)
    found = Reader(board).read()
    assert found.value(families.REQUESTS, "b", "/b", "GET", "200") == 11
    assert found.value(families.IN_FLIGHT, "b") == 1
    expected = [0.0] * families.OVERHEAD.width
    expected[3], expected[-1] = 11.0, 2.75
    assert found.histogram(families.OVERHEAD, "b") == expected


def test_a_gauge_leaves_with_its_process_and_a_counter_stays() -> None:
    board = Board(1, 1)
    part = claim(board)
    write(part, families.ATTEMPTS, "b", number=7)
    write(part, families.QUEUE_LENGTH, "b", number=3)
    reader = Reader(board)
    assert reader.read().value(families.QUEUE_LENGTH, "b") == 3
    part.leave()
    found = reader.read()
    assert (found.value(families.ATTEMPTS, "b"), found.value(families.QUEUE_LENGTH, "b")) == (7, 0)


def test_a_reader_sees_what_is_new_since_it_last_looked() -> None:
    board = Board(1, 1)
    part = claim(board)
    reader = Reader(board)
    for number in range(600):  # more than it takes in at a time
        write(part, families.ERRORS, "b", f"cause {number}", number=1)
        if number % 100 == 99:
            assert reader.read().total(families.ERRORS, backend="b") == number + 1


def test_two_who_read_in_turns_see_the_same() -> None:
    board = Board(1, 1)
    part = claim(board)
    for number in range(600):
        write(part, families.ERRORS, "b", f"cause {number}", number=1)
    reader = Reader(board)
    slow = Snapshot()
    steps = reader.steps(slow)
    next(steps)
    assert reader.read().total(families.ERRORS) == 600
    for _ in steps:
        pass
    assert slow.total(families.ERRORS) == 600
    assert reader.read().total(families.ERRORS) == 600


def test_each_worker_can_be_read_by_itself(dead: int) -> None:
    board = Board(3, 1)
    for number, owner in enumerate((os.getpid(), dead, os.getppid())):
        write(claim(board, number, owner), families.ATTEMPTS, "b", number=number + 1)
    found = Reader(board).read_workers()
    assert {worker: each.value(families.ATTEMPTS, "b") for worker, each in found.items()} == {0: 1, 2: 3}


def test_the_workers_count_by_state_with_their_restarts() -> None:
    board = Board(3, 1)
    node = Node(board)
    for number, state in enumerate((State.READY, State.READY, State.DRAINING)):
        node.enter(number, state, 1000 + number)
    node.count_restart(0)
    node.count_restart(2)
    found = Reader(board).read()
    assert found.values(families.WORKERS) == {
        ("down",): 0,
        ("starting",): 0,
        ("ready",): 2,
        ("draining",): 1,
        ("retired",): 0,
    }
    assert found.value(families.WORKER_RESTARTS) == 2
    assert found.value(families.BUILD_INFO, __version__) == 1


def test_what_others_keep_in_the_parts_is_not_read() -> None:
    board = Board(1, 1)
    part = claim(board)
    for strange in ("spill", "status\x1fb", "requests\x1fshort"):
        assert part.series.slot(strange) is not None
    assert Reader(board).read().values(families.REQUESTS) == {}


def test_a_sum_can_be_narrowed_by_labels() -> None:
    board = Board(1, 1)
    part = claim(board)
    for backend, code, number in (("a", "200", 1), ("a", "502", 2), ("b", "502", 4)):
        write(part, families.REQUESTS, backend, "/x", "GET", code, number=number)
    found = Reader(board).read()
    assert found.total(families.REQUESTS) == 7
    assert found.total(families.REQUESTS, backend="a") == 3
    assert found.total(families.REQUESTS, code="502") == 6
    assert found.total(families.REQUESTS, backend="a", code="502") == 2
