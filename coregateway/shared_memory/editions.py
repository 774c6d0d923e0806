"""Large texts of one writer that every process of the node reads in pieces, without a copy of its own.

There are two buffers, as in `publication`: an edition is written beside the one before, and a reader that is
overtaken by two editions is told so with the next piece. Which bytes mean what is published elsewhere, with
the number of the edition.
"""

from collections.abc import Sequence
from typing import Final

from coregateway.shared_memory.memory import SharedMemory

CAPACITY: Final = 96 * 1024 * 1024
"""Bytes of an edition. Pages that were never written cost nothing."""

_HEADER: Final = 64

SIZE: Final = _HEADER + 2 * CAPACITY
"""Bytes in all."""

_SHOWN: Final = 0
_BEGUN: Final = 1


class Overtaken(Exception):
    """The edition is there no more: two others have come since."""


class Editions:
    """See the module. At an offset of the shared memory, which is a multiple of 8."""

    __slots__ = ("_buffers", "_numbers")

    def __init__(self, memory: SharedMemory, offset: int) -> None:
        self._numbers = memory.doubles(offset, _HEADER // 8)
        start = offset + _HEADER
        self._buffers = [memory.bytes(start + at * CAPACITY, CAPACITY) for at in range(2)]

    def write(self, pieces: Sequence[bytes]) -> int:
        """Write an edition, whose pieces lie one after the other from 0 on; its number, from 1 on.

        0: they are longer than `CAPACITY` in all, and nothing has changed.
        """
        if sum(map(len, pieces)) > CAPACITY:
            return 0
        number = int(self._numbers[_SHOWN]) + 1
        self._numbers[_BEGUN] = number
        buffer = self._buffers[number % 2]
        at = 0
        for piece in pieces:
            buffer[at : at + len(piece)] = piece
            at += len(piece)
        self._numbers[_SHOWN] = number
        return number

    def read(self, edition: int, offset: int, length: int) -> bytes:
        """So many bytes of an edition. Raises `Overtaken`."""
        piece = bytes(self._buffers[edition % 2][offset : offset + length])
        if not edition or self._numbers[_BEGUN] >= edition + 2:
            raise Overtaken
        return piece
