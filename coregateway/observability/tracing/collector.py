"""A collector of OpenTelemetry, as an exporter sees it: messages by POST, over a connection that is kept."""

import ssl
from asyncio import StreamReader, StreamWriter, open_connection, timeout
from urllib.parse import urlsplit

from coregateway import __version__
from coregateway.http1.grammar import MalformedHTTP
from coregateway.http1.reader import ResponseReader

TIMEOUT = 5.0
"""Seconds for a collector to connect, to take a message and to answer, all in all."""

MAX_ANSWER = 65_536
"""Bytes of an answer that are read."""


class NoAnswer(Exception):
    """A collector has not answered, or cannot be understood; the message says why."""


class Collector:
    """One at a time may use it. `endpoint`: its URL without `/v1/traces`."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._host = parts.hostname or ""
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._head = (
            f"POST {parts.path}/v1/traces HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
            f"User-Agent: coregateway/{__version__}\r\nContent-Type: application/x-protobuf\r\n"
        )
        self._streams: tuple[StreamReader, StreamWriter] | None = None

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def post(self, message: bytes) -> tuple[int, bytes]:
        """Send a message; returns the status of the answer and the beginning of its body.

        Raises:
            NoAnswer: it may have been taken, or not.
        """
        data = f"{self._head}Content-Length: {len(message)}\r\n\r\n".encode() + message
        kept = self._streams is not None
        try:
            async with timeout(TIMEOUT):
                try:
                    return await self._exchange(data)
                except (ConnectionError, MalformedHTTP):
                    if not kept:  # servers close what rests
                        raise
                return await self._exchange(data)
        except (OSError, MalformedHTTP, UnicodeError) as error:  # the last: of a host that is no name
            raise NoAnswer(f"{type(error).__name__}: {error}") from None

    async def _exchange(self, data: bytes) -> tuple[int, bytes]:
        answer = ResponseReader(bodiless=False, upgrade=False)
        keeps = False
        try:
            if self._streams is None:
                self._streams = await open_connection(self._host, self._port, ssl=self._tls)
            reader, writer = self._streams
            writer.write(data)
            await writer.drain()
            while not answer.complete and answer.waiting <= MAX_ANSWER:
                if not (more := await reader.read(MAX_ANSWER + 1 - answer.waiting)):
                    if answer.close():
                        break
                    raise ConnectionResetError("no answer, or a part of one")
                answer.feed(more)
            head = answer.head
            assert head is not None  # noqa: S101 -- else more would be awaited
            keeps = answer.complete and head.reusable and not answer.surplus
            return head.status, answer.take()[:MAX_ANSWER]
        finally:
            if not keeps:
                self.close()
