"""One check of one address, on a connection of its own: no pool is asked, and no slot is taken."""

from asyncio import BaseTransport, Future, Protocol, Transport, get_running_loop, timeout
from collections.abc import Sequence
from functools import cache
from ssl import SSLError
from typing import Any, cast, override

from coregateway import __version__
from coregateway.http1.grammar import MalformedHTTP
from coregateway.http1.reader import ResponseReader
from coregateway.net.tls_contexts import ClientTls, client_context
from coregateway.net.tls_failure import CHAIN, HANDSHAKE, NAME, TIME, failure_of, in_words
from coregateway.prober.plan import Check


async def ask(hosts: Sequence[str], port: int, check: Check) -> str:
    """GET the check's target; empty if it passes, else what is wrong, in words.

    `hosts` stand for one another: the next is tried when one takes no connection. `port` 0: a Unix socket.
    The whole answer must come within `check.timeout`, the connection included.
    """
    connected = False
    answering: _Answering | None = None
    try:
        async with timeout(check.timeout):
            answering = await _connect(hosts, port, check.tls)
            connected = True
            answering.send(_request(check))
            if (error := await answering.ended) is not None:
                raise error
            return answering.verdict(check)
    except TimeoutError:
        return f"no {'answer' if connected else 'connection'} within {check.timeout:g} s"
    except SSLError as error:
        return f"{_FAILURES[failure_of(error) or HANDSHAKE]}: {in_words(error)}"
    except ConnectionRefusedError:
        return "the connection is refused"
    except OSError as error:
        return "the connection is reset" if connected else f"no connection: {_words(error)}"
    finally:
        if answering is not None:
            answering.close()


def _request(check: Check) -> bytes:
    return (
        f"GET {check.target} HTTP/1.1\r\nHost: {check.authority}\r\n"
        f"User-Agent: coregateway/{__version__}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    ).encode("latin-1")


async def _connect(hosts: Sequence[str], port: int, tls: ClientTls | None) -> "_Answering":
    """Raises OSError of the last one."""
    loop = get_running_loop()
    if not port:
        return (await loop.create_unix_connection(_Answering, hosts[-1]))[1]
    secured: dict[str, Any] = {}
    if tls is not None:
        secured = {"ssl": _context(tls), "server_hostname": tls.server_name}
    for host in hosts[:-1]:
        try:
            return (await loop.create_connection(_Answering, host, port, **secured))[1]
        except OSError:
            continue
    return (await loop.create_connection(_Answering, hosts[-1], port, **secured))[1]


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


class _Answering(Protocol):
    """The answer to one request."""

    def __init__(self) -> None:
        self.ended: Future[OSError | None] = get_running_loop().create_future()
        """Done when it has come, or will not: with the error that ended the connection, if one did."""
        self._reader = ResponseReader(bodiless=False, upgrade=False)
        self._transport: Transport | None = None
        self._fault = ""

    def send(self, request: bytes) -> None:
        if self._transport is not None:
            self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def verdict(self, check: Check) -> str:
        """What is wrong with an answer that has ended."""
        head = self._reader.head
        if self._fault:
            return self._fault
        if head is None:
            return "the connection is closed without an answer"
        if not any(first <= head.status <= last for first, last in check.statuses):
            return f"status {head.status}, expected {check.expected}"
        return "" if self._reader.complete else "the answer is cut off"

    @override
    def connection_made(self, transport: BaseTransport) -> None:
        self._transport = cast(Transport, transport)

    @override
    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except MalformedHTTP:
            self._fault = "the answer is not valid HTTP"
        self._reader.take()  # a health page may be of any size
        if self._fault or self._reader.complete:
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
        self.ended.set_result(error)
