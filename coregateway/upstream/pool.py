"""The connections of one worker to one backend: balanced over its endpoints, and queued for.

A request goes to the endpoint whose turn it is; one that is at its limit is passed over. When all are, the
request waits in the backend's queue.
"""

from asyncio import AbstractEventLoop, CancelledError
from collections.abc import Collection, Sequence
from math import inf
from time import monotonic
from typing import Protocol as Interface

from coregateway.model.errors import (
    ConnectFailed,
    ConnectTimeout,
    Draining,
    GatewayError,
    NameUnresolved,
    NoUpstream,
    Overloaded,
    PoolTimeout,
)
from coregateway.net.worker_io import WorkerIO
from coregateway.upstream.address import Address
from coregateway.upstream.balancer import MODES, Balancer
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.endpoint import ConnectionLimits, Endpoint
from coregateway.upstream.idle import EndedAges
from coregateway.upstream.roles import Timeouts, TimeoutSettings
from coregateway.upstream.tiers import DRAINED, open_tier
from coregateway.upstream.wait_queue import QueuedTask, Waiter, WaitQueue


class Limits(ConnectionLimits, Interface):
    """Per worker; the settings have this shape."""

    @property
    def max_queued(self) -> int: ...


class Pool:
    """See the module. `limits` hold in this worker, those of connections at each endpoint."""

    __slots__ = (
        "_absent",
        "_balancer",
        "_closing",
        "_drained",
        "_ended_ages",
        "_leaving",
        "_limits",
        "_loop",
        "_queue",
        "_timeouts",
        "endpoints",
        "io",
        "name",
        "only",
    )

    endpoints: tuple[Endpoint, ...]
    """Those that the backend has; replaced as a whole by `replace_endpoints`."""
    only: Endpoint | None
    """The one that all requests go to, if there is but one."""

    def __init__(
        self,
        io: WorkerIO,
        name: str,
        addresses: Sequence[Address],
        limits: Limits,
        timeouts: TimeoutSettings,
        *,
        balance: str = "p2c",
    ) -> None:
        self.io = io
        self.name = name
        self._limits = limits
        self._timeouts = Timeouts.of(timeouts)
        self._loop: AbstractEventLoop = io.loop
        self._queue = WaitQueue(self._loop, limits.max_queued)
        self._ended_ages = EndedAges()
        self.endpoints = ()
        self.only = None
        self._drained: frozenset[str] = frozenset()
        """URLs whose endpoints operators have taken out."""
        self._leaving: list[Endpoint] = []
        """Those that it no longer has, until their last exchange has ended."""
        self._balancer = Balancer(mode=MODES[balance])
        self._closing = False
        self.replace_endpoints(addresses)

    def __repr__(self) -> str:
        return (
            f"<Pool {self.name} [requests: {self.active} active, {self.queued} queued | "
            f"connections: {self.active} active, {self.idle} idle, {self.opening} opening, "
            f"{self._limits.max_connections} at most per endpoint]>"
        )

    @property
    def active(self) -> int:
        """Connections that carry an exchange."""
        return sum(endpoint.active for endpoint in self._all)

    @property
    def idle(self) -> int:
        """Idle connections."""
        return sum(endpoint.idle for endpoint in self._all)

    @property
    def opening(self) -> int:
        """Connections that are being opened, or that a request of the queue is about to open."""
        return sum(endpoint.opening for endpoint in self._all)

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
        return not self._queue.length and not any(endpoint.slots_taken for endpoint in self._all)

    @property
    def surpluses(self) -> int:
        """How often a connection brought bytes that no request asked for."""
        return sum(endpoint.health.surpluses for endpoint in self.endpoints)

    @property
    def must_queue(self) -> bool:
        """Whether a new request has to wait in the queue, and may."""
        if self._closing or self._queue.is_full:
            return False
        eligible = [endpoint for endpoint in self.endpoints if endpoint.eligible]
        return bool(eligible) and not any(endpoint.has_room for endpoint in eligible)

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
            NoUpstream: there is no endpoint, or all are drained.
            NameUnresolved: no name of the backend could be resolved.
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
        if self._balancer.is_empty and (lack := self._lack) is not None:
            raise lack()
        began = self._loop.time()
        if self.endpoints:
            given = await self._wait(timeouts.pool)
        else:
            given = await self._await_address(timeouts)
        waited = self._loop.time() - began
        connection = await self._open(given, timeouts) if isinstance(given, Endpoint) else given
        connection.waited = waited
        return connection

    def beside(self, limits: Limits) -> "Pool":
        """Another pool for the same endpoints, with connections and limits of its own."""
        addresses = [endpoint.address for endpoint in self.endpoints]
        pool = Pool(self.io, self.name, (), limits, self._timeouts)
        pool.replace_endpoints(addresses, self._absent)
        return pool

    async def close(self) -> None:
        """End every connection; exchanges under way fail."""
        self._closing = True
        self._queue.close()
        for endpoint in self._all:
            endpoint.close()

    # Which endpoints there are, and which of them get requests

    def replace_endpoints(
        self, addresses: Sequence[Address], absent: type[GatewayError] | None = NoUpstream
    ) -> None:
        """Have the endpoints at these addresses from now on.

        Those that are there already, by the key of their address, keep their connections and all that is
        known of them. Those that are gone get no further request: their exchanges end, their idle connections
        are closed. Without any address requests end with `absent`; None: they wait for one,
        `timeouts.connect` seconds at most.
        """
        self._absent = absent
        known = {endpoint.key: endpoint for endpoint in self._all}
        endpoints: list[Endpoint] = []
        for address in addresses:
            endpoint = known.pop(address.key, None)
            if endpoint is None:
                endpoint = Endpoint(
                    self.io, address, self._limits, self._timeouts, self._queue, self._ended_ages
                )
                endpoint.on_change = endpoint.health.on_change = self.refresh
            else:
                endpoint.come_back(address, self._limits, self._timeouts)
            endpoints.append(endpoint)
        for endpoint in known.values():
            if not endpoint.retired:
                endpoint.retire()
        self._leaving = [endpoint for endpoint in known.values() if endpoint.slots_taken]
        self.endpoints = tuple(endpoints)
        self._take_out()
        self.refresh()

    def change(self, limits: Limits, timeouts: TimeoutSettings, *, balance: str) -> None:
        """Go by other settings from now on; for its endpoints `replace_endpoints` must follow."""
        self._limits = limits
        self._timeouts = Timeouts.of(timeouts)
        self._queue.longest = limits.max_queued
        self._balancer.mode = MODES[balance]

    def drain(self, urls: Collection[str]) -> None:
        """Let the endpoints at these URLs have no requests, those that come, too, and all others again."""
        if self._drained != urls:
            self._drained = frozenset(urls)
            self._take_out()
            self.refresh()

    def _take_out(self) -> None:
        for endpoint in self.endpoints:
            wanted = endpoint.address.url in self._drained
            if wanted and not endpoint.drained:
                endpoint.drain()
            elif endpoint.drained and not wanted:
                endpoint.undrain()

    def retire(self) -> None:
        """No further request comes: those under way and those that wait finish, and nothing is kept."""
        for endpoint in self._all:
            endpoint.stop_keeping()

    def refresh(self) -> None:
        """An endpoint stands otherwise than before: say anew which of them get requests."""
        endpoints = self.endpoints
        tier = open_tier(
            [endpoint.standing for endpoint in endpoints], [endpoint.weight for endpoint in endpoints]
        )
        ready: list[Endpoint] = []
        rest: list[Endpoint] = []
        for endpoint in endpoints:
            standing = endpoint.standing
            eligible = standing <= tier
            if eligible and not endpoint.eligible:
                endpoint.credit = 0
            endpoint.eligible = eligible
            if eligible:
                ready.append(endpoint)
            elif standing != DRAINED:
                rest.append(endpoint)
        self.only = ready[0] if len(endpoints) == 1 and ready else None
        self._balancer.use(ready, rest)
        self._serve_queue()

    # The parts of it

    @property
    def _all(self) -> tuple[Endpoint, ...]:
        return (*self.endpoints, *self._leaving) if self._leaving else self.endpoints

    def _serve_queue(self) -> None:
        """Give what is free to those that wait: endpoints with room may have come."""
        queue = self._queue
        if not queue.length or self._closing:
            return
        if self._balancer.is_empty:
            if (lack := self._lack) is not None:
                queue.refuse_all(lack)
            return
        while queue.has_waiters:
            endpoint = self._balancer.pick()
            if endpoint is None:
                return
            self._balancer.advance(endpoint)
            connection = endpoint.take_idle(inf)
            if connection is not None:
                queue.give_connection(connection)
            elif endpoint.take_slot():
                queue.give_slot(endpoint)

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
            if any(other is not endpoint and other.load and other.eligible for other in self.endpoints):
                # The queue waits for those. It would fail here, one request after the other, and at once.
                endpoint.slots_taken -= 1
            else:
                endpoint.release_slot()
            raise
        except BaseException:
            endpoint.release_slot()
            raise

    @property
    def _lack(self) -> type[GatewayError] | None:
        """How a request ends that no endpoint can serve; None: it waits until one can."""
        return NoUpstream if self.endpoints else self._absent

    async def _await_address(self, timeouts: Timeouts) -> UpstreamConnection | Endpoint:
        """Wait in the queue until an address is known of any of the backend's names."""
        try:
            return await self._wait(timeouts.connect)
        except PoolTimeout:
            raise NameUnresolved from None

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
