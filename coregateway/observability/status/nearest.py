"""The keys of rates that are nearest to their limits: what each worker knows of its own, in its part.

The node's table of rates holds hashes; the keys behind them are known to the workers that have met them. Each
looks at the ones that it remembers, a few at a time.
"""

from collections.abc import Callable, Iterable, Iterator
from time import monotonic_ns, time
from typing import Any

import orjson

from coregateway.policy.gcra import SECOND, state
from coregateway.policy.rates import RateRule
from coregateway.proxy.rate_check import RateCheck
from coregateway.proxy.worker import Worker
from coregateway.shared_memory import Part

MOST = 8
"""Keys of one worker, and of the node."""

MAX_KEY = 64
"""Characters of a key that are shown."""

STEP = 256
"""Keys that are looked at between two turns of the loop."""

FRESH = 15.0
"""Seconds for which what a worker has written counts."""

type Row = tuple[str, str, int, int, float]
"""A rate, a key as it may be shown, requests that it may send now, its burst, and seconds until one more."""


class Nearest:
    """Of one worker. `write` takes a text, or refuses one that is too long: False."""

    def __init__(self, worker: Worker, write: Callable[[bytes], bool]) -> None:
        self._worker = worker
        self._write = write
        self._told = False

    def look(self) -> Iterator[None]:
        """Find them, in steps that take well below a millisecond each, and write them down."""
        table = self._worker.limits.table if self._worker.limits.counts else None
        found: dict[tuple[str, str], Row] = {}
        for rule in rules_of(self._worker) if table is not None else ():
            known = rule.marks.known()
            for start in range(0, len(known), STEP):
                now = monotonic_ns()
                for key, mark in known[start : start + STEP]:
                    paid = table.time(table.find(mark, now), mark) if table is not None else 0
                    if paid > now:
                        stands = state(rule.rate, paid, now)
                        wait = round(stands.until_next / SECOND, 3)
                        shown = rule.key.shown(key)[:MAX_KEY]
                        found[rule.name, shown] = (
                            *(rule.name, shown, stands.remaining, rule.rate.quota),
                            wait,
                        )
                yield
        rows = nearest(found.values())
        if rows or self._told:
            self._told = bool(rows)
            while not self._write(orjson.dumps({"time": round(time(), 3), "rows": rows})):
                rows.pop()


def rules_of(worker: Worker) -> Iterator[RateRule]:
    """The rates of all routes that the worker has now."""
    for candidate in worker.plan.routes.candidates:
        chain = candidate.route.admission
        for step in () if chain is None else chain.steps:
            check = getattr(step, "__self__", None)
            if isinstance(check, RateCheck):
                yield from check.rules


def nearest(rows: Iterable[Row]) -> list[Row]:
    """Those that may send the least of their burst, and wait longest."""
    return sorted(rows, key=lambda row: (row[2] / row[3], -row[4], row[:2]))[:MOST]


def nearest_of(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Those of the node, by what its workers have written down of late."""
    found: dict[tuple[str, str], tuple[float, Row]] = {}
    for part in parts:
        text = part.nearest.read()
        latest: dict[str, Any] = orjson.loads(text) if text else {"time": 0.0}
        if time() - latest["time"] > FRESH:
            continue
        for row in latest["rows"]:
            before = found.get((row[0], row[1]))
            if before is None or before[0] < latest["time"]:
                found[row[0], row[1]] = latest["time"], tuple(row)
    rows = nearest(row for _, row in found.values())
    names = ("policy", "key", "remaining", "quota", "wait_s")
    return [dict(zip(names, row, strict=True)) for row in rows]
