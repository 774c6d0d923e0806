"""The latest records of one process: short texts, the oldest overwritten by the newest."""

from coregateway.shared_memory.memory import SharedMemory

RECORD = 2048
"""Bytes of a record, 16 of them its number and its length."""

MAX_TEXT = RECORD - 16
"""Bytes that a record holds; a longer one is not taken."""


HEADER = 16
"""Bytes before the first record: the number of the last one, by which untouched memory is never looked at."""


def size_of(records: int) -> int:
    """Bytes of a ring. Pages that were never written cost nothing."""
    return HEADER + records * RECORD


class Ring:
    """Up to `records` records at an offset of the shared memory. One process writes, any may read.

    Each record bears a number, which is 0 while it is being written: a reader who finds it changed behind his
    back has read two halves, and leaves them out.
    """

    def __init__(self, memory: SharedMemory, offset: int, records: int) -> None:
        size = size_of(records)
        self._bytes = memory.bytes(offset, size)
        self._numbers = memory.doubles(offset, size // 8)
        self._records = records

    def add(self, record: bytes) -> bool:
        """Take a record; False when it is too long."""
        if len(record) > MAX_TEXT:
            return False
        number = int(self._numbers[0]) + 1
        at = self._place(number)
        self._numbers[at] = 0
        self._numbers[at + 1] = len(record)
        self._bytes[8 * at + 16 : 8 * at + 16 + len(record)] = record
        self._numbers[at] = number
        self._numbers[0] = number
        return True

    def read(self) -> list[bytes]:
        """The records, oldest first."""
        return [record for _, record in self.read_since(0)]

    def read_since(self, last: int) -> list[tuple[int, bytes]]:
        """The records with greater numbers than `last`, and their numbers; oldest first."""
        found: list[tuple[int, bytes]] = []
        latest = int(self._numbers[0])
        for number in range(max(last, latest - self._records) + 1, latest + 1):
            at = self._place(number)
            if int(self._numbers[at]) != number:
                continue
            length = int(self._numbers[at + 1])
            record = bytes(self._bytes[8 * at + 16 : 8 * at + 16 + length])
            if int(self._numbers[at]) == number:
                found.append((number, record))
        return found

    def _place(self, number: int) -> int:
        """Where the record with this number is among the numbers."""
        return (HEADER + (number - 1) % self._records * RECORD) // 8
