"""The pool as httpx sees it: the same connections and limits, for probes, documents, plugins and tests.

    client = httpx.AsyncClient(transport=PoolTransport(pool), base_url="http://coredinator")

`httpx.Timeout` is honoured in all four parts. The host of a URL is only a name: the pool's upstreams are
what is connected to.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

import httpx

from coregateway.errors import (
    ConnectFailed,
    ConnectTimeout,
    GatewayError,
    PoolTimeout,
    ReadTimeout,
    Unavailable,
    UpstreamClosed,
    UpstreamProtocolError,
    WriteTimeout,
)
from coregateway.http1.chunked import LAST_CHUNK, chunk
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.pool import Pool

_EXCEPTIONS: dict[type[GatewayError], type[httpx.TransportError]] = {
    ConnectFailed: httpx.ConnectError,
    ConnectTimeout: httpx.ConnectTimeout,
    ReadTimeout: httpx.ReadTimeout,
    WriteTimeout: httpx.WriteTimeout,
    PoolTimeout: httpx.PoolTimeout,
    UpstreamClosed: httpx.ReadError,
    UpstreamProtocolError: httpx.RemoteProtocolError,
}


@dataclass(frozen=True, slots=True)
class _Timeouts:
    connect: float
    read: float
    write: float
    pool: float


_DAY = 86_400.0
"""Seconds that stand for httpx's None: no limit."""


class PoolTransport(httpx.AsyncBaseTransport):
    """Sends httpx requests through a `Pool`, one attempt each.

    Raises (from every call of a client over it): the `httpx.TransportError` that fits.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._exchange(request)
        except GatewayError as error:
            raise _as_httpx(error, request) from error

    async def aclose(self) -> None:
        await self._pool.close()

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        timeouts = _timeouts(request)
        connection = await self._pool.acquire(timeouts=timeouts)
        try:
            await self._send(request, connection, timeouts)
            head = await connection.head()
        except BaseException:
            self._pool.give_back(connection)
            raise
        return httpx.Response(
            status_code=head.status,
            headers=[(name.strip(), value.strip()) for name, _, value in _split(head.raw)],
            stream=_Body(connection, self._pool, request),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": head.reason},
        )

    async def _send(
        self, request: httpx.Request, connection: UpstreamConnection, timeouts: _Timeouts
    ) -> None:
        target = cast(bytes, request.extensions.get("target", request.url.raw_path))
        authority = connection.upstream.authority
        lines = [request.method.encode() + b" " + target + b" HTTP/1.1", b"Host: " + authority]
        chunked = "transfer-encoding" in request.headers
        for name, value in request.headers.raw:
            if name.lower() not in (b"host", b"connection"):
                lines.append(name + b": " + value)
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        empty = not chunked and request.headers.get("content-length", "0") == "0"
        connection.begin(head, complete=empty, bodiless=request.method == "HEAD", timeouts=timeouts)
        if empty:
            return
        async for data in cast(httpx.AsyncByteStream, request.stream):
            if data:
                await connection.write(chunk(data) if chunked else data)
        if chunked:
            await connection.write(LAST_CHUNK)
        connection.end_request()


class _Body(httpx.AsyncByteStream):
    """A response's body; closing it, read or not, gives the connection back."""

    def __init__(self, connection: UpstreamConnection, pool: Pool, request: httpx.Request) -> None:
        self._connection = connection
        self._pool = pool
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while data := await self._connection.read():
                yield data
        except GatewayError as error:
            raise _as_httpx(error, self._request) from error

    async def aclose(self) -> None:
        self._pool.give_back(self._connection)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()


def _split(raw: bytes) -> list[tuple[bytes, bytes, bytes]]:
    return [line.partition(b":") for line in raw.split(b"\r\n")[1:]]


def _timeouts(request: httpx.Request) -> _Timeouts:
    given = cast(dict[str, Any], request.extensions.get("timeout", {}))
    return _Timeouts(
        *(seconds if (seconds := given.get(part)) is not None else _DAY for part in _Timeouts.__slots__)
    )


def _as_httpx(error: GatewayError, request: httpx.Request) -> httpx.TransportError:
    kind = httpx.PoolTimeout if isinstance(error, Unavailable) else httpx.TransportError
    return _EXCEPTIONS.get(type(error), kind)(error.detail, request=request)
