"""A client that sends exactly the bytes it is given, and reads answers strictly."""

import asyncio
import contextlib
import hashlib
import re
import socket
import time
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from coregateway.testing.exchange import reset_socket
from coregateway.testing.messages import Body, Field, WireError, response_framing, split_head, values
from coregateway.testing.queues import has_taken
from coregateway.testing.recording import PATIENCE

_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
_SEGMENTS = re.compile(rb"[^\r\n:]*[\r\n:]|[^\r\n:]+")
_RECEIVE = 1 << 16


class Arrival(NamedTuple):
    """Bytes that came in one read, and when (`time.monotonic()`)."""

    time: float
    size: int


@dataclass
class Response:
    """A response; `interim` holds the 1xx responses that came before it."""

    version: bytes
    status: int
    reason: bytes
    headers: list[Field]
    raw_head: bytes
    content: Body
    interim: list["Response"] = field(default_factory=list["Response"])

    @property
    def body(self) -> bytes:
        """The decoded body; raises ValueError when it was too large to be kept (see `content`)."""
        return self.content.data

    def values(self, name: str) -> list[bytes]:
        """The values of every header line of that name, in order."""
        return values(self.headers, name)

    def header(self, name: str) -> bytes | None:
        """The value of a header, or None without it; raises ValueError when there are several lines."""
        found = self.values(name)
        if len(found) > 1:
            raise ValueError(f"{len(found)} lines of {name}: {found}")
        return found[0] if found else None


class ResponseCut(Exception):
    """The connection ended before the response did. `response` is None if its head was not complete."""

    def __init__(self, response: Response | None, received: bytes, *, reset: bool) -> None:
        super().__init__(
            f"connection {'reset' if reset else 'closed'} within the response: {received[:200]!r}"
        )
        self.response = response
        self.received = received
        self.reset = reset


class RawClient:
    """One connection to `address`.

        async with RawClient(gateway.address) as client:
            await client.send(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
            response = await client.read_response()

    Every wait ends after `within` seconds (the connection's, or that of the call) with a TimeoutError.
    `receive_buffer` (bytes) makes the kernel take little of what the peer sends while nothing is read here.
    """

    def __init__(
        self, address: tuple[str, int], *, within: float = PATIENCE, receive_buffer: int | None = None
    ) -> None:
        self.address = address
        self.arrivals: list[Arrival] = []
        self.received = 0
        self.received_hash = hashlib.sha256()
        self.reset_by_peer = False
        """Whether the end that was read was a reset rather than a FIN."""
        self._within = within
        self._unread = b""
        self._ended = False
        self._sock = socket.socket()
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:  # before connecting, for it bounds the window that is offered
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)

    async def __aenter__(self) -> Self:
        try:
            async with self._deadline(None):
                await asyncio.get_running_loop().sock_connect(self._sock, self.address)
        except BaseException:
            self._sock.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def local_address(self) -> tuple[str, int]:
        """The address from which this client speaks."""
        return self._sock.getsockname()

    async def send(self, data: bytes | Iterable[bytes], *, within: float | None = None) -> None:
        """Send exactly these bytes; of an iterable, each item by a write of its own."""
        async with self._deadline(within):
            for piece in [data] if isinstance(data, bytes) else data:
                await asyncio.get_running_loop().sock_sendall(self._sock, piece)

    async def send_segments(
        self, data: bytes, *, every: float = 0.001, size: int | None = None, within: float | None = None
    ) -> None:
        """Send in pieces with a pause after each: of `size` bytes, or cut after every CR, LF and colon."""
        pieces = _SEGMENTS.findall(data) if size is None else re.findall(rb"(?s).{1,%d}" % size, data)
        async with self._deadline(within):
            for piece in pieces:
                await self.send(piece, within=within)
                await asyncio.sleep(every)

    async def until_taken(self, *, within: float | None = None) -> None:
        """Wait until the process at the other end, on this machine, has read all that was sent."""
        async with self._deadline(within):
            while not has_taken(self.local_address, self.address):  # noqa: ASYNC110 -- the kernel sets no event
                await asyncio.sleep(0.005)

    async def receive(self, limit: int = _RECEIVE, *, within: float | None = None) -> bytes:
        """What is there, at most `limit` bytes, or what comes first; b"" when the peer has ended."""
        if not self._unread and not self._ended:
            await self._fill(within, limit)
        data, self._unread = self._unread[:limit], self._unread[limit:]
        return data

    async def read_until(self, mark: bytes, *, within: float | None = None) -> bytes:
        """All bytes up to and including `mark`.

        Raises:
            ResponseCut: the connection ended before that.
        """
        async with self._deadline(within):
            while mark not in self._unread:
                if self._ended:
                    raise self._cut(None)
                await self._fill(within)
        data, found, self._unread = self._unread.partition(mark)
        return data + found

    async def read_until_closed(self, *, within: float | None = None) -> bytes:
        """All bytes up to the end of the connection, whether by FIN or by RST."""
        async with self._deadline(within):
            while not self._ended:
                await self._fill(within)
        data, self._unread = self._unread, b""
        return data

    async def read_response(
        self, *, to_head: bool = False, keep: int = 1 << 20, within: float | None = None
    ) -> Response:
        """The next final response, whole. `to_head`: it answers a HEAD request.

        Raises:
            WireError: it is not strict HTTP/1.1.
            ResponseCut: the connection ended before the response did.
            TimeoutError: it did not come in time.
        """
        async with self._deadline(within):
            response = await self.read_head(to_head=to_head, keep=keep, within=within)
            await self.read_body(response, within=within)
        return response

    async def read_head(
        self, *, to_head: bool = False, keep: int = 1 << 20, within: float | None = None
    ) -> Response:
        """The next final response up to its head, the interim ones (not 101) before it; raises as above."""
        interim: list[Response] = []
        async with self._deadline(within):
            while True:
                head = await self.read_until(b"\r\n\r\n", within=within)
                line, headers = split_head(head)
                match = _STATUS_LINE.fullmatch(line)
                if not match:
                    raise WireError(f"status line {line[:80]!r}")
                status = int(match[2])
                content = Body(*response_framing(headers, status, to_head=to_head), keep=keep)
                response = Response(match[1], status, match[3], headers, head, content, interim)
                if status >= 200 or status == 101:
                    return response
                interim.append(response)

    async def read_body(self, response: Response, *, within: float | None = None) -> None:
        """Read the rest of the response's body; raises as above."""
        content = response.content
        async with self._deadline(within):
            while not content.complete:
                data = await self.receive(within=within)
                if data:
                    self._unread = content.feed(data) + self._unread
                    continue
                if not self.reset_by_peer:
                    content.end()
                if not content.complete:
                    raise self._cut(response)

    async def expect_closed(self, *, within: float | None = None) -> None:
        """Wait for the end of the connection (FIN or RST); AssertionError if further bytes come before it."""
        if rest := await self.read_until_closed(within=within):
            raise AssertionError(f"further bytes before the end of the connection: {rest[:200]!r}")

    async def expect_silence(self, seconds: float) -> None:
        """AssertionError if any byte, or the end of the connection, comes within so many seconds."""
        with contextlib.suppress(TimeoutError):
            data = await self.receive(within=seconds)
            raise AssertionError(f"expected silence, got {data[:200] or 'the end of the connection'!r}")

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close at once; with bytes unread the kernel makes a reset of it."""
        self._sock.close()

    def reset(self) -> None:
        """End the connection by RST."""
        reset_socket(self._sock)

    async def _fill(self, within: float | None, limit: int = _RECEIVE) -> None:
        """One read from the socket; what it got is added to the unread bytes."""
        try:
            async with self._deadline(within):
                data = await asyncio.get_running_loop().sock_recv(self._sock, limit)
        except ConnectionError:
            data, self.reset_by_peer = b"", True
        self._ended = not data
        self._unread += data
        self.arrivals.append(Arrival(time.monotonic(), len(data)))
        self.received += len(data)
        self.received_hash.update(data)

    def _cut(self, response: Response | None) -> ResponseCut:
        return ResponseCut(response, self._unread, reset=self.reset_by_peer)

    @contextlib.asynccontextmanager
    async def _deadline(self, within: float | None) -> AsyncGenerator[None]:
        seconds = self._within if within is None else within
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise TimeoutError(
                f"not done within {seconds} s; {self.received} bytes received, unread: {self._unread[:200]!r}"
            ) from None
