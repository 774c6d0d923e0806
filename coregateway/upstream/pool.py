"""The connections of one worker to one backend: balanced over its endpoints, and queued for.

A request goes to the endpoint whose turn it is; one that is at its limit is passed over. When all are, the
request waits in the backend's queue.
"""

from asyncio import AbstractEventLoop, CancelledError, Task
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
from coregateway.upstream.breaker import Breaker, BreakerRules
from coregateway.upstream.connecting import connect, keep_behind
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.ejection import Ejection, EjectionRules, may_eject
from coregateway.upstream.endpoint import AVOIDED, ConnectionLimits, Endpoint
from coregateway.upstream.idle import EndedAges
from coregateway.upstream.node_link import NodeLink, breaker_key, upstream_key
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
        "_breaker_rules",
        "_closing",
        "_connects",
        "_drained",
        "_ejection_rules",
        "_ended_ages",
        "_leaving",
        "_limits",
        "_link",
        "_loop",
        "_queue",
        "_timeouts",
        "breaker",
        "endpoints",
        "io",
        "is_unwell",
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
        ejection: EjectionRules | None = None,
        breaker: BreakerRules | None = None,
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
        self._ejection_rules = ejection
        self._breaker_rules = breaker
        self._link: NodeLink | None = None
        self.breaker: Breaker | None = None
        """None: off, or the node is not there yet."""
        self.is_unwell = False
        """Whether one of several endpoints is ejected or avoided: `tend` looks after it."""
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
        tried: list[str] | None = None,
        key: int = 0,
    ) -> UpstreamConnection:
        """A connection that is ready to carry one exchange; its endpoint's `release` must follow.

        `rested`: seconds; a connection that has been idle for longer is not wanted, because its backend may
        be closing it at this moment. `timeouts`: other limits than the pool's. `slot`: the endpoint at which
        the caller has waited for the right to open one. `tried`, `key`: as `Balancer.pick`; endpoints that
        could not be connected to are added to `tried`.

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
        while (endpoint := self._pick(tried, key)) is not None:
            connection = endpoint.take_idle(rested)
            if connection is None and self._closing:
                raise Draining
            if connection is not None or endpoint.take_slot():
                self._balancer.advance(endpoint)
                return connection or await self._connect(endpoint, timeouts, tried, key)
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
        if isinstance(given, Endpoint):
            connection = await self._connect(given, timeouts, tried, key)
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
        """End every connection; exchanges under way fail."""
        self._closing = True
        self._queue.close()
        for endpoint in self._all:
            endpoint.close()
        for task in self._connects:
            task.cancel()

    def has_other_than(self, tried: Collection[str]) -> bool:
        """Whether there is an endpoint that a request was not sent to yet."""
        return any(endpoint.name not in tried for endpoint in self.endpoints if not endpoint.drained)

    def wait_for_breaker(self) -> float:
        """0.0: requests may go on; else seconds until one may. While it is half open, one of the node may."""
        breaker = self.breaker
        if breaker is None or not breaker.is_open:
            return 0.0
        link = self._link
        now = self._loop.time()
        seconds = breaker.wait(now)
        if seconds or link is None:
            return seconds
        link.rows.lock()
        try:
            seconds = breaker.wait(now)
            if not seconds:
                breaker.begin_probe(now)
            return seconds
        finally:
            link.rows.unlock()

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
        self._watch()
        self.refresh()

    def change(
        self,
        limits: Limits,
        timeouts: TimeoutSettings,
        *,
        balance: str,
        ejection: EjectionRules | None = None,
        breaker: BreakerRules | None = None,
    ) -> None:
        """Go by other settings from now on; for its endpoints `replace_endpoints` must follow."""
        self._ejection_rules = ejection
        if breaker != self._breaker_rules:
            self.breaker = None  # another one, with other rules and the same numbers
        self._breaker_rules = breaker
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

    def join(self, link: NodeLink) -> None:
        """Share with the node what is met at the endpoints, and go by what it decides."""
        self._link = link
        self._watch()
        self.refresh()

    def look(self) -> None:
        """Take in what the node has decided."""
        changed = False
        for endpoint in self.endpoints:
            ejected = endpoint.ejection is not None and endpoint.ejection.is_ejected
            if ejected is not endpoint.ejected:
                endpoint.ejected = ejected
                changed = True
        if changed:
            self.refresh()

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
        self.is_unwell = len(endpoints) > 1 and any(
            endpoint.ejected or endpoint.avoided_at for endpoint in endpoints
        )
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

    def _watch(self) -> None:
        """Have the endpoints count what they meet, where that is for the node."""
        link = self._link
        if link is None:
            return
        rules = self._breaker_rules
        row = None if rules is None or not rules.enabled else link.rows.row(breaker_key(self.name))
        if rules is None or row is None:
            self.breaker = None
        elif self.breaker is None:
            key = breaker_key(self.name)
            self.breaker = Breaker(rules, row, link.own_numbers(key), lambda: link.numbers_of_all(key))
        ejects = self._ejection_rules
        several = len(self.endpoints) > 1
        for endpoint in self.endpoints:
            endpoint.breaker = self.breaker
            endpoint.on_news = link.tell
            endpoint.on_failing = self._eject
            endpoint.ejection = None
            if ejects is not None and ejects.enabled and several:
                row = link.rows.row(upstream_key(self.name, endpoint.key))
                if row is not None:
                    endpoint.ejection = Ejection(row, ejects)
            endpoint.ejected = endpoint.ejection is not None and endpoint.ejection.is_ejected

    def _eject(self, endpoint: Endpoint, cause: str, now: float) -> None:
        """So much has failed at an endpoint that it should be ejected: do so, if enough others remain."""
        ejection, rules, link = endpoint.ejection, self._ejection_rules, self._link
        if ejection is None or rules is None or link is None:
            return
        out = sum([1 for other in self.endpoints if other.ejection is not None and other.ejection.is_ejected])
        if ejection.is_ejected or may_eject(out, len(self.endpoints), rules.max_share):
            ejection.eject(cause, now)
            endpoint.ejected = True
            link.tell()
            self.refresh()

    def _pick(self, tried: Collection[str], key: int) -> Endpoint | None:
        only = self.only
        if only is None:
            return self._balancer.pick(tried, key)
        return only if only.has_room else None

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
