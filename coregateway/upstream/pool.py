"""The connections of one worker to one backend: balanced over its endpoints, and queued for.

A request goes to the endpoint whose turn it is; one that is at its limit is passed over. When all are, the
request waits in the backend's queue.
"""

from asyncio import AbstractEventLoop, CancelledError
from collections.abc import Collection, Sequence
from math import inf
from time import monotonic
from typing import Protocol as Interface

from coregateway.model.errors import ConnectFailed, ConnectTimeout, Draining, Overloaded
from coregateway.net.worker_io import WorkerIO
from coregateway.upstream.balancer import Balancer
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.endpoint import ConnectionLimits, Endpoint
from coregateway.upstream.idle import EndedAges
from coregateway.upstream.roles import Timeouts, TimeoutSettings
from coregateway.upstream.wait_queue import QueuedTask, Waiter, WaitQueue


class Limits(ConnectionLimits, Interface):
    """Per worker; the settings have this shape."""

    @property
    def max_queued(self) -> int: ...


class Pool:
    """See the module. `limits` hold in this worker, those of connections at each endpoint."""

    __slots__ = (
        "_balancer",
        "_closing",
        "_ended_ages",
        "_loop",
        "_most",
        "_queue",
        "_timeouts",
        "endpoints",
        "io",
        "name",
        "only",
    )

    def __init__(
        self, io: WorkerIO, name: str, urls: Sequence[str], limits: Limits, timeouts: TimeoutSettings
    ) -> None:
        self.io = io
        self.name = name
        self._most = limits.max_connections
        self._timeouts = Timeouts.of(timeouts)
        self._loop: AbstractEventLoop = io.loop
        self._queue = WaitQueue(self._loop, limits.max_queued)
        self._ended_ages = EndedAges()
        self.endpoints = tuple(
            Endpoint(io, url, limits, self._timeouts, self._queue, self._ended_ages) for url in urls
        )
        self.only: Endpoint | None = self.endpoints[0] if len(urls) == 1 else None
        """The one that all requests go to, if there is but one."""
        self._balancer = Balancer(self.endpoints)
        self._closing = False

    def __repr__(self) -> str:
        return (
            f"<Pool {self.name} [requests: {self.active} active, {self.queued} queued | "
            f"connections: {self.active} active, {self.idle} idle, {self.opening} opening, "
            f"{self._most} at most per endpoint]>"
        )

    @property
    def active(self) -> int:
        """Connections that carry an exchange."""
        return sum(endpoint.active for endpoint in self.endpoints)

    @property
    def idle(self) -> int:
        """Idle connections."""
        return sum(endpoint.idle for endpoint in self.endpoints)

    @property
    def opening(self) -> int:
        """Connections that are being opened, or that a request of the queue is about to open."""
        return sum(endpoint.opening for endpoint in self.endpoints)

    @property
    def queued(self) -> int:
        """Requests that wait for a connection."""
        return self._queue.length

    @property
    def ended_ages(self) -> Collection[float]:
        """Seconds that the last few idle connections had rested which the backend ended."""
        return self._ended_ages.last

    @property
    def is_empty(self) -> bool:
        """Whether it holds no connection and no request waits."""
        return not self._queue.length and not any(endpoint.slots_taken for endpoint in self.endpoints)

    @property
    def surpluses(self) -> int:
        """How often a connection brought bytes that no request asked for."""
        return sum(endpoint.health.surpluses for endpoint in self.endpoints)

    @property
    def must_queue(self) -> bool:
        """Whether a new request has to wait in the queue, and there is a place in it."""
        if self._closing or self._queue.is_full:
            return False
        return not any(endpoint.has_room for endpoint in self.endpoints)

    def take_idle_connection(self, rested: float = inf) -> UpstreamConnection | None:
        """A connection as `acquire_connection` gives it, if the endpoint whose turn it is has an idle one."""
        endpoint = self.only
        if endpoint is not None:
            return endpoint.take_idle(rested)
        endpoint = self._balancer.pick()
        if endpoint is None:
            return None
        connection = endpoint.take_idle(rested)
        if connection is not None:
            self._balancer.advance(endpoint)
        return connection

    def join_queue(self, waiter: Waiter, now: float, patience: float | None = None) -> None:
        """Wait in the queue from `now` on (monotonic), `timeouts.pool` seconds unless said otherwise.

        `leave_queue` must follow.
        """
        self._queue.join(waiter, now, self._timeouts.pool if patience is None else patience)

    def leave_queue(self) -> None:
        """A waiter waits no more, whatever came of it."""
        self._queue.leave()

    async def acquire_connection(
        self,
        *,
        rested: float = inf,
        timeouts: Timeouts | None = None,
        slot: Endpoint | None = None,
        tried: Collection[str] = (),
    ) -> UpstreamConnection:
        """A connection that is ready to carry one exchange; its endpoint's `release` must follow.

        `rested`: seconds; a connection that has been idle for longer is not wanted, because its backend may
        be closing it at this moment. `timeouts`: other limits than the pool's. `slot`: the endpoint at which
        the caller has waited for the right to open one. `tried`: as `Balancer.pick`.

        Raises:
            PoolTimeout: no connection became free in `timeouts.pool` seconds.
            Overloaded: `limits.max_queued` requests wait already.
            Draining: the gateway is shutting down.
            ConnectFailed, ConnectTimeout: a new connection could not be opened; nothing was sent.
        """
        timeouts = timeouts or self._timeouts
        if slot is not None:
            return await self._open(slot, timeouts)
        while (endpoint := self._pick(tried)) is not None:
            connection = endpoint.take_idle(rested)
            if connection is None and self._closing:
                raise Draining
            if connection is not None or endpoint.take_slot():
                self._balancer.advance(endpoint)
                return connection or await self._open(endpoint, timeouts)
        if self._closing:
            raise Draining
        began = self._loop.time()
        given = await self._wait(timeouts.pool)
        waited = self._loop.time() - began
        connection = await self._open(given, timeouts) if isinstance(given, Endpoint) else given
        connection.waited = waited
        return connection

    async def close(self) -> None:
        """End every connection; exchanges under way fail."""
        self._closing = True
        self._queue.close()
        for endpoint in self.endpoints:
            endpoint.close()

    # The parts of it

    def _pick(self, tried: Collection[str]) -> Endpoint | None:
        only = self.only
        if only is None:
            return self._balancer.pick(tried)
        return only if only.has_room else None

    async def _open(self, endpoint: Endpoint, timeouts: Timeouts) -> UpstreamConnection:
        """Open a connection in a slot that was taken, or let go of the slot."""
        try:
            return await endpoint.open(timeouts)
        except (ConnectFailed, ConnectTimeout):
            if any(other is not endpoint and other.slots_taken > other.idle for other in self.endpoints):
                # The queue waits for those. It would fail here, one request after the other, and at once.
                endpoint.slots_taken -= 1
            else:
                endpoint.release_slot()
            raise
        except BaseException:
            endpoint.release_slot()
            raise

    async def _wait(self, patience: float) -> UpstreamConnection | Endpoint:
        """Wait in the queue for a connection, or for the right to open one at an endpoint."""
        if self._queue.is_full:
            raise Overloaded
        queued = QueuedTask(self._loop)
        waiter = queued.given
        self.join_queue(queued, monotonic(), patience)
        try:
            return await waiter
        except CancelledError:
            # Cancelled between the hand-over and this task's next step: pass on what was handed over.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                given = waiter.result()
                if isinstance(given, Endpoint):
                    given.release_slot()
                else:
                    given.endpoint.decline(given)
            raise
        finally:
            self.leave_queue()
