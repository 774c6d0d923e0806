"""A worker's share of the node's state, written twice a second into its part of the shared memory.

It costs requests nothing: pools know their connections, and endpoints know their health. A
timer that should fire every `TICK` tells how late the loop is.
"""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Iterable
from time import monotonic, process_time, time

from coregateway.observability.status import places
from coregateway.shared_memory.series import Series
from coregateway.upstream.backend import Backend
from coregateway.upstream.endpoint import Endpoint
from coregateway.upstream.endpoint_health import EndpointHealth

TICK = 0.1
"""Seconds between two looks at the loop's lateness, and at what is busy and what waits."""

PERIOD = 0.5
"""Seconds between two reports."""

type Late = Callable[[float, float], None]
"""Called with seconds that the loop was late by, and seconds of computing in that time."""


class Reporter:
    """Reports for one worker, from `start` to `stop`; `connections` tells how many clients it has."""

    def __init__(
        self,
        series: Series,
        backends: Iterable[Backend],
        connections: Callable[[], int],
        *,
        on_late: Late,
    ) -> None:
        self._series = series
        self._numbers = series.numbers
        self._connections = connections
        self._on_late = on_late
        self._worker = series.slot(places.WORKER)
        self._pools = [_Pool(backend, series) for backend in backends]
        self._timer: TimerHandle | None = None
        self._lag = 0.0
        self._due = self._told = monotonic()
        self._computed = process_time()

    def start(self, loop: AbstractEventLoop) -> None:
        """Begin; call it once."""
        self._loop = loop
        self.report()  # over what a predecessor has left
        self._due = monotonic() + TICK
        self._timer = loop.call_later(TICK, self._tick)

    def stop(self) -> None:
        """Write the last report."""
        if self._timer is not None:
            self._timer.cancel()
            self.report()

    def follow(self, backends: Iterable[Backend]) -> None:
        """Report on these from now on; of one that is gone the last word is that nothing is under way."""
        known = {pool.backend: pool for pool in self._pools}
        self._pools = [known.pop(each, None) or _Pool(each, self._series) for each in backends]
        for pool in known.values():
            pool.clear(self._numbers)
        self.report()

    def _tick(self) -> None:
        now = monotonic()
        computed = process_time()
        late = now - self._due
        self._lag = max(self._lag, late)
        self._on_late(late, computed - self._computed)
        self._computed = computed
        elapsed = TICK + late
        for pool in self._pools:
            pool.sum_up(elapsed)
        if now - self._told >= PERIOD:
            self._told = now
            self.report()
        self._due = now + TICK
        self._timer = self._loop.call_later(TICK, self._tick)

    def report(self) -> None:
        """Write down how things are."""
        epoch = time() - monotonic()
        for pool in self._pools:
            pool.report(self._numbers, epoch)
        if self._worker is not None:
            self._numbers[self._worker + places.CONNECTIONS] = self._connections()
            self._numbers[self._worker + places.LAG] = self._lag
            working = sum(pool.in_flight for pool in self._pools)
            self._numbers[self._worker + places.WORKING] = working
        self._lag = 0.0


class _Pool:
    """One backend's pool, and where its numbers go."""

    def __init__(self, backend: Backend, series: Series) -> None:
        self.backend = backend
        self._pool = backend.pool
        self._at = series.slot(places.pool(backend.name))
        self._busy = self._queued = self._slow = 0.0
        self._quiet = False
        self._ages: tuple[float, ...] = ()
        if self._at is not None:  # a part goes on from what a process before this one wrote
            self._busy = series.numbers[self._at + places.BUSY_TIME]
            self._queued = series.numbers[self._at + places.QUEUED_TIME]
            self._slow = series.numbers[self._at + places.SLOW_CLIENTS]
            series.numbers[self._at + places.ENDED] = 0
        self._series = series
        self._upstreams: dict[str, _Upstream] = {}
        """By URL; what was counted at one that is gone stays counted."""
        self._known: tuple[Endpoint, ...] | None = None

    @property
    def in_flight(self) -> int:
        return self.backend.in_flight

    def sum_up(self, elapsed: float) -> None:
        """Add the seconds since the last call."""
        pool = self._pool
        if pool.is_empty:
            return
        self._busy += elapsed * pool.active
        self._queued += elapsed * self.backend.queued

    def clear(self, numbers: "memoryview[float]") -> None:
        """Note that nothing is under way any more."""
        if self._at is not None:
            connections = (places.ACTIVE, places.IDLE, places.OPENING, places.STREAMING)
            for place in (*connections, places.QUEUED, places.IN_FLIGHT):
                numbers[self._at + place] = 0

    def report(self, numbers: "memoryview[float]", epoch: float) -> None:
        pool = self._pool
        quiet = pool.is_empty and not self.backend.in_flight
        if quiet and self._quiet:  # nothing but failures to connect may be new
            self._report_upstreams(numbers, epoch)
            return
        self._quiet = quiet
        at = self._at
        if at is not None:
            numbers[at + places.ACTIVE] = pool.active
            numbers[at + places.IDLE] = pool.idle
            numbers[at + places.OPENING] = pool.opening
            numbers[at + places.STREAMING] = pool.streams
            numbers[at + places.SLOW_CLIENTS] = self._slow + self.backend.slow_clients.ended
            numbers[at + places.QUEUED] = self.backend.queued
            numbers[at + places.IN_FLIGHT] = self.backend.in_flight
            numbers[at + places.BUSY_TIME] = self._busy
            numbers[at + places.QUEUED_TIME] = self._queued
            ages = tuple(pool.ended_ages)
            if ages != self._ages:
                self._ages = ages
                numbers[at + places.SHORTEST] = min(ages)
                numbers[at + places.LONGEST] = max(ages)
                numbers[at + places.ENDED] = len(ages)
        self._report_upstreams(numbers, epoch)

    def _report_upstreams(self, numbers: "memoryview[float]", epoch: float) -> None:
        endpoints = self._pool.endpoints
        if endpoints is not self._known:  # names lead elsewhere, or the settings are others
            self._known = endpoints
            name = self.backend.name
            for url in self.backend.urls:
                if url not in self._upstreams:
                    self._upstreams[url] = _Upstream(self._series, places.upstream(name, url))
            for url, upstream in self._upstreams.items():
                upstream.use([endpoint for endpoint in endpoints if endpoint.address.url == url])
        for upstream in self._upstreams.values():
            upstream.report(numbers, epoch)


class _Upstream:
    """One of a backend's URLs, with the endpoints that it has now, and where its numbers go.

    A URL with a name has an endpoint for each address. What was counted at those that are gone stays counted.
    """

    def __init__(self, series: Series, key: str) -> None:
        self._endpoints: list[Endpoint] = []
        self._at = series.slot(key)
        self._answered = self._failed = 0.0
        self._failing = False
        self._earlier = [0.0] * COUNTS
        if self._at is not None:
            before = series.read(self._at)
            self._failing = before[places.ANSWERED] <= before[places.FAILED]
            self._earlier = before[places.CONNECTS : places.CONNECTS + COUNTS]
            series.numbers[self._at + places.ACTIVE_HERE] = 0

    def use(self, endpoints: list[Endpoint]) -> None:
        """Have these endpoints from now on."""
        gone = [endpoint for endpoint in self._endpoints if endpoint not in endpoints]
        for endpoint in gone:
            self._earlier = list(map(float.__add__, self._earlier, _counts(endpoint.health)))
        self._endpoints = endpoints

    def report(self, numbers: "memoryview[float]", epoch: float) -> None:
        at = self._at
        if at is None:
            return
        endpoints = self._endpoints
        numbers[at + places.ACTIVE_HERE] = sum(endpoint.active + endpoint.streams for endpoint in endpoints)
        if not endpoints:
            return
        health = max((endpoint.health for endpoint in endpoints), key=lambda health: health.failed)
        if health.failed > self._failed:
            self._failed = health.failed
            self._fail(numbers, at, health, epoch)
        answered = max(endpoint.health.answered for endpoint in endpoints)
        if answered > self._answered:
            self._answered = answered
            numbers[at + places.ANSWERED] = epoch + answered
            if self._failing and answered >= self._failed:
                self._failing = False
                numbers[at + places.RECOVERED] = epoch + answered
        counts = self._earlier
        for endpoint in endpoints:
            counts = list(map(float.__add__, counts, _counts(endpoint.health)))
        for place, count in enumerate(counts, places.CONNECTS):
            numbers[at + place] = count

    def _fail(self, numbers: "memoryview[float]", at: int, health: EndpointHealth, epoch: float) -> None:
        self._failing = True
        numbers[at + places.CAUSE] = places.CAUSES.index(health.cause) if health.cause in places.CAUSES else 0
        numbers[at + places.FAILURES] = health.failures
        numbers[at + places.FAILING_SINCE] = epoch + health.failing_since
        numbers[at + places.FAILED] = epoch + health.failed


COUNTS = places.SURPLUSES + 1 - places.CONNECTS


def _counts(health: EndpointHealth) -> tuple[float, ...]:
    """In the order of `places`, from `CONNECTS` on."""
    misses = health.refusals, health.timeouts, health.unresolved, health.unreachable
    return tuple(map(float, (health.connects, *misses, health.surpluses)))
