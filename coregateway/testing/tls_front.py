"""TLS in front of a server in the clear, or a way in the clear to one that speaks TLS, for tests."""

import asyncio
import ssl
from contextlib import suppress
from types import TracebackType
from typing import Self


class TlsFront:
    """Takes TLS connections on 127.0.0.1 and passes their content on to `target`, both ways.

    The target's end becomes a close_notify and an end, or with `ragged` an end alone. `reverse`: it takes
    connections in the clear, and speaks TLS to the target, which is called `localhost`.
    """

    def __init__(
        self,
        target: tuple[str, int],
        context: ssl.SSLContext,
        *,
        ragged: bool = False,
        reverse: bool = False,
    ) -> None:
        self._target = target
        self._context = context
        self._ragged = ragged
        self._reverse = reverse
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        secured = None if self._reverse else self._context
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0, ssl=secured)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reverse:
            return await asyncio.open_connection(
                *self._target, ssl=self._context, server_hostname="localhost"
            )
        return await asyncio.open_connection(*self._target)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                await self._pass_both_ways(reader, writer)
        finally:
            writer.transport.abort() if self._ragged else writer.close()

    async def _pass_both_ways(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await self._connect()
        upwards = asyncio.ensure_future(_pass_on(reader, upstream_writer))
        try:
            if await _pass_on(upstream_reader, writer) and not self._ragged:
                writer.close()
            else:
                writer.transport.abort()
        finally:
            upwards.cancel()
            upstream_writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether it has ended in order."""
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        return False
    return True
