"""The keys that are nearest to their limits, of rates and of requests in flight.

Each worker writes into its part what it knows. The node's tables hold hashes; the keys behind them are known
to the workers that have met them. Each looks at the ones that it remembers, a few at a time.
"""

from collections.abc import Callable, Iterable, Iterator
from time import monotonic_ns, time
from typing import Any

import orjson

from coregateway.policy.gcra import SECOND, state
from coregateway.policy.rates import RateRule
from coregateway.proxy.flight_check import FlightCheck, FlightRule
from coregateway.proxy.rate_check import RateCheck
from coregateway.proxy.worker import Worker
from coregateway.shared_memory import Board, Part

MOST = 8
"""Keys of one worker, and of the node, of either kind."""

MAX_KEY = 64
"""Characters of a key that are shown."""

STEP = 256
"""Keys that are looked at between two turns of the loop."""

FRESH = 15.0
"""Seconds for which what a worker has written counts."""

type Row = tuple[str, str, int, int, float]
"""A rate, a key as it may be shown, requests that it may send now, its burst, and seconds until one more."""

type FlightRow = tuple[str, str, int, int, int]
"""A limit of requests in flight, a key as it may be shown, its requests in flight, the most, and its mark."""


class Nearest:
    """Of one worker. `write` takes a text, or refuses one that is too long: False."""

    def __init__(self, worker: Worker, write: Callable[[bytes], bool]) -> None:
        self._worker = worker
        self._write = write
        self._told = False

    def look(self) -> Iterator[None]:
        """Find them, in steps that take well below a millisecond each, and write them down."""
        rates: dict[tuple[str, str], Row] = {}
        flights: dict[tuple[str, str], FlightRow] = {}
        if self._worker.limits.counts:
            yield from self._look_at_rates(rates)
        if self._worker.limits.flight_counts:
            yield from self._look_at_flights(flights)
        rows, flight_rows = nearest(rates.values()), fullest(flights.values())
        if rows or flight_rows or self._told:
            self._told = bool(rows or flight_rows)
            while not self._write(
                orjson.dumps({"time": round(time(), 3), "rates": rows, "flights": flight_rows})
            ):
                max(rows, flight_rows, key=len).pop()

    def _look_at_rates(self, found: dict[tuple[str, str], Row]) -> Iterator[None]:
        table = self._worker.limits.table
        for rule in rules_of(self._worker):
            known = rule.marks.known()
            for start in range(0, len(known), STEP):
                now = monotonic_ns()
                for key, mark in known[start : start + STEP]:
                    paid = table.time(table.find(mark, now), mark)
                    if paid > now:
                        stands = state(rule.rate, paid, now)
                        wait = round(stands.until_next / SECOND, 3)
                        shown = rule.key.shown(key)[:MAX_KEY]
                        found[rule.name, shown] = (
                            *(rule.name, shown, stands.remaining, rule.rate.quota),
                            wait,
                        )
                yield

    def _look_at_flights(self, found: dict[tuple[str, str], FlightRow]) -> Iterator[None]:
        table = self._worker.limits.flights
        for rule in flight_rules_of(self._worker):
            known = rule.marks.known()
            for start in range(0, len(known), STEP):
                for key, mark in known[start : start + STEP]:
                    if count := table.in_flight(mark):
                        shown = rule.key.shown(key)[:MAX_KEY]
                        found[rule.name, shown] = rule.name, shown, count, rule.most, mark
                yield


def rules_of(worker: Worker) -> Iterator[RateRule]:
    """The rates of all routes that the worker has now."""
    for check in _checks(worker):
        if isinstance(check, RateCheck):
            yield from check.rules


def flight_rules_of(worker: Worker) -> Iterator[FlightRule]:
    """The limits of requests in flight, likewise."""
    for check in _checks(worker):
        if isinstance(check, FlightCheck):
            yield from check.rules


def _checks(worker: Worker) -> Iterator[object]:
    for candidate in worker.plan.routes.candidates:
        chain = candidate.route.admission
        for step in () if chain is None else chain.steps:
            yield getattr(step, "__self__", None)


def nearest(rows: Iterable[Row]) -> list[Row]:
    """Those that may send the least of their burst, and wait longest."""
    return sorted(rows, key=lambda row: (row[2] / row[3], -row[4], row[:2]))[:MOST]


def fullest(rows: Iterable[FlightRow]) -> list[FlightRow]:
    """Those with the most in flight of what may be."""
    return sorted(rows, key=lambda row: (-row[2] / row[3], row[:2]))[:MOST]


def nearest_of(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Those of the node, by what its workers have written down of late."""
    found: dict[tuple[str, str], tuple[float, Row]] = {}
    for latest in _latest(parts):
        for row in latest["rates"]:
            before = found.get((row[0], row[1]))
            if before is None or before[0] < latest["time"]:
                found[row[0], row[1]] = latest["time"], tuple(row)
    rows = nearest(row for _, row in found.values())
    names = ("policy", "key", "remaining", "quota", "wait_s")
    return [dict(zip(names, row, strict=True)) for row in rows]


def fullest_of(board: Board, parts: Iterable[Part]) -> list[dict[str, Any]]:
    """The same of requests in flight, of which the board knows how many there are at this moment: `parts`, of
    it, say of which keys."""
    found: dict[tuple[str, str], FlightRow] = {}
    for latest in _latest(parts):
        for policy, key, _, most, mark in latest["flights"]:
            if count := board.flights.in_flight(mark):
                found[policy, key] = policy, key, count, most, mark
    names = ("policy", "key", "in_flight", "max")
    return [dict(zip(names, row, strict=False)) for row in fullest(found.values())]


def _latest(parts: Iterable[Part]) -> Iterator[dict[str, Any]]:
    for part in parts:
        text = part.nearest.read()
        latest: dict[str, Any] = orjson.loads(text) if text else {"time": 0.0}
        if time() - latest["time"] <= FRESH:
            yield latest
