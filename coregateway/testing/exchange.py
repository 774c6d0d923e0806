"""One connection of a scripted backend, and one exchange on it.

Plain non-blocking sockets rather than asyncio streams: nothing is read ahead of the script, so a backend
that stops reading really makes its peer's writes block, and every `send` is one write to the socket.
Linux only: the end of the peer is seen by epoll (EPOLLRDHUP), which works without reading.
"""

import asyncio
import contextlib
import hashlib
import select
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable

from coregateway.testing.messages import Body, WireError, request_framing, split_head
from coregateway.testing.queues import has_taken
from coregateway.testing.recording import Moment, RecordedRequest, Write

type Step = Callable[[Exchange], Awaitable[None] | None]
"""One step of a script: any function of the exchange, plain or async. A handler is a step, too."""

_RECEIVE = 1 << 16
_LINGER_NONE = struct.pack("ii", 1, 0)  # close() then sends RST instead of FIN


def reset_socket(sock: socket.socket) -> None:
    """Close with a reset: the peer loses what it has not read yet."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    sock.close()


class Connection:
    """An accepted connection; `number` counts from 1 in the order of accepting."""

    def __init__(self, sock: socket.socket, number: int, keep: int) -> None:
        self.number = number
        self.opened = time.monotonic()
        self.requests: list[RecordedRequest] = []
        self.closed_by_peer = Moment()
        """When the peer's FIN or RST came. Never, if this side closed the connection before."""
        self.reset_by_peer = False
        self.closed = False
        """Whether this side has closed it."""
        self.error: ConnectionError | None = None
        """What ended it, when a read or a write failed."""
        self.resets = False
        """Whether closing is to send RST."""
        self.unread = b""
        """What has come beyond the last recorded request: a head that is not complete, or surplus bytes."""
        self.idle = True
        self.writes: list[Write] = []
        self.sent = 0
        self.sent_hash = hashlib.sha256()
        self._keep = keep
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._watch = select.epoll()
        self._watch.register(sock, select.EPOLLRDHUP)
        self._loop.add_reader(self._watch.fileno(), self._peer_left)

    def _peer_left(self) -> None:
        self._loop.remove_reader(self._watch.fileno())
        self.reset_by_peer = any(event & select.EPOLLERR for _, event in self._watch.poll(0))
        self.closed_by_peer.happen()

    async def open(self) -> None:
        """Get ready to read: in the clear there is nothing to do. Raises ConnectionError."""

    async def read_request(self) -> RecordedRequest | None:
        """Read up to the end of the next head; None when the peer sends no further request.

        The request is not complete if its head is unsound or cut.
        """
        while b"\r\n\r\n" not in self.unread:
            self.idle = not self.unread
            data = await self._read()
            if not data:
                rest, self.unread = self.unread, b""
                return self._unsound(rest, "the connection ended in the head") if rest else None
            self.unread += data
        self.idle = False
        head, end, self.unread = self.unread.partition(b"\r\n\r\n")
        head += end
        try:
            line, headers = split_head(head)
            method, target, version = line.split(b" ")
            framing, length = request_framing(headers)
        except WireError as error:
            return self._unsound(head, str(error))
        except ValueError:
            return self._unsound(head, f"request line {head[:80]!r}")
        content = Body(framing, length, keep=self._keep)
        request = RecordedRequest(self.number, head, method, target, version, headers, content)
        if content.complete:
            request.completed.happen()
        self.requests.append(request)
        return request

    def _unsound(self, head: bytes, fault: str) -> RecordedRequest:
        request = RecordedRequest(self.number, head, fault=fault)
        self.requests.append(request)
        return request

    async def read_body(self, request: RecordedRequest, limit: int | None = None) -> None:
        """Read on until the body is complete, about `limit` bytes of it have come, or the peer ends."""
        content = request.content
        while not content.complete and request.fault is None and (limit is None or content.size < limit):
            data = await self._receive()
            if not data:
                request.fault = "the connection ended in the body"
                return
            try:
                self.unread = content.feed(data)
            except WireError as error:
                request.fault = str(error)
        if content.complete:
            request.completed.happen()

    async def _receive(self) -> bytes:
        if self.unread:
            data, self.unread = self.unread, b""
            return data
        return await self._read()

    async def send(self, data: bytes) -> None:
        """Write exactly these bytes; returns when the socket has taken them."""
        if not data:
            return
        await self._write(data)
        self.writes.append(Write(time.monotonic(), len(data)))
        self.sent += len(data)
        self.sent_hash.update(data)

    async def until_taken(self) -> None:
        """Wait until the peer, a process of this machine, has read all that was sent, or has left."""
        with contextlib.suppress(OSError):  # it has left already
            own, peer = self._sock.getsockname(), self._sock.getpeername()
            # In a thread: where the kernel knows thousands of connections, to ask it takes long.
            while not (self.closed_by_peer or await asyncio.to_thread(has_taken, own, peer)):  # noqa: ASYNC110 -- the kernel sets no event
                await asyncio.sleep(0.005)

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        with contextlib.suppress(OSError):  # the peer may have reset it already
            self._sock.shutdown(socket.SHUT_WR)

    def close(self, *, reset: bool = False) -> None:
        """Close at once, by RST if `reset` or if bytes of the peer lie unread."""
        if self.closed:
            return
        self.closed = True
        if not self.closed_by_peer and self._watch.poll(0):  # the loop has not looked yet
            self._peer_left()
        resets = reset or self.resets
        if not resets:
            self._tell_end()
        with contextlib.suppress(OSError):
            self.unread += self._peek()
        self._loop.remove_reader(self._watch.fileno())
        self._watch.close()
        if resets:
            reset_socket(self._sock)
        else:
            self._sock.close()

    def _tell_end(self) -> None:
        """Say that nothing follows: in the clear, closing says it."""

    async def _read(self) -> bytes:
        """What comes next; empty at the end."""
        return await self._loop.sock_recv(self._sock, _RECEIVE)

    async def _write(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    def _peek(self) -> bytes:
        """What has come and was not read. Raises OSError where there is nothing."""
        return self._sock.recv(_RECEIVE, socket.MSG_PEEK)


class Exchange:
    """One request and what the script does with it."""

    def __init__(self, request: RecordedRequest, connection: Connection) -> None:
        self.request = request
        self.connection = connection
        self.nth = len(connection.requests)
        """Which request of its connection this is, from 1."""
        self._first_write = len(connection.writes)

    @property
    def writes(self) -> list[Write]:
        """The writes of this exchange so far."""
        return self.connection.writes[self._first_write :]

    @property
    def closed_by_peer(self) -> Moment:
        """When the peer ended the connection; works while nothing is being read."""
        return self.connection.closed_by_peer

    async def play(self, *steps: Step) -> None:
        """Take the steps in order, up to the one that closes the connection."""
        for step in steps:
            if self.connection.closed:
                return
            if awaitable := step(self):
                await awaitable

    async def send(self, data: bytes | Iterable[bytes]) -> None:
        """Write exactly these bytes; of an iterable, one write for each item."""
        for piece in [data] if isinstance(data, bytes) else data:
            await self.connection.send(piece)

    async def read_body(self, limit: int | None = None) -> None:
        """Read the request's body, or about `limit` bytes of it; only early scripts need to."""
        await self.connection.read_body(self.request, limit)

    def close(self, *, reset: bool = False) -> None:
        self.connection.close(reset=reset)
