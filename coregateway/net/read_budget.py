"""How many bytes one read may bring: the more peers have stopped taking theirs, the fewer."""

from asyncio import AbstractEventLoop
from typing import Final

MUCH: Final = 16_384
"""Bytes; a connection that brings more in one read is limited from then on (`budgeted_reader`)."""

LEAST: Final = 8192
"""Bytes that a read may bring however many peers are stalled."""

SHARES: Final = ((8, 126_000), (24, 64_000), (48, 32_768))
"""While fewer peers than the first number are stalled, a read may bring the second; else `LEAST`.

Per worker; in bytes. 500 stalled peers hold 7 MiB so. An exchange may hold 256 KiB, hence not more than
192,000; 126,000 passes a large body on faster than that, and than 96,000. No multiple of 64 KiB, which the
loopback device would send with a tiny segment behind it.
"""

AHEAD: Final = 65_536
"""Bytes that a read may bring, at most, of what may have to wait for long."""

TURN: Final = 4 << 20
"""Bytes, per worker, that one turn of the loop may bring before it shows whether they are taken; each further
64 KiB counts as a stalled peer. All stalled peers may be fed again in the same turn, and stall again."""


class ReadBudget:
    """What a read may bring at this moment; one per worker."""

    __slots__ = ("_buffer", "_loop", "_recent", "ahead", "size", "stalled", "view")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._buffer = memoryview(bytearray(SHARES[0][1]))
        self._recent = 0
        self.stalled = 0
        """Peers that do not take what was written to them."""
        self.size: int = 0
        """Bytes."""
        self.view = self._buffer
        """As many bytes of the shared buffer. A reader copies its bytes out before the next read."""
        self.ahead = 0
        """As `size`, but not more than `AHEAD`."""
        self._settle()

    def stall(self) -> None:
        """A peer does not take what was written to it."""
        self.stalled += 1
        self._settle()

    def relieve(self) -> None:
        """A stalled peer has taken everything, or is gone."""
        self.stalled -= 1
        self._settle()

    def spend(self, size: int) -> None:
        """A read has brought so many bytes, and they are `MUCH`."""
        if not self._recent:
            self._loop.call_soon(self._end_turn)
        self._recent += size
        if self._recent > TURN:
            self._settle()

    def _end_turn(self) -> None:
        self._recent = 0
        self._settle()

    def _settle(self) -> None:
        held = self.stalled + max(0, self._recent - TURN) // 65_536
        size = next((size for below, size in SHARES if held < below), LEAST)
        if size != self.size:
            self.size = size
            self.view = self._buffer[:size]
            self.ahead = min(size, AHEAD)
