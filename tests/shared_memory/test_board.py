"""One part for each living process of a node, and none lost when a process is."""

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from time import sleep

from coregateway.shared_memory import Board
from coregateway.shared_memory.board import FAILURES, NOTICED, RECORDS
from coregateway.shared_memory.history import SIZE as HISTORY_SIZE
from coregateway.shared_memory.publication import size_of as publication_size
from coregateway.shared_memory.ring import size_of as ring_size
from coregateway.shared_memory.series import OF_PROCESS

SPAWN = multiprocessing.get_context("spawn")


def count_for_ever(board: Board, pipe: Connection) -> None:
    part = board.claim(os.getpid(), 0)
    assert part is not None
    at = part.series.slot("counted")
    assert at is not None
    part.pending.add(b"last words\n")
    pipe.send(True)
    while True:
        part.series.numbers[at] += 1


def total(board: Board) -> float:
    return sum(part.series.read(at, 1)[0] for part in board.parts for _, at in part.series)


def test_what_a_killed_process_counted_stays_and_its_successor_adds_to_it() -> None:
    board = Board(2)
    before = 0.0
    for _ in range(3):
        here, there = SPAWN.Pipe()
        process = SPAWN.Process(target=count_for_ever, args=(board, there))
        process.start()
        assert here.poll(20)
        (living,) = [part for part in board.parts if part.living]
        while total(board) == before:
            sleep(0.001)
        assert living.owner == process.pid
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        assert not living.living
        assert board.bury(process.pid or 0) == b"last words\n"
        assert living.owner == 0
        assert total(board) > before
        before = total(board)
    assert len([part for part in board.parts if list(part.series)]) == 1


def test_processes_have_parts_of_their_own_until_there_are_no_more() -> None:
    board = Board(1)
    claimed = [board.claim(1, number) for number in range(len(board.parts) + 1)]
    assert claimed[-1] is None
    assert len({id(part) for part in claimed[:-1]}) == len(board.parts) == 5
    for number, part in enumerate(claimed[:-1]):
        assert part is not None
        assert part.worker == number
        at = part.series.slot("own")
        assert at is not None
        part.series.numbers[at] = number
    assert total(board) == 0 + 1 + 2 + 3 + 4


def test_to_bury_a_stranger_changes_nothing() -> None:
    board = Board(1)
    part = board.claim(os.getpid(), 0)
    assert part is not None
    part.pending.add(b"line\n")
    assert board.bury(os.getpid() + 1) == b""
    assert part.living


def test_the_beats_of_a_part_begin_anew_with_each_process() -> None:
    board = Board(1)
    part = board.claim(11, 0)
    assert part is not None
    assert board.part_of(11) is part
    assert part.beats == 0
    part.beat()
    part.beat()
    assert part.beats == 2
    part.leave()
    assert board.part_of(11) is None
    part.enter(12, 0)
    assert part.beats == 0


def test_what_a_process_had_under_way_ends_with_it_and_what_it_counted_stays() -> None:
    board = Board(1)
    part = board.claim(os.getpid(), 0)
    assert part is not None
    under_way, counted = part.series.slot(f"{OF_PROCESS}in flight"), part.series.slot("requests")
    assert under_way is not None
    assert counted is not None
    part.series.numbers[under_way] = part.series.numbers[counted] = 3.0
    part.leave()
    part.enter(os.getppid(), 1)
    assert part.series.numbers[under_way] == 0.0
    assert part.series.numbers[counted] == 3.0


def test_what_is_kept_for_operators_has_its_bounds() -> None:
    """Per process of a node: requests, failures by their causes, what was noticed; and the hour per node."""
    assert ring_size(RECORDS) <= 516 * 1024
    assert publication_size(FAILURES) + publication_size(NOTICED) <= 226 * 1024
    assert HISTORY_SIZE <= 8 * 1024 * 1024


def resident_shared() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssShmem:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssShmem")


def test_a_board_that_nobody_has_written_to_takes_next_to_no_memory() -> None:
    before = resident_shared()
    board = Board(8, 100)
    for part in board.parts:
        assert part.ring.read() == []
        assert part.failures.read() == b""
        assert part.noticed.read() == b""
    assert board.history.minutes.read("*", 0.0) == []
    assert resident_shared() - before < 1024 * 1024
