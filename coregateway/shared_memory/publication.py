"""One text of one writer that every process of the node reads whole, or not at all.

There are two buffers: the writer fills the one that is not shown, and then shows it by one number. So a
writer that dies within `write` has shown nothing, and a reader that is overtaken by two writes sees by the
text's checksum that it has read halves of both, and reads again.
"""

from typing import Final
from zlib import crc32

from coregateway.shared_memory.memory import SharedMemory

CAPACITY: Final = 4 * 1024 * 1024
"""Bytes of a text. Pages that were never written cost nothing."""

_HEADER: Final = 64


def size_of(capacity: int) -> int:
    """Bytes in all for texts of so many at most, a multiple of 8."""
    return _HEADER + 2 * (16 + capacity)  # the length of a text, its checksum, and the text, twice


SIZE: Final = size_of(CAPACITY)
"""Bytes in all."""

_SHOWN: Final = 0
_NEWS: Final = 1
_AWAITED_UNTIL: Final = 2
_ASKED: Final = 3

_TRIES: Final = 8
"""Times that a reader is overtaken until it lets it be."""


class Publication:
    """See the module. At an offset of the shared memory, which is a multiple of 8."""

    __slots__ = ("_bytes", "_capacity", "_lengths", "_numbers")

    def __init__(self, memory: SharedMemory, offset: int, capacity: int = CAPACITY) -> None:
        buffer = 16 + capacity
        self._capacity = capacity
        self._numbers = memory.doubles(offset, _HEADER // 8)
        self._bytes = [memory.bytes(offset + _HEADER + at * buffer + 16, capacity) for at in range(2)]
        self._lengths = [memory.doubles(offset + _HEADER + at * buffer, 2) for at in range(2)]

    # For its one writer

    def write(self, text: bytes, *, news: bool) -> bool:
        """Show this text from now on; False: it is longer than its capacity, and nothing has changed.

        `news`: readers that wait for news take it in now; the others read it when they are asked.
        """
        if len(text) > self._capacity:
            return False
        number = int(self._numbers[_SHOWN]) + 1
        buffer = number % 2
        self._bytes[buffer][: len(text)] = text
        lengths = self._lengths[buffer]
        lengths[0] = len(text)
        lengths[1] = crc32(text, number)
        self._numbers[_SHOWN] = number
        if news:
            self._numbers[_NEWS] += 1
        return True

    def await_until(self, moment: float) -> None:
        """Have `is_awaited` say yes until that moment of the monotonic clock; 0.0: not any more."""
        self._numbers[_AWAITED_UNTIL] = moment

    @property
    def asked(self) -> float:
        """The moment of the monotonic clock at which a reader last asked for news; 0.0: none has."""
        return self._numbers[_ASKED]

    # For readers

    def ask(self, now: float) -> None:
        """Ask the writer for news. Whichever reader does so last is remembered, which is all that matters."""
        self._numbers[_ASKED] = now

    @property
    def news(self) -> int:
        """A number that grows with each text that is news; it costs a reader next to nothing to look."""
        return int(self._numbers[_NEWS])

    def is_awaited(self, now: float) -> bool:
        """Whether the first text worth reading is still to come, and may take its time."""
        return now < self._numbers[_AWAITED_UNTIL]

    def read(self) -> bytes:
        """The text that is shown; empty: there is none yet, or the writer was faster each time."""
        for _ in range(_TRIES):
            number = int(self._numbers[_SHOWN])
            if not number:
                break
            buffer = number % 2
            length, checksum = self._lengths[buffer]
            text = bytes(self._bytes[buffer][: int(length)])
            if crc32(text, number) == checksum:
                return text
        return b""
