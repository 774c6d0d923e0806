"""Log lines that outlive the process that collected them."""

import pytest

from coregateway.shared.memory import SharedMemory
from coregateway.shared.pending import CAPACITY, SIZE, Pending


@pytest.fixture
def memory() -> SharedMemory:
    return SharedMemory(SIZE)


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
    pending.add(b"not kept\n")
    pending.left(CAPACITY)
    pending.add(b"kept\n")
    assert Pending(memory, 0).take() == b"kept\n"
