"""One address of a backend, in one worker: its connections and its limit.

A connection is busy with an exchange, or idle (`upstream.idle`), or being opened; each takes one of the
`max_connections` slots of its endpoint. When a connection or a slot falls free, the first request in the
backend's queue gets it. Every connection that was given out comes back through `release`, whatever happened
on it, and that is the only way its slot is counted free: a cancelled or broken exchange cannot leak one.

What a client may hold for as long as it likes does not use up the slots. Of them at most half are for uploads
that are still coming. A connection that carries a stream (a tunnel, an event stream) gives its slot back, and
counts to `max_streams` instead.
"""

from asyncio import timeout
from hashlib import blake2b
from math import inf

from coregateway.model.errors import ConnectFailed, ConnectTimeout, Draining, tls_rule
from coregateway.net.tls_failure import failure_of
from coregateway.net.worker_io import WorkerIO
from coregateway.upstream.address import Address
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.dialer import Dialer
from coregateway.upstream.endpoint_standing import EndpointStanding
from coregateway.upstream.idle import EndedAges, IdleConnections
from coregateway.upstream.roles import ConnectionLimits, Timeouts
from coregateway.upstream.wait_queue import WaitQueue


class Endpoint(EndpointStanding):
    """See the module. Its names are those of its `Address`."""

    __slots__ = (
        "_busy",
        "_closing",
        "_idle",
        "_keeps",
        "_most",
        "_most_streams",
        "_queue",
        "_streams",
        "address",
        "authority",
        "base",
        "credit",
        "dialer",
        "key",
        "name",
        "origin",
        "seed",
        "slots_taken",
        "uploads",
        "weight",
    )

    def __init__(
        self,
        io: WorkerIO,
        address: Address,
        limits: ConnectionLimits,
        timeouts: Timeouts,
        queue: WaitQueue,
        ended_ages: EndedAges,
    ) -> None:
        super().__init__(io.loop)
        self.address = address
        self.key = address.key
        self.name = address.name
        self.authority = address.authority
        self.origin = address.origin
        self.base = address.base
        self.weight = address.weight
        self.seed = int.from_bytes(blake2b(self.key.encode(), digest_size=8).digest())
        """Of its scores (`balancer.rendezvous`)."""
        self.credit = 0
        """Of its turns (`balancer.charge`)."""
        self.slots_taken = 0
        """Of `max_connections`: connections, and those that are being opened or about to be."""
        self.uploads = 0
        """Those of them that are for requests whose body is still coming."""
        self._streams: set[UpstreamConnection] = set()
        self._most_streams = limits.max_streams
        self.dialer = Dialer(io, self, address, timeouts)
        self._most = limits.max_connections
        self._queue = queue
        self._busy: set[UpstreamConnection] = set()
        self._idle = IdleConnections(
            io.loop,
            self._discard,
            ended_ages,
            most=limits.max_keepalive_connections,
            expiry=limits.keepalive_expiry,
        )
        self._closing = False
        self._keeps = True
        """Whether connections are kept for further requests."""

    def __repr__(self) -> str:
        return (
            f"<Endpoint {self.name} [{self.active} active, {self.idle} idle, {self.opening} opening, "
            f"{self._most} at most]>"
        )

    @property
    def active(self) -> int:
        """Connections that carry an exchange."""
        return len(self._busy)

    @property
    def idle(self) -> int:
        """Idle connections."""
        return len(self._idle.connections)

    @property
    def opening(self) -> int:
        """Connections that are being opened, or that a request of the queue is about to open."""
        return self.slots_taken - self.active - self.idle

    @property
    def streams(self) -> int:
        """Connections that carry a stream, and take no slot."""
        return len(self._streams)

    @property
    def load(self) -> int:
        """Requests at it or on their way to it."""
        return self.slots_taken - len(self._idle.connections) + len(self._streams)

    @property
    def has_room(self) -> bool:
        """Whether a request need not wait for a connection: one is idle, or another may be opened."""
        return self.slots_taken < self._most or bool(self._idle.connections)

    @property
    def takes_upload(self) -> bool:
        """Whether another of its slots may be for an upload that is still coming."""
        return self.uploads < max(self._most // 2, 1)

    # The way of a connection

    def take_idle(self, rested: float) -> UpstreamConnection | None:
        """The idle connection that was used last, if it is fit for use and has been idle for `rested` seconds
        at most; it is busy from now on."""
        connection = self._idle.take(rested)
        if connection is not None:
            self._busy.add(connection)
            connection.waited = 0.0
        return connection

    def take_slot(self) -> bool:
        """Take the right to open a connection, at the limit in the place of the one that has been idle for
        longest. False: there is neither."""
        if self.slots_taken < self._most:
            self.slots_taken += 1
            return True
        surplus = self._idle.take_oldest()
        if surplus is None:
            return False
        surplus.abort()
        return True

    async def open(self, timeouts: Timeouts) -> UpstreamConnection:
        """Open a connection in a slot that was taken; it is busy then. If that fails, the slot stays taken.

        Raises:
            ConnectFailed, ConnectTimeout: nothing was sent.
            Draining: the gateway is shutting down.
        """
        health = self.health
        health.connects += 1
        try:
            async with timeout(timeouts.connect):
                connection = await self.dialer.dial()
        except TimeoutError as error:
            health.miss(error)
            self._fail_to_connect(ConnectTimeout.cause)
            raise ConnectTimeout(upstream=self.name) from None
        except OSError as error:
            health.miss(error)
            why = failure_of(error)
            self._fail_to_connect(why or ConnectFailed.cause)
            raise ConnectFailed(upstream=self.name, rule=None if why is None else tls_rule(why)) from error
        if self.avoided_at:
            self.avoided_at = 0.0
            self._tell()
        if self._closing:
            connection.abort()
            raise Draining
        self._busy.add(connection)
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        """An exchange is over, well or badly: keep its connection if it is reusable, else close it."""
        self._busy.remove(connection)
        fit = connection.reusable and self._keeps
        connection.rest()
        health = self.health
        if fit and connection.idle_since >= health.distrusted_until:
            health.answered = connection.idle_since
            if self.ejection is not None or self.breaker is not None:
                self._note_answer(connection)
            if self._queue.length:
                self._offer(connection)
            else:
                self._idle.add(connection)
        else:
            if connection.has_surplus:
                self.distrust()
            self._note_end(connection)
            if connection.carries_upload:  # such a one is never kept
                self.end_upload(connection)
            self._discard(connection)

    def begin_stream(self, connection: UpstreamConnection) -> bool:
        """What a connection carries turns out to be a stream: another request may have its slot.

        `end_stream` must follow. False: there are `max_streams` already, and `release` must follow.
        """
        if len(self._streams) >= self._most_streams:
            return False
        self._busy.remove(connection)
        self._streams.add(connection)
        if connection.carries_upload:
            self.end_upload(connection)
        self.release_slot()
        return True

    def end_stream(self, connection: UpstreamConnection) -> None:
        """A stream is over, well or badly: its connection is closed, unless a slot is free for it."""
        self._streams.remove(connection)
        if connection.reusable and self.slots_taken < self._most:
            self.slots_taken += 1
            self._busy.add(connection)
            self.release(connection)
            return
        connection.rest()
        if connection.has_surplus:
            self.distrust()
        self._note_end(connection)
        connection.abort()

    def end_upload(self, connection: UpstreamConnection | None) -> None:
        """An upload has come, or will not: another one may have a slot. None: it has no connection."""
        if connection is not None:
            connection.carries_upload = False
        self.uploads -= 1
        if self._queue.has_uploads:
            self._let_upload_in()

    def decline(self, connection: UpstreamConnection) -> None:
        """A connection that was given out of the queue is not used: give it to the next."""
        self._busy.remove(connection)
        if connection.carries_upload:
            self.end_upload(connection)
        if not self._keeps or self._loop.time() < self.health.distrusted_until:
            self._discard(connection)
        else:
            self._offer(connection)

    def release_slot(self) -> None:
        """A connection is gone, or was not opened: the first in the queue may open another in its place."""
        if not (self.eligible and self._queue.give_slot(self)):
            self.slots_taken -= 1

    def close(self) -> None:
        """End every connection; exchanges under way fail."""
        self._closing = True
        self._keeps = False
        self._idle.close()
        for connection in (*self._busy, *self._streams):
            connection.cancel(Draining())

    # What the pool decides

    def drain(self) -> None:
        """Get no further requests, by an operator's hand; those under way finish."""
        self.drained = True
        self.stop_keeping()

    def undrain(self) -> None:
        """Get requests again."""
        self.drained = False
        self._keeps = not (self.retired or self._closing)

    def stop_keeping(self) -> None:
        """Close idle connections, and busy ones when they come back."""
        self._keeps = False
        self._idle.drop_all()

    def retire(self) -> None:
        """The backend no longer has this address: exchanges under way finish, idle connections are closed."""
        self.retired = True
        self.eligible = False
        self.stop_keeping()

    def come_back(self, address: Address, limits: ConnectionLimits, timeouts: Timeouts) -> None:
        """The backend has this address, by new settings perhaps."""
        self.address = address
        self.weight = address.weight
        self._most = limits.max_connections
        self._most_streams = limits.max_streams
        self.dialer.timeouts = timeouts
        self._idle.limit(limits.max_keepalive_connections, limits.keepalive_expiry)
        self.retired = False
        self._keeps = not (self.drained or self._closing)

    # What a connection tells

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection ended by itself; a busy one still comes back through `release`."""
        if self._idle.lose(connection):
            self.release_slot()

    def distrust(self) -> None:
        """Bytes came on a connection that no request asked for: use each connection once for a while.

        Idle ones are closed now, busy ones when they come back.
        """
        self.health.distrust(self._loop.time())
        self._idle.drop_all()

    # The parts of it

    def _let_upload_in(self) -> None:
        """Give an upload that waits an idle connection, or a slot that is free."""
        if not (self.eligible and self.takes_upload):
            return
        connection = self.take_idle(inf)
        if connection is not None:
            self._busy.remove(connection)
            self._offer(connection)
        elif self.slots_taken < self._most and self._queue.give_slot(self):
            self.slots_taken += 1

    def _offer(self, connection: UpstreamConnection) -> None:
        """Give a connection to the first in the queue, or keep it idle."""
        queue = self._queue
        if self.eligible and queue.wants(self):
            if connection.closing:
                self._discard(connection)
            else:
                self._busy.add(connection)
                queue.give_connection(connection)
        elif connection.closed:
            self.release_slot()
        else:
            self._idle.add(connection)

    def _discard(self, connection: UpstreamConnection) -> None:
        connection.abort()
        self.release_slot()
