"""The pool as httpx sees it: the same connections and limits, for probes, documents, plugins and tests.

    client = httpx.AsyncClient(transport=PoolTransport(pool), base_url="http://coredinator")

`httpx.Timeout` is honoured in all four parts. The host of a URL is only a name: the pool's endpoints are
what is connected to.
"""

import re
from collections.abc import AsyncIterator
from math import inf
from types import TracebackType
from typing import cast

import httpx

from coregateway.http1.chunked import LAST_CHUNK, chunk
from coregateway.http1.grammar import CHUNKED, is_field_line, is_token
from coregateway.model.errors import (
    ConnectFailed,
    ConnectTimeout,
    GatewayError,
    PoolTimeout,
    ReadTimeout,
    Unavailable,
    UpstreamClosed,
    UpstreamError,
    UpstreamProtocolError,
    WriteTimeout,
)
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.pool import Pool
from coregateway.upstream.roles import Timeouts

_EXCEPTIONS: dict[type[GatewayError], type[httpx.TransportError]] = {
    ConnectFailed: httpx.ConnectError,
    ConnectTimeout: httpx.ConnectTimeout,
    ReadTimeout: httpx.ReadTimeout,
    WriteTimeout: httpx.WriteTimeout,
    PoolTimeout: httpx.PoolTimeout,
    UpstreamClosed: httpx.ReadError,
    UpstreamProtocolError: httpx.RemoteProtocolError,
}


_is_target = re.compile(rb"[\x21-\x7e]+").fullmatch
_is_length = re.compile(r"[0-9]{1,18}").fullmatch

_NEW = -1.0
"""Seconds of rest: no idle connection will do."""

_DAY = 86_400.0
"""Seconds that stand for httpx's None: no limit."""


class PoolTransport(httpx.AsyncBaseTransport):
    """Sends httpx requests through a `Pool`, each once; a connection that was unfit before that costs no try.

    Raises (from every call of a client over it): the `httpx.TransportError` that fits; a request that would
    not be sound HTTP is a `LocalProtocolError`, and none of its bytes reaches the next request.
    """

    def __init__(self, pool: Pool, *, rested: float = inf) -> None:
        """`rested`: seconds; a connection that has been idle for longer is not used."""
        self._pool = pool
        self._rested = rested

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._exchange(request)
        except GatewayError as error:
            raise _as_httpx(error, request) from error

    async def aclose(self) -> None:
        await self._pool.close()

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        timeouts = _timeouts(request)
        method, target, fields = _start(request)
        length = _length(request)
        connection = await self._pool.acquire_connection(rested=self._rested, timeouts=timeouts)
        while True:
            try:
                endpoint = connection.endpoint
                line = b"%b %b%b HTTP/1.1" % (method, endpoint.base, target)
                data = b"\r\n".join([line, b"Host: " + endpoint.authority, *fields, b"", b""])
                bodiless = request.method == "HEAD"
                connection.begin(data, complete=not length, bodiless=bodiless, timeouts=timeouts)
                connection.check()
                if length:
                    await _send_body(request, length, connection)
                head = await connection.head()
                break
            except UpstreamClosed as error:
                connection.endpoint.release(connection)
                if error.sent or not error.reused:
                    raise
                # A look found it unfit before a byte of the request left; one that is new needs none.
                connection = await self._pool.acquire_connection(rested=_NEW, timeouts=timeouts)
            except BaseException:
                connection.endpoint.release(connection)
                raise
        return httpx.Response(
            status_code=head.status,
            headers=[(name.strip(), value.strip()) for name, _, value in _split(head.raw)],
            stream=_Body(connection, request),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": head.reason},
        )


class _Body(httpx.AsyncByteStream):
    """A response's body; closing it, read or not, gives the connection back."""

    def __init__(self, connection: UpstreamConnection, request: httpx.Request) -> None:
        self._connection = connection
        self._request = request
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while data := await self._connection.read():
                yield data
        except GatewayError as error:
            raise _as_httpx(error, self._request) from error

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._connection.endpoint.release(self._connection)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()


def _start(request: httpx.Request) -> tuple[bytes, bytes, list[bytes]]:
    """Method and target, and the field lines but for Host, which is the upstream's."""
    method = request.method.encode("utf-8")
    target = cast(bytes, request.extensions.get("target", request.url.raw_path))
    left_out = {b"host", b"connection"}
    if "transfer-encoding" in request.headers:
        left_out.add(b"content-length")
    fields = [name + b": " + value for name, value in request.headers.raw if name.lower() not in left_out]
    if not (is_token(method) and _is_target(target) and all(map(is_field_line, fields))):
        raise httpx.LocalProtocolError(
            "The request has a byte that HTTP does not allow there", request=request
        )
    return method, target, fields


def _length(request: httpx.Request) -> int:
    """Bytes of the request's body, or `CHUNKED`."""
    coding = request.headers.get("transfer-encoding")
    length = request.headers.get("content-length", "0")
    if coding is None and _is_length(length):
        return int(length)
    if coding is None or coding.lower() != "chunked":
        raise httpx.LocalProtocolError("The request's body has no sound framing", request=request)
    return CHUNKED


async def _send_body(request: httpx.Request, length: int, connection: UpstreamConnection) -> None:
    chunked = length == CHUNKED
    left = length
    try:
        async for data in cast(httpx.AsyncByteStream, request.stream):
            if chunked:
                await connection.write(chunk(data) if data else b"")
            elif len(data) <= left:
                left -= len(data)
                await connection.write(data)
            else:
                raise httpx.LocalProtocolError("The body is longer than Content-Length says", request=request)
        if chunked:
            await connection.write(LAST_CHUNK)
    except UpstreamError:
        return  # An answer may have come all the same; `head` tells which.
    if left > 0:
        raise httpx.LocalProtocolError("The body is shorter than Content-Length says", request=request)
    connection.end_request()


def _split(raw: bytes) -> list[tuple[bytes, bytes, bytes]]:
    return [line.partition(b":") for line in raw.split(b"\r\n")[1:]]


def _timeouts(request: httpx.Request) -> Timeouts:
    given = cast(dict[str, float | None], request.extensions.get("timeout", {}))
    parts = ("connect", "read", "write", "pool")
    return Timeouts(**{part: _DAY if (seconds := given.get(part)) is None else seconds for part in parts})


def _as_httpx(error: GatewayError, request: httpx.Request) -> httpx.TransportError:
    kind = httpx.PoolTimeout if isinstance(error, Unavailable) else httpx.TransportError
    return _EXCEPTIONS.get(type(error), kind)(error.detail, request=request)
