"""Finished exchanges, written to the numbers of this worker: a subscriber of the gateway's signals.

Those of one turn of the loop come together. Most are alike, so what they have in common is added up first and
written once: a number in shared memory takes many times as long to change as one that is at hand.

A client must not be able to make the table grow: methods that no backend is known to take count as "other",
routes are templates, and what finds no room in a full table counts in one series named `OVERFLOW`.
"""

from bisect import bisect_left
from math import inf
from typing import Final

from coregateway.http1.grammar import METHODS
from coregateway.logs.events import event
from coregateway.model.errors import ClientClosed, GatewayError, NoRoute, PoolTimeout
from coregateway.model.exchange import Exchange
from coregateway.observability.metrics import families
from coregateway.observability.metrics.families import OVERFLOW, Family, key
from coregateway.settings import Settings
from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.series import Series, size_of

type Kind = tuple[str | None, str | None, str | None, int | None]
"""Backend, route, method and status of an exchange."""

_OVERFLOWING: Final = ("route", "upstream", "reason", "cause", "rule")

_OWN: Final = (families.DURATION, families.REQUEST_BYTES, families.RESPONSE_BYTES)
"""What is measured of answers that the gateway gives itself."""

_RELAYED: Final = (families.UPSTREAM_DURATION, families.OVERHEAD, families.POOL_WAIT, families.ATTEMPTS)
"""And of those of a backend besides."""


class Places:
    """Where the exchanges of one kind are counted."""

    __slots__ = ("attempts", "duration", "given", "overhead", "requests", "taken", "upstream", "wait")

    def __init__(
        self,
        requests: int,
        duration: int,
        upstream: int,
        overhead: int,
        wait: int,
        attempts: int,
        taken: int,
        given: int,
    ) -> None:
        self.requests = requests
        self.duration = duration
        self.upstream = upstream
        self.overhead = overhead
        self.wait = wait
        self.attempts = attempts
        self.taken = taken
        self.given = given


class Sum:
    """One number, as it will be when it is written. Adding to another one writes it first.

    This process alone writes it, so it is read once, when `add` turns to it, and only written from then on.
    """

    __slots__ = ("_at", "_changed", "_numbers", "_total")

    def __init__(self, numbers: "memoryview[float]") -> None:
        self._numbers = numbers
        self._at = -1
        self._total = 0.0
        self._changed = False

    def add(self, at: int, amount: float) -> None:
        if at != self._at:
            self.write()
            self._at = at
            self._total = self._numbers[at]
        self._total += amount
        self._changed = True

    def write(self) -> None:
        if self._changed:
            self._numbers[self._at] = self._total
            self._changed = False


class Histogram:
    """As `Sum`, for one bucket of a histogram and for its sum. Another bucket writes both first."""

    __slots__ = (
        "_above",
        "_at",
        "_bounds",
        "_bucket",
        "_changed",
        "_count",
        "_numbers",
        "_sum",
        "_upto",
        "_width",
    )

    def __init__(self, numbers: "memoryview[float]", family: Family) -> None:
        self._numbers = numbers
        self._bounds = family.buckets
        self._width = len(family.buckets)
        self._at = -1
        self._bucket = 0
        self._above = inf
        self._upto = -inf
        self._count = 0.0
        self._sum = 0.0
        self._changed = False

    def add(self, at: int, value: float) -> None:
        if at != self._at or not self._above < value <= self._upto:
            self.write()
            self._turn_to(at, value)
        self._count += 1.0
        self._sum += value
        self._changed = True

    def write(self) -> None:
        if self._changed:
            self._numbers[self._at + self._bucket] = self._count
            self._numbers[self._at + self._width + 1] = self._sum
            self._changed = False

    def _turn_to(self, at: int, value: float) -> None:
        self._at = at
        self._bucket = bucket = bisect_left(self._bounds, value)
        self._above = self._bounds[bucket - 1] if bucket else -inf
        self._upto = self._bounds[bucket] if bucket < self._width else inf
        self._count = self._numbers[at + bucket]
        self._sum = self._numbers[at + self._width + 1]


class Recorder:
    """Counts the exchanges of one worker. Before `open`, what it counts is not seen."""

    def __init__(self, settings: Settings) -> None:
        self._told = True
        self._know(settings)
        self._use(Series(SharedMemory(size_of(1)), 0, 1))

    def open(self, series: Series) -> None:
        """Count there from now on, on top of what stands there."""
        self._told = False
        self._use(series)

    def follow(self, settings: Settings) -> None:
        """Count by other settings from now on."""
        self._know(settings)
        self._use(self._series)

    def _know(self, settings: Settings) -> None:
        rows = settings.backends
        self._backends = ("", *rows)
        self._methods = frozenset(METHODS).union(*(row.methods for row in rows.values()))

    def _use(self, series: Series) -> None:
        spill = series.slot(families.SPILL)
        if spill is None:
            raise RuntimeError("a table of numbers without room for one")
        self._series = series
        self._numbers = numbers = series.numbers
        self._requests, self._attempts = Sum(numbers), Sum(numbers)
        self._taken, self._given = Sum(numbers), Sum(numbers)
        self._duration = Histogram(numbers, families.DURATION)
        self._upstream = Histogram(numbers, families.UPSTREAM_DURATION)
        self._overhead = Histogram(numbers, families.OVERHEAD)
        self._wait = Histogram(numbers, families.POOL_WAIT)
        self._spill = spill
        self._overflow: dict[str, int] = {}
        self._known: dict[Kind, Places] = {}
        self._known_auth: dict[tuple[str, str, str], int] = {}
        self._overflow = {
            family.name: self._place(
                family, *(OVERFLOW if label in _OVERFLOWING else "" for label in family.labels)
            )
            for family in (
                *(families.REQUESTS, families.RETRIES, families.RETRIES_AT, families.ERRORS),
                families.REFUSED,
            )
        }
        self._of_backend = {name: self._places_of(name) for name in self._backends}
        self._latest: Places | None = None
        self._backend: str | None = None
        self._route: str | None = None
        self._method: str | None = None
        self._status: int | None = None

    def record(self, exchanges: list[Exchange]) -> None:
        """Count those that have ended."""
        for exchange in exchanges:
            self._add(exchange)
        self._requests.write()
        self._attempts.write()
        self._taken.write()
        self._given.write()
        self._duration.write()
        self._upstream.write()
        self._overhead.write()
        self._wait.write()

    def _add(self, exchange: Exchange) -> None:
        places = self._places_for(exchange)
        self._requests.add(places.requests, 1.0)
        took = exchange.ended - exchange.started
        self._duration.add(places.duration, took)
        if exchange.attempts:
            self._attempts.add(places.attempts, float(exchange.attempts))
            waited = exchange.waited
            if exchange.error is not None and not waited and exchange.error == PoolTimeout.cause:
                waited = took
            self._wait.add(places.wait, waited)
            if exchange.responded:
                began = exchange.upstream_started
                self._upstream.add(places.upstream, exchange.responded - began)
                self._overhead.add(places.overhead, took - (exchange.upstream_ended - began))
        if exchange.bytes_in:
            self._taken.add(places.taken, float(exchange.bytes_in))
        if exchange.bytes_out:
            self._given.add(places.given, float(exchange.bytes_out))
        if exchange.share is not None:
            route = exchange.route or ""
            self._numbers[self._place(families.SHARES, route, exchange.share, exchange.chosen_by)] += 1.0
        if exchange.validation is not None:
            kind = exchange.backend or "", exchange.validation_mode, exchange.validation
            self._numbers[self._place(families.VALIDATION, *kind)] += 1.0
        if exchange.auth_outcome is not None:
            self._count_auth(exchange.backend or "", exchange.auth or "", exchange.auth_outcome)
            if exchange.auth_error is not None:
                place = self._place(families.AUTH_REFUSED, exchange.auth or "", exchange.auth_error)
                self._numbers[place] += 1.0
        if exchange.error is not None:
            self._count_error(exchange.backend or "", exchange.error)
            rule = exchange.rule
            if rule is not None:
                if rule.token.startswith("tls_"):
                    place = self._place(
                        families.NOT_SECURED, exchange.backend or "", rule.token.removeprefix("tls_")
                    )
                else:
                    place = self._place(families.REFUSED, rule.token)
                self._numbers[place] += 1.0

    def _places_for(self, exchange: Exchange) -> Places:
        """Most are of the kind of the one before. Texts are shared: that shows without a look into them."""
        places = self._latest
        if (
            places is not None
            and exchange.method is self._method
            and exchange.status is self._status
            and exchange.route is self._route
            and exchange.backend is self._backend
        ):
            return places
        kind = exchange.backend, exchange.route, exchange.method, exchange.status
        self._backend, self._route, self._method, self._status = kind
        places = self._known.get(kind)
        if places is None:
            places = self._find(kind)
        self._latest = places
        return places

    def count_retry(self, exchange: Exchange, error: GatewayError) -> None:
        """Count that an attempt which ended so is followed by another."""
        if exchange.upstream is not None:
            self._numbers[self._place(families.RETRIES_AT, exchange.backend or "", exchange.upstream)] += 1.0
        self._numbers[self._place(families.RETRIES, exchange.backend or "", error.cause)] += 1.0

    def count_tunnel(self, exchange: Exchange) -> None:
        """Count a WebSocket that was opened."""
        self._numbers[self._place(families.TUNNELS_OPENED, exchange.backend or "")] += 1.0

    def _count_auth(self, backend: str, method: str, outcome: str) -> None:
        kind = backend, method, outcome
        place = self._known_auth.get(kind)
        if place is None:
            place = self._known_auth[kind] = self._place(families.AUTH, *kind)
        self._numbers[place] += 1.0

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
        of = self._of_backend.get(backend or "")
        if of is None:  # a reload has taken it away, and this exchange was under way
            of = self._of_backend[backend or ""] = self._places_of(backend or "")
        duration, overhead = of.duration, of.overhead
        if status == 101:  # how long a WebSocket was open is no time of waiting
            duration = overhead = self._spill
        places = Places(counted, duration, of.upstream, overhead, of.wait, of.attempts, of.taken, of.given)
        if known and counted != self._overflow[families.REQUESTS.name]:
            self._known[kind] = places
        return places

    def _places_of(self, backend: str) -> Places:
        """Where all requests of a backend are measured, made before the first comes."""
        own = [self._place(family, backend) for family in _OWN]
        relayed = (*_RELAYED, families.DISCONNECTS, families.TUNNELS_OPENED)
        upstream, overhead, wait, attempts, *_ = (
            self._place(family, backend) if backend else self._spill for family in relayed
        )
        return Places(self._spill, own[0], upstream, overhead, wait, attempts, own[1], own[2])

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
