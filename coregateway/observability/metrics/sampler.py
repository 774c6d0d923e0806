"""What is under way in this worker, written down ten times a second: gauges, and how late the loop is."""

from asyncio import AbstractEventLoop, TimerHandle
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from coregateway.logs.events import writer
from coregateway.model.call_times import CallTimes
from coregateway.observability.metrics import families
from coregateway.observability.metrics.families import Family, key
from coregateway.observability.status.store import DOWN, STORE, UP
from coregateway.policy.rates import OUTCOMES, RateCounts
from coregateway.proxy.rate_store import RateStore
from coregateway.proxy.worker import Worker
from coregateway.shared_memory.series import Series
from coregateway.upstream.auth_service import AuthService
from coregateway.upstream.backend import Backend
from coregateway.upstream.mirror import Mirror

TICK = 0.1
"""Seconds between two looks, per worker. A gauge of another worker may be as old as that."""

_LAG = families.LOOP_LAG.buckets


class _Row(NamedTuple):
    """A backend, and where its gauges are."""

    backend: Backend
    in_flight: int
    tunnels: int
    queued: int
    active: int
    idle: int
    opening: int
    streaming: int
    surplus: int
    slow_clients: int


class Sampler:
    """Looks at the backends and the loop of one worker, from `start` to `stop`."""

    def __init__(
        self,
        worker: Worker,
        backends: Mapping[str, Backend],
        series: Series,
        loop: AbstractEventLoop,
        middleware: Sequence[CallTimes] = (),
    ) -> None:
        self._worker = worker
        self._series = series
        self._numbers = series.numbers
        self._loop = loop
        self._rows = list(_rows(backends.values(), series))
        self._busy: set[str] = set()
        self._surpluses = dict.fromkeys(backends, 0)
        self._slow_clients = dict.fromkeys(backends, 0)
        self._leaving: set[str] = set()
        """Backends that the settings no longer have: to be watched until nothing is under way at them."""
        self._series = series
        self._copies: dict[str, tuple[Mirror, dict[str, int]]] = {}
        """Of the mirror of each backend, as they were written down."""
        self._store: tuple[RateStore, _Calls] | None = None
        """Of rates, if there is one, and its round trips."""
        self._services: dict[str, tuple[AuthService, _Calls, dict[str, int]]] = {}
        """Those that say whether requests may pass: their answers, and their failures as they were written
        down."""
        self._rejected: dict[str, int] = {}
        """Of each limit of requests in flight, as it was written down."""
        self._handshakes: dict[str, int] = {}
        """With clients, by outcome, as they were written down."""
        self._handshakes_total = 0
        self._decisions: dict[str, tuple[int, ...]] = {}
        """Of each rate, as they were written down."""
        self._clients = [
            _slot(series, key(families.CLIENT_CONNECTIONS, state)) for state in ("active", "idle")
        ]
        self._lag = _slot(series, key(families.LOOP_LAG))
        self._calls = [_Calls(times, series, families.MIDDLEWARE, times.name) for times in middleware]
        self._dropped = _slot(series, key(families.LOG_LINES_DROPPED))
        self._dropped_before = 0
        self._due = 0.0
        self._timer: TimerHandle | None = None

    def start(self) -> None:
        self._write()  # over what a predecessor has left
        self._arm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def follow(self, backends: Mapping[str, Backend]) -> None:
        """Look at these from now on, and at those that are gone until all is over there."""
        known = {row.backend for row in self._rows}
        gone = [row for row in self._rows if row.backend.name not in backends]
        self._rows = [*_rows(backends.values(), self._series), *gone]
        self._leaving = {row.backend.name for row in gone}
        for name, backend in backends.items():
            if backend not in known:
                self._surpluses[name] = self._slow_clients[name] = 0
            self._busy.add(name)  # so that it is written once

    def _arm(self) -> None:
        self._due = monotonic() + TICK
        self._timer = self._loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        late = max(monotonic() - self._due, 0.0)
        self._numbers[self._lag + bisect_left(_LAG, late)] += 1.0
        self._numbers[self._lag + len(_LAG) + 1] += late
        self._write()
        self._arm()

    def _count_copies(self, name: str, mirror: Mirror) -> None:
        found = self._copies.get(name)
        if found is None or found[0] is not mirror:
            self._copies[name] = found = mirror, dict.fromkeys(mirror.counts, 0)
        written = found[1]
        for outcome, count in mirror.counts.items():
            if count != written[outcome]:
                place = _slot(self._series, key(families.MIRRORED, name, outcome))
                self._numbers[place] += count - written[outcome]
                written[outcome] = count

    def _count_decisions(self, name: str, counts: RateCounts) -> None:
        found = counts.all()
        before = self._decisions.get(name, (0,) * len(found))
        if found == before:
            return
        self._decisions[name] = found
        for outcome, count, written in zip(OUTCOMES, found, before, strict=True):
            if count != written:
                place = _slot(self._series, key(families.RATE_DECISIONS, name, outcome))
                self._numbers[place] += count - written

    def _count_handshakes(self) -> None:
        handshakes = self._worker.io.handshakes
        if handshakes.total == self._handshakes_total:
            return
        self._handshakes_total = handshakes.total
        for outcome, count in handshakes.counts.items():
            before = self._handshakes.get(outcome, 0)
            if count != before:
                self._numbers[_slot(self._series, key(families.HANDSHAKES, outcome))] += count - before
                self._handshakes[outcome] = count

    def _look_at_store(self, numbers: "memoryview[float]") -> None:
        store = self._worker.limits.store
        if store is None:
            if self._store is not None:
                numbers[_slot(self._series, STORE)] = 0.0
                self._store = None
            return
        if self._store is None or self._store[0] is not store:
            self._store = store, _Calls(store.times, self._series, families.RATE_STORE_SECONDS)
        self._store[1].write(numbers)
        numbers[_slot(self._series, STORE)] = UP if store.answers else DOWN

    def _look_at_service(self, name: str, service: AuthService) -> None:
        found = self._services.get(name)
        if found is None or found[0] is not service:
            calls = _Calls(service.times, self._series, families.AUTH_FORWARD_SECONDS, name)
            counted: dict[str, int] = {}
            self._services[name] = found = service, calls, counted
        _, calls, written = found
        calls.write(self._numbers)
        for cause, count in service.failures.items():
            before = written.get(cause, 0)
            if count != before:
                place = _slot(self._series, key(families.AUTH_FORWARD_FAILURES, name, cause))
                self._numbers[place] += count - before
                written[cause] = count

    def _write(self) -> None:
        numbers = self._numbers
        under_way = 0
        for row in self._rows:
            backend = row.backend
            pool = backend.pool
            if backend.mirror is not None:
                self._count_copies(backend.name, backend.mirror)
            under_way += backend.in_flight
            surpluses = pool.surpluses
            before = self._surpluses[backend.name]
            if surpluses != before:
                # Less than before: an address is gone, with what came from there.
                numbers[row.surplus] += max(surpluses - before, 0)
                self._surpluses[backend.name] = surpluses
            slow = backend.slow_clients.ended
            if slow != self._slow_clients[backend.name]:
                numbers[row.slow_clients] += slow - self._slow_clients[backend.name]
                self._slow_clients[backend.name] = slow
            if pool.is_empty and not backend.in_flight:
                if self._timer is not None and backend.name not in self._busy:
                    continue
                self._busy.discard(backend.name)
            else:
                self._busy.add(backend.name)
            numbers[row.in_flight] = backend.in_flight
            numbers[row.tunnels] = backend.tunnels
            numbers[row.queued] = backend.queued
            numbers[row.active] = pool.active
            numbers[row.idle] = pool.idle
            numbers[row.opening] = pool.opening
            numbers[row.streaming] = pool.streams
        for name, counts in self._worker.limits.counts.items():
            self._count_decisions(name, counts)
        self._look_at_store(numbers)
        self._count_handshakes()
        for name, service in self._worker.limits.services.items():
            self._look_at_service(name, service)
        for name, flights in self._worker.limits.flight_counts.items():
            before = self._rejected.get(name, 0)
            if flights.rejected != before:
                self._rejected[name] = flights.rejected
                numbers[_slot(self._series, key(families.CONCURRENCY_REJECTED, name))] += (
                    flights.rejected - before
                )
        for calls in self._calls:
            calls.write(numbers)
        active, idle = self._clients
        numbers[active] = under_way
        numbers[idle] = max(self._worker.clients - under_way, 0)
        if self._leaving:
            self._rows = [
                row
                for row in self._rows
                if row.backend.name not in self._leaving or row.backend.name in self._busy
            ]
            self._leaving &= self._busy
        dropped = writer().dropped_total
        numbers[self._dropped] += dropped - self._dropped_before
        self._dropped_before = dropped


class _Calls:
    """The calls of one kind, on top of what a process before this one has counted."""

    def __init__(self, times: CallTimes, series: Series, family: Family, *labels: str) -> None:
        self._times = times
        self._at = _slot(series, key(family, *labels))
        self._before = series.read(self._at, family.width)
        self._written = 0

    def write(self, numbers: "memoryview[float]") -> None:
        times = self._times
        if times.calls == self._written:
            return
        self._written = times.calls
        for place, (before, own) in enumerate(zip(self._before, (*times.counts, times.total), strict=True)):
            numbers[self._at + place] = before + own


def _rows(backends: Iterable[Backend], series: Series) -> Iterable[_Row]:
    for backend in backends:
        single = (families.IN_FLIGHT, families.TUNNELS, families.QUEUE_LENGTH)
        keys = [key(family, backend.name) for family in single]
        keys += [
            key(families.UPSTREAM_CONNECTIONS, backend.name, state) for state in families.UPSTREAM_STATES
        ]
        keys += [key(family, backend.name) for family in (families.SURPLUS, families.SLOW_CLIENTS)]
        yield _Row(backend, *(_slot(series, each) for each in keys))


def _slot(series: Series, key: str) -> int:
    """As `Series.slot`; what finds no room is written to a slot that is never read."""
    place = series.slot(key)
    if place is None:
        place = series.slot(families.SPILL)
    assert place is not None  # noqa: S101 -- the recorder has made it first
    return place
