"""Memory that processes share: seen by all of them, and locked by at most one."""

import multiprocessing
from multiprocessing.connection import Connection

from coregateway.shared_memory.memory import SharedMemory

SPAWN = multiprocessing.get_context("spawn")


def write_and_lock(memory: SharedMemory, pipe: Connection) -> None:
    memory.doubles(8, 1)[0] = 2.5
    pipe.send(memory.lock(3))
    pipe.recv()


def test_a_process_that_inherits_memory_writes_what_its_maker_reads_and_its_locks_end_with_it() -> None:
    memory = SharedMemory(64)
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=write_and_lock, args=(memory, there))
    process.start()
    try:
        assert here.poll(20)
        assert here.recv() is True
        assert memory.doubles(0, 3).tolist() == [0.0, 2.5, 0.0]
        assert not memory.lock(3)
        assert memory.lock(4)
    finally:
        process.kill()
        process.join()
    assert memory.lock(3)


def test_a_lock_is_taken_once_in_its_own_process_too() -> None:
    memory = SharedMemory(8)
    assert memory.lock(0)
    assert not memory.lock(0)
