"""The connections of one worker to one backend: balanced over its endpoints, and queued for.

A request goes to the endpoint whose turn it is; one that is at its limit is passed over. When all are, the
request waits in the backend's queue.
"""

from asyncio import CancelledError, Task, gather
from collections.abc import Collection, Sequence
from math import inf
from time import monotonic

from coregateway.model.errors import (
    ConnectFailed,
    ConnectTimeout,
    Draining,
    NameUnresolved,
    Overloaded,
    PoolTimeout,
)
from coregateway.net.worker_io import WorkerIO
from coregateway.upstream.address import Address
from coregateway.upstream.breaker import BreakerRules
from coregateway.upstream.connecting import connect, keep_behind
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.ejection import EjectionRules
from coregateway.upstream.endpoint import Endpoint
from coregateway.upstream.endpoint_set import EndpointSet, Limits
from coregateway.upstream.endpoint_standing import AVOIDED
from coregateway.upstream.roles import Timeouts, TimeoutSettings
from coregateway.upstream.wait_queue import QueuedTask, Waiter


class Pool(EndpointSet):
    """See the module."""

    __slots__ = ("_closing", "_connects")

    def __init__(
        self,
        io: WorkerIO,
        name: str,
        addresses: Sequence[Address],
        limits: Limits,
        timeouts: TimeoutSettings,
        *,
        balance: str = "p2c",
        ejection: EjectionRules | None = None,
        breaker: BreakerRules | None = None,
    ) -> None:
        super().__init__(io, name, limits, timeouts, balance, ejection, breaker)
        self._connects: set[Task[UpstreamConnection]] = set()
        """Those that are under way, whether or not a request waits for them."""
        self._closing = False
        self.replace_endpoints(addresses)

    def __repr__(self) -> str:
        return (
            f"<Pool {self.name} [requests: {self.active} active, {self.queued} queued | "
            f"connections: {self.active} active, {self.idle} idle, {self.opening} opening, "
            f"{self._limits.max_connections} at most per endpoint]>"
        )

    @property
    def must_queue(self) -> bool:
        """Whether a new request has to wait in the queue, and may."""
        if self._closing or self._queue.is_full:
            return False
        eligible = [endpoint for endpoint in self.endpoints if endpoint.eligible]
        return bool(eligible) and not any(endpoint.has_room for endpoint in eligible)

    def take_idle_connection(self, rested: float = inf, key: int = 0) -> UpstreamConnection | None:
        """A connection as `acquire_connection` gives it, if the endpoint whose turn it is has an idle one."""
        endpoint = self.only
        if endpoint is not None:
            return endpoint.take_idle(rested)
        endpoint = self._balancer.pick((), key)
        if endpoint is None:
            return None
        connection = endpoint.take_idle(rested)
        if connection is not None:
            self._balancer.advance(endpoint)
        return connection

    def join_queue(
        self, waiter: Waiter, now: float, patience: float | None = None, *, upload: bool = False
    ) -> None:
        """Wait in the queue from `now` on (monotonic), `timeouts.pool` seconds unless said otherwise.

        `leave_queue` must follow.
        """
        self._queue.join(waiter, now, self._timeouts.pool if patience is None else patience, upload=upload)

    def leave_queue(self) -> None:
        """A waiter waits no more, whatever came of it."""
        self._queue.leave()

    async def acquire_connection(
        self,
        *,
        rested: float = inf,
        timeouts: Timeouts | None = None,
        slot: Endpoint | None = None,
        tried: list[str] | None = None,
        key: int = 0,
        upload: bool = False,
    ) -> UpstreamConnection:
        """A connection that is ready to carry one exchange; its endpoint's `release` must follow.

        `rested`: seconds; a connection that has been idle for longer is not wanted, because its backend may
        be closing it at this moment. `timeouts`: other limits than the pool's. `slot`: the endpoint at which
        the caller has waited for the right to open one. `tried`, `key`, `upload`: as `Balancer.pick`;
        endpoints that could not be connected to are added to `tried`.

        Raises:
            PoolTimeout: no connection became free in `timeouts.pool` seconds.
            Overloaded: `limits.max_queued` requests wait already.
            NoUpstream: there is no endpoint, or all are drained.
            NameUnresolved: no name of the backend could be resolved.
            Draining: the gateway is shutting down.
            ConnectFailed, ConnectTimeout: a new connection could not be opened; nothing was sent.
        """
        timeouts = timeouts or self._timeouts
        tried = [] if tried is None else tried
        if slot is not None:
            return await self._connect(slot, timeouts, tried, key)
        while (endpoint := self._pick(tried, key, upload)) is not None:
            connection = endpoint.take_idle(rested)
            if connection is None and self._closing:
                raise Draining
            if connection is None and not endpoint.take_slot():
                continue
            self._balancer.advance(endpoint)
            if upload:
                endpoint.uploads += 1
                if connection is None:
                    return await self._connect_upload(endpoint, timeouts, tried, key)
                connection.carries_upload = True
            return connection or await self._connect(endpoint, timeouts, tried, key)
        if self._closing:
            raise Draining
        if self._balancer.is_empty and (lack := self._lack) is not None:
            raise lack()
        began = self._loop.time()
        if self.endpoints:
            given = await self._wait(timeouts.pool, upload=upload)
        else:
            given = await self._await_address(timeouts, upload=upload)
        waited = self._loop.time() - began
        if isinstance(given, Endpoint):
            connect_to = self._connect_upload if upload else self._connect
            connection = await connect_to(given, timeouts, tried, key)
        else:
            connection = given
        connection.waited = waited
        return connection

    def beside(self, limits: Limits) -> "Pool":
        """Another pool for the same endpoints, with connections and limits of its own."""
        addresses = [endpoint.address for endpoint in self.endpoints]
        pool = Pool(self.io, self.name, (), limits, self._timeouts)
        pool.replace_endpoints(addresses, self._absent)
        return pool

    async def close(self) -> None:
        """End every connection; exchanges under way fail. No connect is under way when it returns."""
        self._closing = True
        self._queue.close()
        for endpoint in self._all:
            endpoint.close()
        connects = list(self._connects)
        for task in connects:
            task.cancel()
        await gather(*connects, return_exceptions=True)

    def tend(self, now: float) -> None:
        """See whether endpoints that are ejected or avoided are there again; for every so often.

        No request pays for that: a connect that none waits for comes first. A backend without requests is
        left alone.
        """
        picks = self._balancer.picks
        for endpoint in self.endpoints:
            if endpoint.reviving or endpoint.drained:
                continue
            if endpoint.avoided_at:
                if now - endpoint.avoided_at >= AVOIDED and picks != endpoint.picks_seen:
                    self._revive(endpoint, picks)
            elif endpoint.is_due:
                if endpoint.idle:
                    self._balancer.trial = endpoint
                elif picks != endpoint.picks_seen:
                    self._revive(endpoint, picks)

    def serve_queue(self) -> None:
        """Give what is free to those that wait: endpoints with room may have come."""
        queue = self._queue
        if not queue.length or self._closing:
            return
        if self._balancer.is_empty:
            if (lack := self._lack) is not None:
                queue.refuse_all(lack)
            return
        while queue.has_waiters and (endpoint := self._balancer.pick()) is not None:
            self._give(endpoint)
        while queue.has_uploads and (endpoint := self._balancer.pick(upload=True)) is not None:
            self._give(endpoint)

    # The parts of it

    def _give(self, endpoint: Endpoint) -> None:
        """Give what is free at an endpoint to the first in the queue."""
        self._balancer.advance(endpoint)
        connection = endpoint.take_idle(inf)
        if connection is not None:
            self._queue.give_connection(connection)
        elif endpoint.take_slot():
            self._queue.give_slot(endpoint)

    def _pick(self, tried: Collection[str], key: int, upload: bool) -> Endpoint | None:
        only = self.only
        if only is None:
            return self._balancer.pick(tried, key, upload=upload)
        return only if only.has_room and (not upload or only.takes_upload) else None

    async def _connect_upload(
        self, endpoint: Endpoint, timeouts: Timeouts, tried: list[str], key: int
    ) -> UpstreamConnection:
        """As `_connect`, for an upload that the endpoint counts already."""
        try:
            connection = await self._connect(endpoint, timeouts, tried, key)
        except BaseException:
            endpoint.end_upload(None)
            raise
        connection.carries_upload = True
        if connection.endpoint is not endpoint:
            connection.endpoint.uploads += 1
            endpoint.end_upload(None)
        return connection

    async def _connect(
        self, endpoint: Endpoint, timeouts: Timeouts, tried: list[str], key: int
    ) -> UpstreamConnection:
        """Open a connection in a slot that was taken; where there are several endpoints, see `connecting`."""
        if len(self.endpoints) == 1:
            return await self._open(endpoint, timeouts)

        def following(begun: list[str]) -> UpstreamConnection | Endpoint | None:
            other = self._balancer.pick(begun, key)
            if other is None or other.name in begun:
                return None
            self._balancer.advance(other)
            connection = other.take_idle(inf)
            if connection is not None:
                return connection
            return other if other.take_slot() else None

        return await connect(endpoint, lambda there: self._begin(there, timeouts), following, tried)

    def _begin(self, endpoint: Endpoint, timeouts: Timeouts) -> Task[UpstreamConnection]:
        task = self._loop.create_task(self._open(endpoint, timeouts))
        self._connects.add(task)
        task.add_done_callback(self._connects.discard)
        return task

    def _revive(self, endpoint: Endpoint, picks: int) -> None:
        """Open a connection that no request waits for."""
        if not endpoint.take_slot():
            return
        endpoint.reviving = True
        endpoint.picks_seen = picks

        def end(_: Task[UpstreamConnection]) -> None:
            endpoint.reviving = False

        task = self._begin(endpoint, self._timeouts)
        task.add_done_callback(end)
        keep_behind(task, endpoint)

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

    async def _await_address(self, timeouts: Timeouts, *, upload: bool) -> UpstreamConnection | Endpoint:
        """Wait in the queue until an address is known of any of the backend's names."""
        try:
            return await self._wait(timeouts.connect, upload=upload)
        except PoolTimeout:
            raise NameUnresolved from None

    async def _wait(self, patience: float, *, upload: bool) -> UpstreamConnection | Endpoint:
        """Wait in the queue for a connection, or for the right to open one at an endpoint."""
        if self._queue.is_full:
            raise Overloaded
        queued = QueuedTask(self._loop)
        waiter = queued.given
        self.join_queue(queued, monotonic(), patience, upload=upload)
        try:
            return await waiter
        except CancelledError:
            # Cancelled between the hand-over and this task's next step: pass on what was handed over.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                given = waiter.result()
                if isinstance(given, Endpoint):
                    if upload:
                        given.end_upload(None)
                    given.release_slot()
                else:
                    given.endpoint.decline(given)
            raise
        finally:
            self.leave_queue()
