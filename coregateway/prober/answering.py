"""One GET on a connection of its own, and the answer to it: no pool is asked, and no slot is taken."""

from asyncio import BaseTransport, Future, Protocol, Transport, get_running_loop
from collections.abc import Sequence
from functools import cache
from ssl import SSLError
from typing import Any, cast, override

from coregateway import __version__
from coregateway.http1.grammar import MalformedHTTP
from coregateway.http1.reader import ResponseReader
from coregateway.http1.response import ResponseHead
from coregateway.net.tls_contexts import ClientTls, client_context
from coregateway.net.tls_failure import CHAIN, HANDSHAKE, NAME, TIME, failure_of, in_words


async def connect(hosts: Sequence[str], port: int, tls: ClientTls | None, most: int = 0) -> "Answering":
    """Open a connection. `hosts` stand for one another: the next is tried when one takes none. `port` 0: a
    Unix socket. `most`: as of `Answering`.

    Raises:
        OSError: of the last one.
    """
    loop = get_running_loop()

    def answering() -> Answering:
        return Answering(most)

    if not port:
        return (await loop.create_unix_connection(answering, hosts[-1]))[1]
    secured: dict[str, Any] = {}
    if tls is not None:
        secured = {"ssl": _context(tls), "server_hostname": tls.server_name}
    for host in hosts[:-1]:
        try:
            return (await loop.create_connection(answering, host, port, **secured))[1]
        except OSError:
            continue
    return (await loop.create_connection(answering, hosts[-1], port, **secured))[1]


def request(target: str, authority: str, fields: Sequence[tuple[str, str]] = ()) -> bytes:
    """A GET whose connection ends with its answer."""
    more = "".join(f"{name}: {value}\r\n" for name, value in fields or (("Accept", "*/*"),))
    return (
        f"GET {target} HTTP/1.1\r\nHost: {authority}\r\n"
        f"User-Agent: coregateway/{__version__}\r\n{more}Connection: close\r\n\r\n"
    ).encode("latin-1")


def trouble(error: OSError, *, connected: bool) -> str:
    """Why there is no answer, in words. Not for a `TimeoutError`: the caller knows the time that it set."""
    if isinstance(error, SSLError):
        return f"{_FAILURES[failure_of(error) or HANDSHAKE]}: {in_words(error)}"
    if isinstance(error, ConnectionRefusedError):
        return "the connection is refused"
    return "the connection is reset" if connected else f"no connection: {_words(error)}"


_context = cache(client_context)

_FAILURES = {
    NAME: "the certificate is for another name",
    TIME: "the certificate has expired, or is not valid yet",
    CHAIN: "no trusted authority vouches for the certificate",
    HANDSHAKE: "the TLS handshake has failed",
}


def _words(error: OSError) -> str:
    words = error.strerror or str(error)
    return words[:1].lower() + words[1:]


class Answering(Protocol):
    """The answer to one request. `most`: bytes of its content that are kept; 0: none is, of any size."""

    def __init__(self, most: int) -> None:
        self.ended: Future[OSError | None] = get_running_loop().create_future()
        """Done when it has come, or will not: with the error that ended the connection, if one did."""
        self.content = b""
        self.is_too_large = False
        """Whether more than `most` bytes came: then it ended there."""
        self._most = most
        self._pieces: list[bytes] = []
        self._kept = 0
        self._reader = ResponseReader(bodiless=False, upgrade=False)
        self._transport: Transport | None = None
        self._fault = ""

    @property
    def head(self) -> ResponseHead | None:
        return self._reader.head

    @property
    def fault(self) -> str:
        """What is wrong with it, in words, whatever its status is; once it has ended."""
        if self._fault:
            return self._fault
        if self._reader.head is None:
            return "the connection is closed without an answer"
        return "" if self._reader.complete or self.is_too_large else "the answer is cut off"

    def send(self, request: bytes) -> None:
        if self._transport is not None:
            self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    @override
    def connection_made(self, transport: BaseTransport) -> None:
        self._transport = cast(Transport, transport)

    @override
    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except MalformedHTTP:
            self._fault = "the answer is not valid HTTP"
        piece = self._reader.take()
        if self._most:
            self._pieces.append(piece)
            self._kept += len(piece)
            self.is_too_large = self._kept > self._most
        if self._fault or self._reader.complete or self.is_too_large:
            self._end(None)

    @override
    def eof_received(self) -> None:
        self._reader.close()
        self._end(None)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)

    def _end(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error is not None and not isinstance(error, OSError):
            error = ConnectionResetError()
        self.content = b"".join(self._pieces)
        self.ended.set_result(error)
