"""The connections of one worker to one backend: bounded, reused, queued for.

A connection is busy with an exchange, or idle (`upstream.idle`), or being opened; each of them takes one
slot. Who finds neither an idle one nor a free slot waits in line (`upstream.line`). A connection that comes
back goes to the first in line; a slot that falls free lets the first in line open a connection of its own.
Every taken connection comes back through `give_back`, whatever happened on it, and that is the only way its
slot is counted free: so a cancelled or broken exchange cannot leak one.
"""

from asyncio import (
    AbstractEventLoop,
    BaseProtocol,
    CancelledError,
    get_running_loop,
    timeout,
)
from collections.abc import Collection, Sequence
from math import inf
from socket import IPPROTO_TCP, TCP_NODELAY
from time import monotonic
from typing import Protocol as Interface
from typing import cast

from coregateway.model.errors import ConnectFailed, ConnectTimeout, Draining, Overloaded, UpstreamError
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.endpoint import Upstream
from coregateway.upstream.idle import IdleConnections
from coregateway.upstream.roles import Timeouts, TimeoutSettings
from coregateway.upstream.wait_queue import Line, Place, Waiter


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


class Pool:
    """See the module. `limits` and `timeouts` hold for this worker and this backend."""

    def __init__(self, name: str, urls: Sequence[str], limits: Limits, timeouts: TimeoutSettings) -> None:
        self.name = name
        self.upstreams = tuple(Upstream(url) for url in urls)
        self._most = limits.max_connections
        self._timeouts = Timeouts.of(timeouts)
        self._loop: AbstractEventLoop = get_running_loop()
        self._busy: set[UpstreamConnection] = set()
        self._idle = IdleConnections(
            self._loop,
            self.upstreams,
            self._discard,
            most=limits.max_keepalive_connections,
            expiry=limits.keepalive_expiry,
        )
        self._line = Line(self._loop, limits.max_queued)
        self._open = 0
        """Slots that are taken, of `max_connections`."""
        self._turn = 0
        self._closing = False

    def __repr__(self) -> str:
        return (
            f"<Pool {self.name} [requests: {self.active} active, {self.queued} queued | "
            f"connections: {self.active} active, {self.idle} idle, {self.opening} opening, "
            f"{self._most} at most]>"
        )

    @property
    def only(self) -> Upstream | None:
        """The one that all requests go to, if there is but one."""
        return self.upstreams[0] if len(self.upstreams) == 1 else None

    @property
    def active(self) -> int:
        """Connections that carry an exchange."""
        return len(self._busy)

    @property
    def idle(self) -> int:
        """Connections at rest."""
        return self._idle.count

    @property
    def opening(self) -> int:
        """Connections that are being opened, or that a waiter is about to open."""
        return self._open - self.active - self.idle

    @property
    def queued(self) -> int:
        """Requests that wait for a connection."""
        return self._line.length

    @property
    def ended_ages(self) -> Collection[float]:
        """Seconds that the last few idle connections had rested which the backend ended."""
        return self._idle.ended_ages

    @property
    def is_empty(self) -> bool:
        """Whether it holds nothing and nobody waits."""
        return not self._open and not self._line.length

    @property
    def surpluses(self) -> int:
        """How often a connection brought bytes that no request asked for."""
        return sum(upstream.record.surpluses for upstream in self.upstreams)

    def active_at(self, upstream: Upstream) -> int:
        """Connections to one of the upstreams that carry an exchange."""
        if len(self.upstreams) == 1:
            return len(self._busy)
        return sum(connection.upstream is upstream for connection in self._busy)

    def take(self, rested: float = inf) -> UpstreamConnection | None:
        """A connection as `acquire` gives it, if one rests; only then the turn of its upstream is over."""
        turn = self._turn
        connection = self._idle.take(self._next_upstream(), rested)
        if connection is None:
            self._turn = turn
        else:
            self._busy.add(connection)
            connection.waited = 0.0
        return connection

    @property
    def has_line(self) -> bool:
        """Whether who comes now has to wait in line, and there is room in it."""
        return (
            self._open >= self._most and self._idle.is_empty and not self._line.is_full and not self._closing
        )

    def join(self, waiter: Waiter, now: float, patience: float | None = None) -> None:
        """Wait in line from `now` on (monotonic), `timeouts.pool` seconds unless said otherwise.

        `leave_line` must follow.
        """
        self._line.join(waiter, now, self._timeouts.pool if patience is None else patience)

    def leave_line(self) -> None:
        """A waiter waits no more, whatever came of it."""
        self._line.leave()

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
        elif (connection := self._idle.take(upstream, rested)) is not None:
            self._busy.add(connection)
            connection.waited = 0.0
            return connection
        elif self._closing:
            raise Draining
        elif self._open < self._most:
            self._open += 1
        elif (surplus := self._idle.take_oldest()) is not None:
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
        record = connection.upstream.record
        if fit and connection.idle_since >= record.distrusted_until:
            record.answered = connection.idle_since
            self._offer(connection)
        else:
            if connection.has_surplus:
                self.distrust(connection)
            self._note_end(connection)
            self._discard(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection ended by itself; a busy one still comes back through `give_back`."""
        if self._idle.lose(connection):
            self.free_slot()

    def distrust(self, connection: UpstreamConnection) -> None:
        """Bytes came on a connection that no request asked for: use its upstream's once each for a while.

        Those at rest are closed now, those that are busy when they come back.
        """
        upstream = connection.upstream
        upstream.record.distrust(self._loop.time())
        self._idle.drop_all(upstream)

    async def close(self) -> None:
        """End every connection; exchanges under way fail."""
        self._closing = True
        self._line.close()
        self._idle.close()
        for connection in self._busy:
            connection.cancel(Draining())

    # The parts of it

    def _next_upstream(self) -> Upstream:
        if (only := self.only) is not None:
            return only
        self._turn = (self._turn + 1) % len(self.upstreams)
        return self.upstreams[self._turn]

    def _note_end(self, connection: UpstreamConnection) -> None:
        """An exchange was the last on its connection: how its upstream is."""
        error = connection.error
        if not isinstance(error, UpstreamError):
            if connection.answered:
                connection.upstream.record.answered = connection.idle_since
        elif not error.reused:  # else the connection was old, and tells nothing of the upstream
            connection.upstream.record.fail(error.cause, connection.idle_since)

    async def _queue(self, patience: float) -> UpstreamConnection | None:
        """Wait in line for a connection, or for the right to open one (None)."""
        if self._line.is_full:
            raise Overloaded
        place = Place(self._loop)
        waiter = place.served
        self.join(place, monotonic(), patience)
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
                    if self._loop.time() < connection.upstream.record.distrusted_until:
                        self._discard(connection)
                    else:
                        self._offer(connection)
            raise
        finally:
            self.leave_line()

    def _offer(self, connection: UpstreamConnection) -> None:
        """Give a connection to the first in line, or let it rest."""
        if self._line.has_waiters:
            if connection.closing:
                self._discard(connection)
            else:
                self._busy.add(connection)
                self._line.serve(connection)
        elif connection.closed:
            self.free_slot()
        else:
            self._idle.add(connection)

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
        except TimeoutError as error:
            record.miss(error)
            record.fail(ConnectTimeout.cause, self._loop.time())
            raise ConnectTimeout(upstream=upstream.name) from None
        except OSError as error:
            record.miss(error)
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
        if not self._line.serve(None):
            self._open -= 1
