"""The last seconds of connections that the gateway ends: closed for writing, read on for a while.

To close a socket with unread bytes in it makes the kernel reset the connection, which would destroy an answer
that is still on its way; and most client libraries read no answer before they have sent their whole request.
So what the client sends after its answer is dropped, whatever its size, for `timeouts.linger` seconds at most
(RFC 9112 §9.6).

What clients can make that cost is bounded: a worker keeps `MOST` such connections, and one more ends the one
that has lingered longest; a turn of the loop drops 256 KiB of one of them at most, which the kernel does
without a copy; the client's own end is the connection's at once; a drain leaves `DRAIN` seconds; and where
descriptors run out, newcomers take theirs as those of idle connections.
"""

from asyncio import AbstractEventLoop, Future
from typing import Final

MOST: Final = 1000
"""Connections that linger at a time, per worker. Each holds a descriptor and some KiB, like an idle one."""

DRAIN: Final = 2.0
"""Seconds, at most, that a connection still lingers while its worker drains."""


class Linger:
    """Of one connection."""

    __slots__ = ("_ended", "_loop")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._ended: Future[None] = loop.create_future()

    def end(self) -> None:
        """The client has left, or has had its time, or there are too many."""
        if not self._ended.done():
            self._ended.set_result(None)

    def hurry(self) -> None:
        """The worker drains: end in `DRAIN` seconds."""
        self._loop.call_later(DRAIN, self.end)

    async def wait(self, seconds: float) -> None:
        """Wait for its end, so many seconds at most; closing the connection remains to be done then."""
        timer = self._loop.call_later(seconds, self.end)
        try:
            await self._ended
        finally:
            timer.cancel()


class Lingering:
    """The connections of one worker that linger, in the order in which they began."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        self._all: dict[Linger, None] = {}

    @property
    def count(self) -> int:
        return len(self._all)

    async def wait(self, linger: Linger, seconds: float) -> None:
        """As `Linger.wait`, as one of them; the one that has lingered longest makes room for it."""
        if len(self._all) >= MOST:
            oldest = next(iter(self._all))
            del self._all[oldest]
            oldest.end()
        self._all[linger] = None
        try:
            await linger.wait(seconds)
        finally:
            self._all.pop(linger, None)
