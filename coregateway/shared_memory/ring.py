"""The latest records of one process: short texts, the oldest overwritten by the newest."""

from coregateway.shared_memory.memory import SharedMemory

RECORD = 2048
"""Bytes of a record, 16 of them its number and its length."""

MAX_TEXT = RECORD - 16
"""Bytes that a record holds; a longer one is not taken."""


def size_of(records: int) -> int:
    """Bytes of a ring."""
    return records * RECORD


class Ring:
    """Up to `records` records at an offset of the shared memory. One process writes, any may read.

    Each record bears a number, which is 0 while it is being written: a reader who finds it changed behind his
    back has read two halves, and leaves them out.
    """

    def __init__(self, memory: SharedMemory, offset: int, records: int) -> None:
        self._bytes = memory.bytes(offset, records * RECORD)
        self._numbers = memory.doubles(offset, records * RECORD // 8)
        self._records = records
        self._last = max((int(self._numbers[at]) for at in self._places()), default=0)

    def add(self, record: bytes) -> bool:
        """Take a record; False when it is too long."""
        if len(record) > MAX_TEXT:
            return False
        self._last += 1
        start = (self._last - 1) % self._records * RECORD
        self._numbers[start // 8] = 0
        self._numbers[start // 8 + 1] = len(record)
        self._bytes[start + 16 : start + 16 + len(record)] = record
        self._numbers[start // 8] = self._last
        return True

    def read(self) -> list[bytes]:
        """The records, oldest first."""
        return [record for _, record in self.read_since(0)]

    def read_since(self, last: int) -> list[tuple[int, bytes]]:
        """The records with greater numbers than `last`, and their numbers; oldest first."""
        found: list[tuple[int, bytes]] = []
        for at in self._places():
            number = int(self._numbers[at])
            if number <= last:
                continue
            length = int(self._numbers[at + 1])
            record = bytes(self._bytes[8 * at + 16 : 8 * at + 16 + length])
            if int(self._numbers[at]) == number:
                found.append((number, record))
        return sorted(found)

    def _places(self) -> range:
        return range(0, self._records * RECORD // 8, RECORD // 8)
