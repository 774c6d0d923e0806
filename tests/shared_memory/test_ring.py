"""The latest records of a process."""

from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.ring import HEADER, MAX_TEXT, RECORD, Ring, size_of


def test_a_ring_keeps_the_latest_records_oldest_first() -> None:
    memory = SharedMemory(size_of(3))
    ring = Ring(memory, 0, 3)
    assert ring.read() == []
    for number in range(5):
        assert ring.add(b"record %d" % number)
    assert Ring(memory, 0, 3).read() == [b"record 2", b"record 3", b"record 4"]


def test_who_takes_over_goes_on_after_the_last_record() -> None:
    memory = SharedMemory(size_of(2))
    Ring(memory, 0, 2).add(b"of the first")
    Ring(memory, 0, 2).add(b"of the second")
    assert Ring(memory, 0, 2).read() == [b"of the first", b"of the second"]


def test_a_record_has_room_for_its_whole_length_and_not_more() -> None:
    memory = SharedMemory(size_of(2))
    ring = Ring(memory, 0, 2)
    assert ring.add(b"a" * MAX_TEXT)
    assert ring.add(b"b" * MAX_TEXT)
    assert not ring.add(b"c" * (MAX_TEXT + 1))
    assert ring.read() == [b"a" * MAX_TEXT, b"b" * MAX_TEXT]


def test_a_record_that_is_being_written_is_left_out() -> None:
    memory = SharedMemory(size_of(2))
    ring = Ring(memory, 0, 2)
    ring.add(b"first")
    ring.add(b"second")
    memory.doubles(HEADER + RECORD, 1)[0] = 0
    assert ring.read() == [b"first"]


def test_who_has_read_some_reads_the_others() -> None:
    ring = Ring(SharedMemory(size_of(3)), 0, 3)
    ring.add(b"a")
    ring.add(b"b")
    ((last, _),) = ring.read_since(1)
    assert last == 2
    ring.add(b"c")
    ring.add(b"d")
    assert ring.read_since(last) == [(3, b"c"), (4, b"d")]
    assert ring.read_since(4) == []
