"""The last seconds of a connection that the gateway ends: closed for writing, read on for a while.

To close a socket with unread bytes in it makes the kernel reset the connection, which would destroy an answer
that is still on its way. So what the client sends after its answer is read and dropped, within limits of time
and size (RFC 9112 §9.6).
"""

from asyncio import AbstractEventLoop, Future

LINGER = 2.0
"""Seconds, and `LINGER_BYTES`, that a client may still send after its connection was closed for it."""

LINGER_BYTES = 1_048_576


class Linger:
    """Of one connection, which tells it of what comes."""

    __slots__ = ("_ended", "_left", "_loop")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._left = LINGER_BYTES
        self._ended: Future[None] = loop.create_future()

    def drop(self, size: int) -> None:
        """So many bytes have come, which nobody looks at."""
        self._left -= size
        if self._left < 0:
            self.end()

    def end(self) -> None:
        """The client has left, or has had its time, or has sent too much."""
        if not self._ended.done():
            self._ended.set_result(None)

    async def wait(self) -> None:
        """Wait for its end, `LINGER` seconds at most; closing the connection remains to be done then."""
        timer = self._loop.call_later(LINGER, self.end)
        try:
            await self._ended
        finally:
            timer.cancel()
