"""Each finished exchange, written to the numbers of this worker: a subscriber of the gateway's signals.

A client must not be able to make the table grow: methods that no backend is known to take count as "other",
routes are templates, and what finds no room in a full table counts in one series named `OVERFLOW`.
"""

from bisect import bisect_left

from coregateway.errors import ClientClosed, GatewayError, NoRoute, PoolTimeout
from coregateway.exchange import Exchange
from coregateway.logs import event
from coregateway.metrics import families
from coregateway.metrics.families import OVERFLOW, Family, key
from coregateway.settings import Settings
from coregateway.settings.values import METHODS
from coregateway.shared.memory import SharedMemory
from coregateway.shared.series import Series, size_of

type Places = tuple[int, ...]
"""Eight, where an exchange is counted: its request, duration, upstream duration, overhead, pool wait,
attempts, bytes in and bytes out."""

type Kind = tuple[str | None, str | None, str | None, int | None]
"""Backend, route, method and status of an exchange."""

_DURATION = families.DURATION.buckets
_DURATION_SUM = len(_DURATION) + 1
_UPSTREAM = families.UPSTREAM_DURATION.buckets
_UPSTREAM_SUM = len(_UPSTREAM) + 1
_OVERHEAD = families.OVERHEAD.buckets
_OVERHEAD_SUM = len(_OVERHEAD) + 1
_WAIT = families.POOL_WAIT.buckets
_WAIT_SUM = len(_WAIT) + 1

_OVERFLOWING = ("route", "reason", "cause")

_OWN = (families.DURATION, families.REQUEST_BYTES, families.RESPONSE_BYTES)
"""What is measured of answers that the gateway gives itself."""

_RELAYED = (families.UPSTREAM_DURATION, families.OVERHEAD, families.POOL_WAIT, families.ATTEMPTS)
"""And of those of a backend besides."""


class Recorder:
    """Counts the exchanges of one worker. Until `open`, where nobody reads."""

    def __init__(self, settings: Settings) -> None:
        rows = settings.backends
        self._told = True
        self._backends = ("", *rows)
        self._methods = frozenset(METHODS).union(*(row.methods for row in rows.values()))
        self._use(Series(SharedMemory(size_of(1)), 0, 1))

    def open(self, series: Series) -> None:
        """Count there from now on, on top of what stands there."""
        self._told = False
        self._use(series)

    def _use(self, series: Series) -> None:
        spill = series.slot(families.SPILL)
        if spill is None:
            raise RuntimeError("a table of numbers without room for one")
        self._series = series
        self._numbers = series.numbers
        self._spill = spill
        self._overflow: dict[str, int] = {}
        self._known: dict[Kind, Places] = {}
        self._overflow = {
            family.name: self._place(
                family, *(OVERFLOW if label in _OVERFLOWING else "" for label in family.labels)
            )
            for family in (families.REQUESTS, families.RETRIES, families.ERRORS)
        }
        self._of_backend = {name: self._places_of(name) for name in self._backends}

    def record(self, exchange: Exchange) -> None:
        """Count one that has ended. Takes about 2 µs, so it is written out at length."""
        kind = exchange.backend, exchange.route, exchange.method, exchange.status
        places = self._known.get(kind)
        if places is None:
            places = self._find(kind)
        requests, duration, upstream, overhead, wait, attempts, taken, given = places
        numbers = self._numbers
        numbers[requests] += 1.0
        took = exchange.ended - exchange.started
        numbers[duration + bisect_left(_DURATION, took)] += 1.0
        numbers[duration + _DURATION_SUM] += took
        if exchange.attempts:
            numbers[attempts] += exchange.attempts
            waited = exchange.waited
            if waited or exchange.error == PoolTimeout.cause:
                waited = waited or took
                numbers[wait + bisect_left(_WAIT, waited)] += 1.0
                numbers[wait + _WAIT_SUM] += waited
            else:
                numbers[wait] += 1.0
            if exchange.responded:
                began = exchange.upstream_started
                answered = exchange.responded - began
                numbers[upstream + bisect_left(_UPSTREAM, answered)] += 1.0
                numbers[upstream + _UPSTREAM_SUM] += answered
                took -= exchange.upstream_ended - began
                numbers[overhead + bisect_left(_OVERHEAD, took)] += 1.0
                numbers[overhead + _OVERHEAD_SUM] += took
        if exchange.bytes_in:
            numbers[taken] += exchange.bytes_in
        if exchange.bytes_out:
            numbers[given] += exchange.bytes_out
        if exchange.error is not None:
            self._count_error(exchange.backend or "", exchange.error)

    def count_retry(self, exchange: Exchange, error: GatewayError) -> None:
        """Count that an attempt which ended so is followed by another."""
        self._numbers[self._place(families.RETRIES, exchange.backend or "", error.cause)] += 1.0

    def count_tunnel(self, exchange: Exchange) -> None:
        """Count a WebSocket that was opened."""
        self._numbers[self._place(families.TUNNELS_OPENED, exchange.backend or "")] += 1.0

    def _count_error(self, backend: str, cause: str) -> None:
        self._numbers[self._place(families.ERRORS, backend, cause)] += 1.0
        if cause == ClientClosed.cause:
            self._numbers[self._place(families.DISCONNECTS, backend)] += 1.0

    def _find(self, kind: Kind) -> Places:
        """The places for a kind of exchange that was not met yet, or is not worth remembering."""
        backend, route, method, status = kind
        code = str(status or ClientClosed.status)
        known = method is None or method in self._methods
        if route is None:
            route = NoRoute.cause if status == NoRoute.status else ""
        labels = backend or "", route, (method or "") if known else "other", code
        counted = self._place(families.REQUESTS, *labels)
        duration, upstream, overhead, *others = self._of_backend[backend or ""]
        if status == 101:  # how long a WebSocket was open is not what anybody waited for
            duration = overhead = self._spill
        places = counted, duration, upstream, overhead, *others
        if known and counted != self._overflow[families.REQUESTS.name]:
            self._known[kind] = places
        return places

    def _places_of(self, backend: str) -> Places:
        """Where all requests of a backend are measured, made before the first comes."""
        places = {family.name: self._place(family, backend) for family in _OWN}
        for family in (*_RELAYED, families.DISCONNECTS, families.TUNNELS_OPENED):
            places[family.name] = self._place(family, backend) if backend else self._spill
        order = (families.DURATION, *_RELAYED, families.REQUEST_BYTES, families.RESPONSE_BYTES)
        return tuple(places[family.name] for family in order)

    def _place(self, family: Family, *values: str) -> int:
        place = self._series.slot(key(family, *values))
        if place is not None:
            return place
        return self._no_room(family)

    def _no_room(self, family: Family) -> int:
        if not self._told:
            self._told = True
            event("metrics.table_full", level="WARNING", metric=family.full_name)
        return self._overflow.get(family.name, self._spill)
