"""The endpoints of one backend in one worker: which there are, and which of them get requests."""

from asyncio import AbstractEventLoop
from collections.abc import Collection, Sequence
from typing import Protocol as Interface

from coregateway.model.errors import GatewayError, NoUpstream
from coregateway.net.worker_io import WorkerIO
from coregateway.upstream.address import Address
from coregateway.upstream.balancer import MODES, Balancer
from coregateway.upstream.breaker import BreakerRules
from coregateway.upstream.ejection import EjectionRules
from coregateway.upstream.endpoint import Endpoint
from coregateway.upstream.idle import EndedAges
from coregateway.upstream.node_link import NodeLink
from coregateway.upstream.roles import ConnectionLimits, Timeouts, TimeoutSettings
from coregateway.upstream.rulings import Rulings
from coregateway.upstream.tiers import DRAINED, open_tier
from coregateway.upstream.wait_queue import WaitQueue


class Limits(ConnectionLimits, Interface):
    """Per worker; the settings have this shape."""

    @property
    def max_queued(self) -> int: ...


class EndpointSet:
    """See the module. `limits` hold in this worker, those of connections at each endpoint.

    `Pool` adds the way of a request through it.
    """

    __slots__ = (
        "_absent",
        "_balancer",
        "_drained",
        "_ended_ages",
        "_leaving",
        "_limits",
        "_loop",
        "_queue",
        "_rulings",
        "_timeouts",
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
        limits: Limits,
        timeouts: TimeoutSettings,
        balance: str,
        ejection: EjectionRules | None,
        breaker: BreakerRules | None,
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
        self._rulings = Rulings(name, self.refresh, ejection, breaker)
        self.is_unwell = False
        """Whether one of several endpoints is ejected or avoided: `Pool.tend` looks after it."""

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
    def streams(self) -> int:
        """Connections that carry a tunnel or an event stream; `active` has the others."""
        return sum(endpoint.streams for endpoint in self._all)

    @property
    def queued(self) -> int:
        """Requests that wait for a connection."""
        return self._queue.length

    @property
    def queues_only_uploads(self) -> bool:
        """Whether all of them wait for one of those that uploads may have."""
        return not self._queue.has_waiters and self._queue.has_uploads

    @property
    def max_queued(self) -> int:
        """How many may."""
        return self._queue.longest

    @property
    def ended_ages(self) -> Collection[float]:
        """Seconds that the last few idle connections had rested which the backend ended."""
        return self._ended_ages.last

    @property
    def is_empty(self) -> bool:
        """Whether it holds no connection and no request waits."""
        return not self._queue.length and not any(
            endpoint.slots_taken or endpoint.streams for endpoint in self._all
        )

    @property
    def surpluses(self) -> int:
        """How often a connection brought bytes that no request asked for."""
        return sum(endpoint.health.surpluses for endpoint in self.endpoints)

    def has_other_than(self, tried: Collection[str]) -> bool:
        """Whether there is an endpoint that a request was not sent to yet."""
        return any(endpoint.name not in tried for endpoint in self.endpoints if not endpoint.drained)

    # Which endpoints there are

    def replace_endpoints(
        self, addresses: Sequence[Address], absent: type[GatewayError] | None = NoUpstream
    ) -> None:
        """Have the endpoints at these addresses from now on.

        Those that are there already, by the identity of their address, keep their connections and all that is
        known of them. Those that are gone get no further request: their exchanges end, their idle connections
        are closed. Without any address requests end with `absent`; None: they wait for one,
        `timeouts.connect` seconds at most.
        """
        self._absent = absent
        known = {endpoint.address.identity: endpoint for endpoint in self._all}
        endpoints: list[Endpoint] = []
        for address in addresses:
            endpoint = known.pop(address.identity, None)
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
        self._leaving = [endpoint for endpoint in known.values() if endpoint.slots_taken or endpoint.streams]
        self.endpoints = tuple(endpoints)
        self._take_out()
        self._rulings.watch(self.endpoints)
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
        self._rulings.change(ejection, breaker)
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

    def retire(self) -> None:
        """No further request comes: those under way and those that wait finish, and nothing is kept."""
        for endpoint in self._all:
            endpoint.stop_keeping()

    # Which of them get requests

    def join(self, link: NodeLink) -> None:
        """Share with the node what is met at the endpoints, and go by what it decides."""
        self._rulings.join(link)
        self.refresh()

    def look(self) -> None:
        """Take in what the node has decided."""
        self._rulings.look()

    def hold(self, now: float) -> None:
        """As `Rulings.hold`; for every so often."""
        self._rulings.hold(now)

    def wait_for_breaker(self) -> float:
        """As `Rulings.wait_for_breaker`, now."""
        return self._rulings.wait_for_breaker(self._loop.time())

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
        self.serve_queue()

    def serve_queue(self) -> None:
        """Give what is free to those that wait: endpoints with room may have come."""
        raise NotImplementedError

    # The parts of it

    @property
    def _all(self) -> tuple[Endpoint, ...]:
        return (*self.endpoints, *self._leaving) if self._leaving else self.endpoints

    @property
    def _lack(self) -> type[GatewayError] | None:
        """How a request ends that no endpoint can serve; None: it waits until one can."""
        return NoUpstream if self.endpoints else self._absent

    def _take_out(self) -> None:
        for endpoint in self.endpoints:
            wanted = endpoint.address.url in self._drained
            if wanted and not endpoint.drained:
                endpoint.drain()
            elif endpoint.drained and not wanted:
                endpoint.undrain()
