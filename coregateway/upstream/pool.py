"""The connections of one worker to one backend: bounded, reused, queued for.

State: the connections at rest, by upstream, last used last; `_open`, how many exist or are being opened; and
`_waiters`, who waits for one of them, first come first served. A connection that comes back goes to the
first waiter; a slot that falls free lets the first waiter open a connection of its own. Every taken
connection comes back through `give_back`, whatever happened on it, and that is the only way a slot is
counted free: so a cancelled or broken exchange cannot leak one.
"""

from asyncio import (
    AbstractEventLoop,
    BaseProtocol,
    CancelledError,
    Future,
    TimerHandle,
    get_running_loop,
    timeout,
)
from collections import deque
from collections.abc import Sequence
from math import inf
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Protocol as Interface
from typing import cast

from coregateway.deadline import RESOLUTION, Deadline
from coregateway.errors import (
    ConnectFailed,
    ConnectTimeout,
    Draining,
    GatewayError,
    Overloaded,
    PoolTimeout,
    UpstreamError,
)
from coregateway.upstream.address import Upstream
from coregateway.upstream.connection import Timeouts, UpstreamConnection

SWEEP = 0.5
"""Seconds between two looks at idle connections, and how long a surplus one may rest before it is closed:
under load connections rest for milliseconds, and closing those would only open others."""


APART = 1.0
"""Seconds between two ends of idle connections for them to tell more than one: a backend that is stopped ends
all of its connections at once."""

REMEMBERED = 4
"""Ages of idle connections that are kept: of those that the backend ended last."""


class Limits(Interface):
    """Per worker and backend; the settings have this shape."""

    @property
    def max_connections(self) -> int: ...
    @property
    def max_keepalive_connections(self) -> int: ...
    @property
    def keepalive_expiry(self) -> float: ...
    @property
    def max_queued(self) -> int: ...


class Waiter(Interface):
    """Who waits in line: the future of a task, or a request that no task waits for."""

    def done(self) -> bool:
        """Whether it waits no more."""
        ...

    def set_result(self, result: UpstreamConnection | None, /) -> None:
        """It is its turn: a connection, or the right to open one (None)."""
        ...

    def set_exception(self, exception: GatewayError, /) -> None:
        """It waits in vain."""
        ...


class Pool:
    """See the module. `limits` and `timeouts` hold for this worker and this backend."""

    def __init__(self, name: str, urls: Sequence[str], limits: Limits, timeouts: Timeouts) -> None:
        self.name = name
        self.upstreams = tuple(Upstream(url) for url in urls)
        self._limits = limits
        self._timeouts = timeouts
        self._loop: AbstractEventLoop = get_running_loop()
        self._busy: set[UpstreamConnection] = set()
        self._open = 0
        self._queued = 0
        self._waiters: deque[tuple[Waiter, float]] = deque()
        self._patience = Deadline(self._loop, self._refuse_late)
        self._patience_ends = inf
        self._sweeper: TimerHandle | None = None
        self._turn = 0
        self._closing = False
        self.ended_ages: deque[float] = deque(maxlen=REMEMBERED)
        """Seconds that connections had been idle for when the backend ended them; see `APART`."""
        self._ended_at = -inf

    def __repr__(self) -> str:
        return (
            f"<Pool {self.name} [requests: {self.active} active, {self.queued} queued | "
            f"connections: {self.active} active, {self.idle} idle, {self.opening} opening, "
            f"{self._limits.max_connections} at most]>"
        )

    @property
    def active(self) -> int:
        """Connections that carry an exchange."""
        return len(self._busy)

    @property
    def idle(self) -> int:
        """Connections at rest."""
        return sum(len(upstream.idle) for upstream in self.upstreams)

    @property
    def opening(self) -> int:
        """Connections that are being opened, or that a waiter is about to open."""
        return self._open - self.active - self.idle

    @property
    def queued(self) -> int:
        """Requests that wait for a connection."""
        return self._queued

    @property
    def is_empty(self) -> bool:
        """Whether it holds nothing and nobody waits."""
        return not self._open and not self._queued

    def active_at(self, upstream: Upstream) -> int:
        """Connections to one of the upstreams that carry an exchange."""
        if len(self.upstreams) == 1:
            return len(self._busy)
        return sum(connection.upstream is upstream for connection in self._busy)

    def take(self, rested: float = inf) -> UpstreamConnection | None:
        """A connection as `acquire` gives it, if one rests; only then the turn of its upstream is over."""
        turn = self._turn
        connection = self._take(self._next_upstream(), rested)
        if connection is None:
            self._turn = turn
        else:
            connection.waited = 0.0
        return connection

    @property
    def has_line(self) -> bool:
        """Whether who comes now has to wait in line, and there is room in it."""
        return (
            self._open >= self._limits.max_connections
            and not any(upstream.idle for upstream in self.upstreams)
            and self._queued < self._limits.max_queued
            and not self._closing
        )

    def join(self, waiter: Waiter, patience: float | None = None) -> None:
        """Wait in line, `timeouts.pool` seconds unless said otherwise; `leave_line` must follow."""
        patience = self._timeouts.pool if patience is None else patience
        when = self._loop.time() + patience
        if when < self._patience_ends:
            self._patience_ends = when
            self._patience.within(patience)
        self._waiters.append((waiter, when))
        self._queued += 1

    def leave_line(self) -> None:
        """A waiter waits no more, whatever came of it."""
        self._queued -= 1

    async def acquire(
        self, *, rested: float = inf, timeouts: Timeouts | None = None, may_open: bool = False
    ) -> UpstreamConnection:
        """A connection that is ready to carry one exchange; it must come back through `give_back`.

        Upstreams take turns. `rested`: seconds; a connection that has been idle for longer is not wanted,
        because its backend may be closing it at this moment. `timeouts`: other limits than the pool's.
        `may_open`: the caller has waited in line for the right to open one.

        Raises:
            PoolTimeout: no connection became free in `timeouts.pool` seconds.
            Overloaded: `limits.max_queued` requests wait already.
            Draining: the gateway is shutting down.
            ConnectFailed, ConnectTimeout: a new connection could not be opened; nothing was sent.
        """
        timeouts = timeouts or self._timeouts
        upstream = self._next_upstream()
        waited = 0.0
        if may_open:
            pass
        elif (connection := self._take(upstream, rested)) is not None:
            connection.waited = 0.0
            return connection
        elif self._closing:
            raise Draining
        elif self._open < self._limits.max_connections:
            self._open += 1
        elif (surplus := self._longest_idle()) is not None:
            surplus.abort()
        else:
            began = self._loop.time()
            connection = await self._queue(timeouts.pool)
            waited = self._loop.time() - began
            if connection is not None:
                connection.waited = waited
                return connection
        # One slot is ours now, whichever way it came.
        try:
            connection = await self._connect(upstream, timeouts)
        except BaseException:
            self.free_slot()
            raise
        connection.waited = waited
        self._busy.add(connection)
        return connection

    def give_back(self, connection: UpstreamConnection) -> None:
        """An exchange is over, well or badly: keep its connection if it is reusable, else close it."""
        self._busy.remove(connection)
        fit = connection.reusable and not self._closing
        connection.rest()
        if fit:
            connection.upstream.record.answered = connection.idle_since
            self._offer(connection)
        else:
            self._note_end(connection)
            self._discard(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection ended by itself; a busy one still comes back through `give_back`."""
        idle = connection.upstream.idle
        if connection in idle:
            idle.remove(connection)
            self._note_age(connection)
            self.free_slot()

    async def close(self) -> None:
        """End every connection; exchanges under way fail."""
        self._closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._patience.close()
        for waiter, _ in self._waiters:
            if not waiter.done():
                waiter.set_exception(Draining())
        self._waiters.clear()
        for upstream in self.upstreams:
            for connection in upstream.idle[:]:
                connection.abort()
        for connection in self._busy:
            connection.cancel(Draining())

    # The parts of it

    def _next_upstream(self) -> Upstream:
        if len(self.upstreams) == 1:
            return self.upstreams[0]
        self._turn = (self._turn + 1) % len(self.upstreams)
        return self.upstreams[self._turn]

    def _take(self, upstream: Upstream, rested: float) -> UpstreamConnection | None:
        """The idle connection that was used last, if it is fit for use."""
        idle = upstream.idle
        now = self._loop.time()
        while idle:
            connection = idle[-1]
            age = now - connection.idle_since
            if rested < age <= self._limits.keepalive_expiry:
                return None
            idle.pop()
            if age <= self._limits.keepalive_expiry and not connection.is_stale(now):
                self._busy.add(connection)
                return connection
            self._discard(connection)
        return None

    def _note_end(self, connection: UpstreamConnection) -> None:
        """An exchange was the last on its connection: how its upstream is."""
        error = connection.error
        if not isinstance(error, UpstreamError):
            if connection.answered:
                connection.upstream.record.answered = connection.idle_since
        elif not error.reused:  # else the connection was old, and tells nothing of the upstream
            connection.upstream.record.fail(error.cause, connection.idle_since)

    def _note_age(self, connection: UpstreamConnection) -> None:
        """The backend has ended an idle connection."""
        now = self._loop.time()
        if not self._closing and now - self._ended_at >= APART:
            self._ended_at = now
            self.ended_ages.append(now - connection.idle_since)

    def _longest_idle(self) -> UpstreamConnection | None:
        """Take the connection out that has been idle for longest, whichever upstream it leads to."""
        resting = [upstream for upstream in self.upstreams if upstream.idle]
        if not resting:
            return None
        return min(resting, key=lambda upstream: upstream.idle[0].idle_since).idle.pop(0)

    async def _queue(self, patience: float) -> UpstreamConnection | None:
        """Wait in line for a connection, or for the right to open one (None)."""
        if self._queued >= self._limits.max_queued:
            raise Overloaded
        waiter: Future[UpstreamConnection | None] = self._loop.create_future()
        self.join(waiter, patience)
        try:
            return await waiter
        except CancelledError:
            # Cancelled between the hand-over and this task's next step: pass on what was handed over.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                connection = waiter.result()
                if connection is None:
                    self.free_slot()
                else:
                    self._busy.remove(connection)
                    self._offer(connection)
            raise
        finally:
            self.leave_line()

    def _offer(self, connection: UpstreamConnection) -> None:
        """Give a connection to the first in line, or let it rest."""
        while self._waiters:
            waiter, _ = self._waiters[0]
            if waiter.done():
                self._waiters.popleft()
            elif connection.is_stale(self._loop.time()):
                self._discard(connection)
                return
            else:
                self._waiters.popleft()
                self._busy.add(connection)
                waiter.set_result(connection)
                return
        if connection.closed:
            self.free_slot()
            return
        connection.upstream.idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP, self._sweep)

    def _refuse_late(self) -> None:
        """Refuse whose patience has ended; it need not be the first in line, for patience may differ."""
        now = self._loop.time()
        waiting: deque[tuple[Waiter, float]] = deque()
        for waiter, when in self._waiters:
            if waiter.done():
                continue
            if when <= now + RESOLUTION:
                waiter.set_exception(PoolTimeout())
            else:
                waiting.append((waiter, when))
        self._waiters = waiting
        self._patience_ends = min((when for _, when in waiting), default=inf)
        if waiting:
            self._patience.within(self._patience_ends - now)

    async def _connect(self, upstream: Upstream, timeouts: Timeouts) -> UpstreamConnection:
        record = upstream.record
        record.connects += 1
        try:
            async with timeout(timeouts.connect):
                transport, protocol = await self._loop.create_connection(
                    lambda: cast(
                        BaseProtocol, UpstreamConnection(self._loop, self, upstream, self._timeouts)
                    ),
                    upstream.host,
                    upstream.port,
                )
        except TimeoutError:
            record.refusals += 1
            record.fail(ConnectTimeout.cause, self._loop.time())
            raise ConnectTimeout(upstream=upstream.name) from None
        except OSError as error:
            record.refusals += 1
            record.fail(ConnectFailed.cause, self._loop.time())
            raise ConnectFailed(upstream=upstream.name) from error
        connection = cast(UpstreamConnection, protocol)
        if self._closing:
            connection.abort()
            raise Draining
        transport.get_extra_info("socket").setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        return connection

    def _discard(self, connection: UpstreamConnection) -> None:
        connection.abort()
        self.free_slot()

    def free_slot(self) -> None:
        """A connection is gone, or was not opened: the first in line may open another in its place."""
        while self._waiters:
            waiter, _ = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._open -= 1

    def _sweep(self) -> None:
        """Close what has been idle for too long, and what is idle beyond the limit."""
        self._sweeper = None
        now = self._loop.time()
        resting = [connection for upstream in self.upstreams for connection in upstream.idle]
        resting.sort(key=lambda connection: connection.idle_since)
        surplus = len(resting) - self._limits.max_keepalive_connections
        for at, connection in enumerate(resting):
            age = now - connection.idle_since
            if age > self._limits.keepalive_expiry or (at < surplus and age >= SWEEP):
                connection.upstream.idle.remove(connection)
                self._discard(connection)
        if any(upstream.idle for upstream in self.upstreams):
            self._sweeper = self._loop.call_later(SWEEP, self._sweep)
