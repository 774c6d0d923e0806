"""The last seconds of a connection that the gateway ends: closed for writing, read on for a while.

To close a socket with unread bytes in it makes the kernel reset the connection, which would destroy an answer
that is still on its way. So what the client sends after its answer is read and dropped, within limits of time
and size (RFC 9112 §9.6).
"""

from asyncio import AbstractEventLoop, BufferedProtocol, Future, Transport

from coregateway.intake import Metered, allowance

LINGER = 2.0
"""Seconds, and `LINGER_BYTES`, that a client may still send after its connection was closed for it."""

LINGER_BYTES = 1_048_576


class Linger(BufferedProtocol):
    """Reads in the place of a connection, which hears of everything else as before."""

    __slots__ = ("_connection", "_ended", "_left", "_loop", "_transport")

    def __init__(self, loop: AbstractEventLoop, transport: Transport, connection: Metered) -> None:
        self._loop = loop
        self._transport = transport
        self._connection = connection
        self._left = LINGER_BYTES
        self._ended: Future[None] = loop.create_future()

    async def run(self) -> None:
        """Return when the client has left, or has had its time; closing remains to be done."""
        self._transport.set_protocol(self)
        self._transport.write_eof()
        timer = self._loop.call_later(LINGER, self._end)
        try:
            await self._ended
        finally:
            timer.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- the interface of asyncio
        return allowance.view  # which everybody reads into: nobody looks at what comes here

    def buffer_updated(self, nbytes: int) -> None:
        self._left -= nbytes
        if self._left < 0:
            self._end()

    def eof_received(self) -> bool:
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self._connection.connection_lost(exc)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
