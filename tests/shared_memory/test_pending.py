"""Log lines that outlive the process that collected them."""

import pytest

from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.pending import CAPACITY, SIZE, Pending


@pytest.fixture
def memory() -> SharedMemory:
    return SharedMemory(SIZE)


def held(memory: SharedMemory) -> bytes:
    """What a process that died now would leave."""
    start, end = (int(each) for each in memory.doubles(0, 2))
    return bytes(memory.bytes(16 + start, end - start))


def test_what_was_collected_and_has_not_left_is_found_once(memory: SharedMemory) -> None:
    pending = Pending(memory, 0)
    for line in (b"one\n", b"two\n", b"three\n"):
        pending.add(line)
    pending.left(4)
    finder = Pending(memory, 0)
    assert finder.take() == b"two\nthree\n"
    assert finder.take() == b""


def test_nothing_is_left_when_all_lines_have_left(memory: SharedMemory) -> None:
    pending = Pending(memory, 0)
    pending.add(b"one\n")
    pending.left(4)
    pending.add(b"two\n")
    assert Pending(memory, 0).take() == b"two\n"


def test_half_a_line_is_left_out(memory: SharedMemory) -> None:
    pending = Pending(memory, 0)
    pending.add(b"whole\n")
    pending.add(b"half")
    assert Pending(memory, 0).take() == b"whole\n"


def test_lines_without_room_are_not_kept_and_those_after_them_neither(memory: SharedMemory) -> None:
    pending = Pending(memory, 0)
    pending.add(b"a" * (CAPACITY - 3) + b"\n")
    pending.add(b"long\n")
    pending.add(b"b\n")
    assert Pending(memory, 0).take() == b"a" * (CAPACITY - 3) + b"\n"


def test_there_is_room_again_when_all_lines_have_left(memory: SharedMemory) -> None:
    pending = Pending(memory, 0)
    pending.add(b"a" * CAPACITY)
    pending.add(b"without room\n")
    pending.left(CAPACITY)
    pending.add(b"after it\n")
    assert held(memory) == b""
    pending.left(len(b"without room\nafter it\n"))
    pending.add(b"kept\n")
    assert Pending(memory, 0).take() == b"kept\n"


def test_lines_that_were_dropped_are_not_waited_for(memory: SharedMemory) -> None:
    pending = Pending(memory, 0)
    pending.add(b"a" * CAPACITY)
    pending.add(b"dropped\n")
    pending.dropped(b"dropped\n")
    pending.left(CAPACITY)
    pending.add(b"kept\n")
    assert Pending(memory, 0).take() == b"kept\n"


def test_a_part_that_was_buried_since_begins_anew(memory: SharedMemory) -> None:
    Pending(memory, 0).add(b"of the dead\n")
    successor = Pending(memory, 0)
    assert Pending(memory, 0).take() == b"of the dead\n"  # the main process was first
    assert successor.take() == b""
    successor.add(b"own\n")
    assert Pending(memory, 0).take() == b"own\n"


def test_whatever_comes_and_goes_what_waits_is_held_in_its_order(memory: SharedMemory) -> None:
    pending, waiting = Pending(memory, 0), b""
    for number in range(3000):
        line = b"%d " % number * (1 + number * 7 % 41) + b"\n"
        pending.add(line)
        waiting += line
        if number % 3 == 0:
            count = len(waiting) * (number % 5) // 4
            pending.left(count)
            waiting = waiting[count:]
        assert held(memory) == waiting
