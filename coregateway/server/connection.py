"""One client connection: bytes in and out, and the time that a client may take.

What comes goes to a `Downstream`, which serves at once what needs no waiting and keeps the rest in its
`buffer`: whoever wants bytes takes them from there and waits for more; while nobody does, a `Hold` keeps more
from coming. Writing goes through `send`, which returns when the client has taken all, so that there is no
`Backlog`. What the gateway ends, ends by a `Linger`. Sanic's own timers never run; these limits hold instead,
all of them from the settings:

- a request head must be complete `timeouts.client` seconds after its first byte (so trickling does not help);
- a body may be silent, and a client may leave written bytes untaken, for `patience` seconds, which are
  `timeouts.client` of the backend that the request is for, or of the node;
- between two requests a connection may be idle for `timeouts.idle` seconds.
"""

from asyncio import AbstractEventLoop, Future, Task, Transport
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Any, cast, override

from sanic.models.server_types import ConnInfo, Signal
from sanic.server.protocols.http_protocol import HttpProtocol

from coregateway.allowance import LEAST, allowance
from coregateway.backlog import Backlog
from coregateway.deadline import RESOLUTION, Deadline
from coregateway.errors import ClientTimeout, Draining
from coregateway.http1.grammar import END
from coregateway.intake import Source
from coregateway.outbox import outbox
from coregateway.reset import reset
from coregateway.server.acceptor import take_over
from coregateway.server.downstream import Downstream
from coregateway.server.head_search import HeadSearch
from coregateway.server.hold import Hold
from coregateway.server.linger import DRAIN, Linger
from coregateway.server.stream import ClientStream
from coregateway.server.transport import ClientTransport
from coregateway.upstream.roles import Peer

if TYPE_CHECKING:
    from coregateway.server.gateway import Gateway

READ_AHEAD = 65_536
"""Bytes that wait to be read before reading pauses, at most; one read may add as many. See `allowance`."""

NEWCOMER = 1.0
"""Seconds from its beginning in which the drain leaves a connection that has brought no request yet: the
first may be on its way."""

FIRST_REQUEST = 0.25
"""The same, where another client waits for the connection's descriptor: a silent one must not hold it."""


class ClientConnection(HttpProtocol):
    """Sanic's protocol with its parsing, timers and flow control replaced; its life cycle is Sanic's."""

    HTTP_CLASS = ClientStream

    # What Sanic's classes hold in these attributes, for the type checker.
    app: "Gateway"  # pyright: ignore[reportIncompatibleVariableOverride] -- narrower: always ours
    connections: "set[ClientConnection]"
    loop: AbstractEventLoop
    transport: Transport  # pyright: ignore[reportIncompatibleVariableOverride] -- set before anything runs
    signal: Signal
    state: dict[str, Any]
    conn_info: ConnInfo  # pyright: ignore[reportIncompatibleVariableOverride] -- likewise
    _http: ClientStream | None
    _task: Task[None] | None
    _unix: str | None

    __slots__ = (
        "_backlog",
        "_handed",
        "_hold",
        "_late",
        "_linger",
        "_received",
        "_taken",
        "_timeouts",
        "_tunnel",
        "client_transport",
        "downstream",
        "source",
    )

    @override
    def connection_made(self, transport: object) -> None:
        """The loop has accepted it, rather than an `Acceptor`: take it over."""
        accepted = take_over(cast(Transport, transport))
        if accepted is not None:
            self.begin(ClientTransport(self.loop, self.app.ctx.poll, accepted))

    def begin(self, transport: ClientTransport) -> None:
        """Serve the client behind this transport."""
        self.client_transport = transport
        self.transport = transport.as_transport()
        self.connections.add(self)
        self.app.ctx.clients += 1
        self.conn_info = ConnInfo(self.transport, unix=self._unix)  # pyright: ignore[reportArgumentType] -- Sanic names its own interface
        self._timeouts = self.app.ctx.settings.timeouts
        self._late = Deadline(self.loop, self._read_late)
        self._taken: Deadline | None = None
        self._received: Future[None] | None = None
        self._tunnel: Peer | None = None
        self._linger: Linger | None = None
        self._handed = False
        self._hold = Hold(self.loop, self.transport)
        self._backlog = Backlog(self.loop, self.transport)
        self.downstream = Downstream(
            self.app.ctx.frontend, self, self.transport, self._hold, *_shared(_peer(self.conn_info))
        )
        self.source: Source | None = None
        """Where a response's body comes from, while it is being relayed."""
        self._http = None  # Sanic's task makes it, and bytes may come before that
        self._task = self.loop.create_task(self.connection_task())
        transport.begin(self.downstream)

    # Reading

    async def read_head(self, max_head: int) -> bytes | None:
        """The next request head without its last empty line, or None when the client sends none.

        None, too, when a request was taken at once and is handed over now.

        Raises:
            ClientTimeout: begun, but not complete in time.
            URITooLong, HeadTooLarge, BadRequest: as `HeadSearch.find`.
        """
        downstream = self.downstream
        search = HeadSearch(max_head)
        while True:
            downstream.buffer = buffer = search.trim(downstream.buffer)
            begun = search.searched
            if (end := search.find(buffer)) >= 0:
                downstream.buffer = buffer[end + len(END) :]
                self._late.clear()
                return buffer[:end]
            if not buffer:
                self._late.within(self._timeouts.idle if downstream.served else self._timeouts.client)
            elif not begun:
                self._late.within(self._timeouts.client)
            elif not self._late.pending:
                raise ClientTimeout  # it passed in the same turn of the loop in which bytes came
            downstream.resting = not buffer
            try:
                more = await self._more()
            finally:
                downstream.resting = False
            if self._handed:
                self._handed = False
                return None
            if not more:
                if downstream.buffer:
                    raise ClientTimeout
                return None

    def rest(self) -> None:
        """The first request was taken at once and is over, or the next one is here already."""
        if self.downstream.served == 1:
            self._late.within(self._timeouts.idle)
        if self.downstream.buffer:
            _wake(self._received)

    def hand_over(self) -> None:
        """Let the task that waits for a head go on with what was begun without it."""
        self._handed = True
        _wake(self._received)

    async def read_body(self) -> bytes:
        """What has come of a body; waits when that is nothing.

        Raises:
            ClientTimeout: nothing came in time.
        """
        if not self.downstream.buffer:
            self._late.within(self.downstream.patience)
            if not await self._more():
                raise ClientTimeout
            self._late.clear()
        return self.downstream.take()

    def hold(self) -> None:
        """Read no more until somebody asks for it."""
        self._hold.begin()

    async def _more(self) -> bool:
        """Wait for bytes; False when the time limit came first."""
        if self._hold.lasts:
            self._hold.end()
        before = self.downstream.buffer
        waiter = self._received = self.loop.create_future()
        try:
            await waiter
        finally:
            # Whoever streamed a body may be cancelled when another waits already.
            if self._received is waiter:
                self._received = None
        return self.downstream.buffer is not before

    def _read_late(self) -> None:
        self.client_transport.catch_up()
        # Requests that are taken at once do not touch the limit, so it tells only when to look.
        if self.downstream.resting and (left := self._idle_left()) > RESOLUTION:
            self._late.within(left)
        else:
            _wake(self._received)

    def _idle_left(self) -> float:
        """Seconds that a connection may still be idle whose task waits for a head."""
        downstream = self.downstream
        if downstream.exchange is not None:
            return self._timeouts.idle
        return downstream.received_at + self._timeouts.idle - monotonic() if downstream.served else 0.0

    # Writing

    @override
    async def send(self, data: bytes) -> None:
        """Write; returns when the client has room for more."""
        self.transport.write(data)
        del data  # what of it was sent need not wait here for the rest
        await self.drained()

    async def drained(self) -> None:
        """Wait until the client has room for more."""
        while self.downstream.is_write_paused:
            await self._backlog.wait()

    async def linger(self, backend: str | None) -> None:
        """Close for writing, and read on for a while so that what was written arrives.

        `backend`: the name of the one that the last request was for, whose `timeouts.linger` holds.
        """
        settings = self.app.ctx.settings
        timeouts = settings.timeouts if backend is None else settings.backends[backend].timeouts
        if not timeouts.linger or self.transport.is_closing():
            return
        frontend = self.downstream.frontend
        self._linger = Linger(self.loop)
        self.downstream.discard()
        self.transport.write_eof()
        await frontend.lingering.wait(
            self._linger, min(timeouts.linger, DRAIN) if frontend.draining else timeouts.linger
        )

    def switch(self, tunnel: Peer) -> bytes:
        """Hand every further byte to a tunnel; returns those that came already."""
        self._tunnel = tunnel
        self.downstream.diverted = True
        return self.downstream.take()

    # What the loop tells the downstream, and that passes on

    def divert(self, data: bytes) -> None:
        """Bytes have come for the tunnel."""
        if self._tunnel is not None:
            self._tunnel.receive(data)

    def notice(self) -> None:
        """Bytes have come that are in the buffer now."""
        waiting = len(self.downstream.buffer)
        if waiting >= LEAST and waiting >= min(READ_AHEAD, allowance.size):
            self._hold.begin_ahead()
        if not self.downstream.resting or self.downstream.exchange is None:
            _wake(self._received)

    @override
    def eof_received(self) -> bool:
        if self._tunnel is not None:
            self._tunnel.receive_eof()
            return True
        return False

    @override
    def pause_writing(self) -> None:
        self.downstream.is_write_paused = True
        self._backlog.begin()
        if self._tunnel is not None:
            self._tunnel.pause()
        elif self.source is not None:
            self.source.hold()
        if self._taken is None:
            self._taken = Deadline(self.loop, self._write_late)
        self._taken.within(self._backlog.look(self.downstream.patience))

    @override
    def resume_writing(self) -> None:
        self.downstream.is_write_paused = False
        self._backlog.end()
        if self._taken is not None:
            self._taken.clear()
        if self._tunnel is not None:
            self._tunnel.resume()
        self._backlog.wake()

    def _write_late(self) -> None:
        self.client_transport.catch_up()
        if not self.downstream.is_write_paused:
            return
        left = self._backlog.look(self.downstream.patience)
        if self._taken is not None and left:
            self._taken.within(left)
        else:
            self.reset()  # the kernel would keep what it could not deliver, and the client its connection

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self.app.ctx.clients -= 1
        self.conn_info.lost = True
        self._late.close()
        self._backlog.drop()
        self._hold.close()
        if self._taken is not None:
            self._taken.close()
        if self._tunnel is not None:
            self._tunnel.lost()
        if self._linger is not None:
            self._linger.end()
        elif self._task is not None:
            self._task.cancel()

    @override
    def check_timeouts(self) -> None:
        """Sanic's periodic timer; this class keeps its own time."""

    @property
    def idle_since(self) -> float | None:
        """When the last request of a connection has ended that has nothing under way, in monotonic seconds.

        None for all others, and for one that has just come: its first request may be on its way.
        """
        downstream = self.downstream
        if downstream.buffer or downstream.exchange is not None or downstream.diverted:
            return None
        if downstream.closing or downstream.is_write_paused or self.transport.get_write_buffer_size():
            return None
        since = downstream.received_at
        return since if downstream.served or monotonic() - since >= FIRST_REQUEST else None

    @override
    def close_if_idle(self) -> bool:
        """For the drain: end the connection, unless a request is under way or has begun to arrive."""
        downstream = self.downstream
        if self._linger is not None:
            self._linger.hurry()
            return False
        if downstream.buffer or downstream.exchange is not None:
            return False
        left = 0.0 if downstream.served else downstream.received_at + NEWCOMER - monotonic()
        if left > 0:
            self.loop.call_later(left, self.close_if_idle)
            return False
        return super().close_if_idle()

    @override
    def close(self, timeout: float | None = None) -> None:
        """Close after what was written is sent, at the latest after the client's time."""
        if not self.transport.is_closing():
            outbox.flush()
            self.transport.close()
            if self.transport.get_write_buffer_size():
                self.pause_writing()

    @override
    def abort(self) -> None:
        """Close at once; what was written and not sent is lost, so the client sees a broken message.

        Sanic calls it, too, when the grace of a shutdown is over: then it is not the client who left.
        """
        exchange = self.downstream.exchange
        if self.app.ctx.draining and exchange is not None and exchange.error is None:
            exchange.error = Draining.cause
            exchange.status = exchange.status or Draining.status
        self.transport.abort()

    def reset(self) -> None:
        """As `abort`, by a reset: the client cannot take it for the end of a body."""
        reset(self.transport)


def _peer(info: ConnInfo) -> str:
    return info.client_ip  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] -- a str


@lru_cache(maxsize=1024)
def _shared(address: str) -> tuple[str, bytes]:
    """An address as text and as bytes, which all connections of one host share."""
    return address, address.encode()


def _wake(waiter: Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
