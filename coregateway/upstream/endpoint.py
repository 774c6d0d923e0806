"""One address of a backend, in one worker: its connections, its limit, its health, and how it stands.

A connection is busy with an exchange, or idle (`upstream.idle`), or being opened; each takes one of the
`max_connections` slots of its endpoint. When a connection or a slot falls free, the first request in the
backend's queue gets it. Every connection that was given out comes back through `release`, whatever happened
on it, and that is the only way its slot is counted free: a cancelled or broken exchange cannot leak one.
"""

from asyncio import AbstractEventLoop, BaseProtocol, BaseTransport, timeout
from collections.abc import Callable
from hashlib import blake2b
from socket import AF_UNIX, IPPROTO_TCP, TCP_NODELAY
from typing import Final, cast
from typing import Protocol as Interface

from coregateway.model.errors import ConnectFailed, ConnectTimeout, Draining, UpstreamError
from coregateway.net.worker_io import WorkerIO
from coregateway.upstream.address import Address
from coregateway.upstream.breaker import Breaker
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.ejection import Ejection
from coregateway.upstream.endpoint_health import EndpointHealth
from coregateway.upstream.idle import EndedAges, IdleConnections
from coregateway.upstream.roles import Timeouts
from coregateway.upstream.tiers import DRAINED, EJECTED, UNFIT, USABLE
from coregateway.upstream.wait_queue import WaitQueue

AVOIDED: Final = 5.0
"""Seconds between two tries of an endpoint whose last connect failed, while others take its requests."""


class ConnectionLimits(Interface):
    """Per worker and endpoint; the settings have this shape."""

    @property
    def max_connections(self) -> int: ...
    @property
    def max_keepalive_connections(self) -> int: ...
    @property
    def keepalive_expiry(self) -> float: ...


class Endpoint:
    """See the module. Its names are those of its `Address`."""

    __slots__ = (
        "_busy",
        "_closing",
        "_hosts",
        "_idle",
        "_io",
        "_keeps",
        "_loop",
        "_most",
        "_queue",
        "_timeouts",
        "address",
        "authority",
        "avoided_at",
        "base",
        "breaker",
        "credit",
        "drained",
        "ejected",
        "ejection",
        "eligible",
        "health",
        "key",
        "name",
        "on_change",
        "on_failing",
        "on_news",
        "origin",
        "picks_seen",
        "retired",
        "reviving",
        "seed",
        "slots_taken",
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
        self.eligible = True
        """Whether it may get requests, beside the others and as they stand; the pool says so."""
        self.drained = False
        """Whether an operator has taken it out."""
        self.ejection: Ejection | None = None
        """None: the node does not eject it, or knows nothing of it yet."""
        self.ejected = False
        """Whether it has, by the requests that failed there; as this worker knows it."""
        self.breaker: Breaker | None = None
        """Of its backend; None: off."""
        self.avoided_at = 0.0
        """When its last connect failed, or took too long (monotonic); 0.0: it did not."""
        self.reviving = False
        """Whether a connect is under way that no request waits for, to see whether it is there again."""
        self.picks_seen = -1
        """How many requests its balancer had sent on their way when the last one was begun."""
        self.retired = False
        """Whether the backend no longer has this address."""
        self.on_failing: Callable[[Endpoint, str, float], None] | None = None
        """Called with a cause when so much has failed that it should be ejected, if that may be."""
        self.on_news: Callable[[], None] | None = None
        """Called when the node has decided something by what was met here."""
        self.on_change: Callable[[], None] | None = None
        """Called when it stands otherwise than before."""
        self.health = EndpointHealth()
        self.slots_taken = 0
        """Of `max_connections`: connections, and those that are being opened or about to be."""
        self._hosts = address.hosts
        self._io = io
        self._loop: AbstractEventLoop = io.loop
        self._most = limits.max_connections
        self._timeouts = timeouts
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
    def now(self) -> float:
        """The time of its loop."""
        return self._loop.time()

    @property
    def load(self) -> int:
        """Requests at it or on their way to it."""
        return self.slots_taken - len(self._idle.connections)

    @property
    def standing(self) -> int:
        """As `tiers` has them."""
        if self.drained:
            return DRAINED
        if self.health.check_failed or self.avoided_at:
            return UNFIT
        return EJECTED if self.ejected else USABLE

    @property
    def is_due(self) -> bool:
        """Whether it is ejected, and one request of the node may see whether it is well again."""
        return (
            self.ejection is not None
            and not (self.drained or self.avoided_at or self.health.check_failed)
            and self.ejection.is_due(self._loop.time())
        )

    @property
    def has_room(self) -> bool:
        """Whether a request need not wait for a connection: one is idle, or another may be opened."""
        return self.slots_taken < self._most or bool(self._idle.connections)

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
                transport, protocol = await self._connect()
        except TimeoutError as error:
            health.miss(error)
            self._fail_to_connect(ConnectTimeout.cause)
            raise ConnectTimeout(upstream=self.name) from None
        except OSError as error:
            health.miss(error)
            self._fail_to_connect(ConnectFailed.cause)
            raise ConnectFailed(upstream=self.name) from error
        if self.avoided_at:
            self.avoided_at = 0.0
            self._tell()
        connection = cast(UpstreamConnection, protocol)
        if self._closing:
            connection.abort()
            raise Draining
        sock = transport.get_extra_info("socket")
        if sock.family != AF_UNIX:
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
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
            self._discard(connection)

    def decline(self, connection: UpstreamConnection) -> None:
        """A connection that was given out of the queue is not used: give it to the next."""
        self._busy.remove(connection)
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
        for connection in self._busy:
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
        self._timeouts = timeouts
        self._idle.limit(limits.max_keepalive_connections, limits.keepalive_expiry)
        self.retired = False
        self._keeps = not (self.drained or self._closing)

    def begin_trial(self) -> None:
        """A request goes to it, which sees whether it is well again."""
        if self.ejection is not None:
            self.ejection.begin_trial(self._loop.time())

    def avoid(self) -> None:
        """A connect has failed, or takes too long: let others have the requests, if there are others."""
        self.avoided_at = self._loop.time()
        self._tell()

    # What a connection tells

    def note_failure(self, cause: str, now: float) -> None:
        """A connect or a request has failed, by the upstream's fault."""
        self.health.fail(cause, now)
        ejection = self.ejection
        if ejection is not None and ejection.fail(now) and self.on_failing is not None:
            self.on_failing(self, cause, now)
        breaker = self.breaker
        if breaker is not None and breaker.note(True, now) and self.on_news is not None:
            self.on_news()

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

    async def _connect(self) -> tuple[BaseTransport, object]:
        address = self.address

        def protocol() -> BaseProtocol:
            return cast(BaseProtocol, UpstreamConnection(self._io, self, self._timeouts))

        if address.path is not None:
            return await self._loop.create_unix_connection(protocol, address.path)
        hosts = self._hosts
        for host in hosts[:-1]:
            try:
                opened = await self._loop.create_connection(protocol, host, address.port)
            except OSError:
                continue
            self._prefer(host)
            return opened
        opened = await self._loop.create_connection(protocol, hosts[-1], address.port)
        self._prefer(hosts[-1])
        return opened

    def _prefer(self, host: str) -> None:
        """Try the host first that has taken a connection."""
        if self._hosts[0] != host:
            self._hosts = (host, *(each for each in self._hosts if each != host))

    def _fail_to_connect(self, cause: str) -> None:
        self.note_failure(cause, self._loop.time())
        self.avoid()

    def _note_answer(self, connection: UpstreamConnection) -> None:
        """An exchange was answered: tell those that count."""
        now = connection.idle_since
        ejection = self.ejection
        if ejection is not None and ejection.succeed(now):
            self.ejected = False
            self._tell()
            if self.on_news is not None:
                self.on_news()
        breaker = self.breaker
        head = connection.response.head
        if breaker is not None and head is not None:
            failed = head.status >= 500
            if breaker.note(failed, now) and self.on_news is not None:
                self.on_news()

    def _tell(self) -> None:
        if self.on_change is not None:
            self.on_change()

    def _offer(self, connection: UpstreamConnection) -> None:
        """Give a connection to the first in the queue, or keep it idle."""
        queue = self._queue
        if self.eligible and queue.has_waiters:
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

    def _note_end(self, connection: UpstreamConnection) -> None:
        """An exchange was the last on its connection: note how the endpoint is."""
        error = connection.error
        if not isinstance(error, UpstreamError):
            if connection.answered:
                self.health.answered = connection.idle_since
                self._note_answer(connection)
        elif not error.reused:  # else the connection was old, and tells nothing of the endpoint
            self.note_failure(error.cause, connection.idle_since)
