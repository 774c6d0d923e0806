"""A worker's share of the node's state, written down twice a second for whoever wants to know.

Nothing of this is on the way of a request: pools know what they have, and upstreams what they have met. A
timer that should fire every `TICK` tells how late the loop is.
"""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Iterable
from time import monotonic, process_time, time

from coregateway.observability.status import places
from coregateway.shared_memory.series import Series
from coregateway.upstream.backend import Backend
from coregateway.upstream.endpoint import Upstream
from coregateway.upstream.endpoint_health import Record

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
        self._backend = backend
        self._pool = backend.pool
        self._at = series.slot(places.pool(backend.name))
        self._busy = self._queued = 0.0
        self._quiet = False
        self._ages: tuple[float, ...] = ()
        if self._at is not None:  # a part goes on from what a process before this one wrote
            self._busy = series.numbers[self._at + places.BUSY_TIME]
            self._queued = series.numbers[self._at + places.QUEUED_TIME]
            series.numbers[self._at + places.ENDED] = 0
        self._upstreams = [
            _Upstream(upstream, series, places.upstream(backend.name, number))
            for number, upstream in enumerate(backend.pool.upstreams)
        ]

    @property
    def in_flight(self) -> int:
        return self._backend.in_flight

    def sum_up(self, elapsed: float) -> None:
        """Add the seconds since the last call."""
        pool = self._pool
        if pool.is_empty:
            return
        self._busy += elapsed * pool.active
        self._queued += elapsed * pool.queued

    def report(self, numbers: "memoryview[float]", epoch: float) -> None:
        pool = self._pool
        quiet = pool.is_empty and not self._backend.in_flight
        if quiet and self._quiet:  # nothing but failures to connect may be new
            for upstream in self._upstreams:
                upstream.report(numbers, epoch, 0)
            return
        self._quiet = quiet
        at = self._at
        if at is not None:
            numbers[at + places.ACTIVE] = pool.active
            numbers[at + places.IDLE] = pool.idle
            numbers[at + places.OPENING] = pool.opening
            numbers[at + places.QUEUED] = pool.queued
            numbers[at + places.IN_FLIGHT] = self._backend.in_flight
            numbers[at + places.BUSY_TIME] = self._busy
            numbers[at + places.QUEUED_TIME] = self._queued
            ages = tuple(pool.ended_ages)
            if ages != self._ages:
                self._ages = ages
                numbers[at + places.SHORTEST] = min(ages)
                numbers[at + places.LONGEST] = max(ages)
                numbers[at + places.ENDED] = len(ages)
        for upstream in self._upstreams:
            upstream.report(numbers, epoch, pool.active_at(upstream.upstream))


class _Upstream:
    """One address, and where its numbers go."""

    def __init__(self, upstream: Upstream, series: Series, key: str) -> None:
        self.upstream = upstream
        self._at = series.slot(key)
        self._answered = self._failed = 0.0
        if self._at is not None:
            before = series.read(self._at)
            self._failing = before[places.ANSWERED] <= before[places.FAILED]
            self._connects = before[places.CONNECTS]
            self._misses = before[places.REFUSALS : places.UNREACHABLE + 1]
            self._surpluses = before[places.SURPLUSES]
            series.numbers[self._at + places.ACTIVE_HERE] = 0

    def report(self, numbers: "memoryview[float]", epoch: float, active: int) -> None:
        at = self._at
        if at is None:
            return
        record = self.upstream.record
        numbers[at + places.ACTIVE_HERE] = active
        if record.failed != self._failed:
            self._failed = record.failed
            self._fail(numbers, at, record, epoch)
        if record.answered != self._answered:
            self._answered = record.answered
            numbers[at + places.ANSWERED] = epoch + record.answered
            if self._failing and record.answered >= record.failed:
                self._failing = False
                numbers[at + places.RECOVERED] = epoch + record.answered
        numbers[at + places.CONNECTS] = self._connects + record.connects
        misses = record.refusals, record.timeouts, record.unresolved, record.unreachable
        if any(misses):
            for place, (earlier, own) in enumerate(zip(self._misses, misses, strict=True), places.REFUSALS):
                numbers[at + place] = earlier + own
        numbers[at + places.SURPLUSES] = self._surpluses + record.surpluses

    def _fail(self, numbers: "memoryview[float]", at: int, record: Record, epoch: float) -> None:
        self._failing = True
        numbers[at + places.CAUSE] = places.CAUSES.index(record.cause) if record.cause in places.CAUSES else 0
        numbers[at + places.FAILURES] = record.failures
        numbers[at + places.FAILING_SINCE] = epoch + record.failing_since
        numbers[at + places.FAILED] = epoch + record.failed
