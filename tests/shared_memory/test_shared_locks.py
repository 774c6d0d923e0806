"""A lock of the node is held by one process at a time, and by none that has ended."""

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from time import monotonic, sleep

from coregateway.shared_memory import Board
from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.shared_locks import PATIENCE, REST, SharedLocks, size_of

SPAWN = multiprocessing.get_context("spawn")


def hold_for_ever(board: Board, pipe: Connection) -> None:
    board.claim(os.getpid(), 0)
    held = board.rates.locks.hold(3)
    pipe.send(held)
    signal.pause()


def add(board: Board, times: int, pipe: Connection) -> None:
    board.claim(os.getpid(), 0)
    pipe.recv()
    table, without = board.rates, 0
    mark = table.mark(b"counted")
    for _ in range(times):
        while (held := table.hold(mark)) < 0:
            without += 1
        cell = table.find(mark, 0)
        table.write(cell, mark, table.time(cell, mark) + 1, 0)
        table.let_go(held)
    pipe.send(without)


def test_no_write_is_lost() -> None:
    board = Board(3)
    pipes = [SPAWN.Pipe() for _ in range(3)]
    processes = [SPAWN.Process(target=add, args=(board, 20_000, there)) for _, there in pipes]
    for process in processes:
        process.start()
    for here, _ in pipes:
        here.send(True)
    for (here, _), process in zip(pipes, processes, strict=True):
        assert here.poll(60)
        here.recv()
        process.join()
    mark = board.rates.mark(b"counted")
    assert board.rates.time(board.rates.find(mark, 0), mark) == 60_000


def test_a_process_that_dies_with_a_lock_blocks_no_other() -> None:
    for buried in (False, True):
        board = Board(2)
        here, there = SPAWN.Pipe()
        process = SPAWN.Process(target=hold_for_ever, args=(board, there))
        process.start()
        assert here.poll(20)
        assert here.recv() is True
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        if buried:
            board.bury(process.pid or 0)
        begun = monotonic()
        assert board.rates.locks.hold(3)
        assert monotonic() - begun < 10
        board.rates.locks.let_go(3)
        assert board.rates.locks.hold(3)
        assert board.rates.locks.waits == 0


def test_a_process_that_is_held_up_is_waited_for_now_and_then() -> None:
    board = Board(2)
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=hold_for_ever, args=(board, there))
    process.start()
    assert here.poll(20)
    assert here.recv() is True
    begun = monotonic()
    tries = 0
    while monotonic() - begun < REST / 2:
        assert not board.rates.locks.hold(3)
        tries += 1
    assert tries > REST / 2 / PATIENCE * 2
    process.kill()
    process.join()


def test_locks_are_apart_and_free_at_first() -> None:
    locks = SharedLocks(SharedMemory(size_of(4)), 0, 4, fresh=True)
    assert [locks.hold(number) for number in range(4)] == [True] * 4
    locks.let_go(2)
    assert [locks.hold(number) for number in (2, 1)] == [True, False]


def test_one_that_died_before_it_said_who_it_is_blocks_no_other() -> None:
    """The semaphore is taken, and nobody stands beside it."""
    memory = SharedMemory(size_of(1))
    locks = SharedLocks(memory, 0, 1, fresh=True)
    assert locks.hold(0)
    memory.integers(0, 8)[6] = 0
    assert not locks.hold(0)  # it may be held up just there
    begun = monotonic()
    while not locks.hold(0):
        assert monotonic() - begun < 20
        sleep(0.01)
    assert monotonic() - begun > 0.5
    locks.let_go(0)
    locks.let_go(0)  # the one that was taken for dead comes back
    assert [locks.hold(0), locks.hold(0)] == [True, False]
