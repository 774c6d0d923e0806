"""The last hour as the page takes it: rows of numbers, from before it was opened."""

from asyncio import sleep
from time import time
from typing import Any

from coregateway.endpoints.dashboard.figures import quantiles
from coregateway.observability.history import ALL
from coregateway.observability.metrics.families import DURATION
from coregateway.shared_memory.history import AMOUNTS, BUCKETS, KINDS, History, Lanes

AT_ONCE = 64
"""Rows that are made between two turns of the loop."""

NOTHING = [0.0] * AMOUNTS

type Shown = list[Any]
"""When its span began, in seconds since the epoch; how many seconds of it were seen; how many requests were
answered (1xx to 3xx), with 4xx, with 5xx, and were left by their clients; the times within which half, 95 %
and 99 % of them were answered, in seconds; and the bytes of their bodies, in and out."""


async def hour(history: History, backend: str) -> dict[str, Any]:
    """Of a backend by its name; empty: of the whole node."""
    now = time()
    return {
        "time": round(now, 3),
        "backend": backend or None,
        "seconds": await _shown(history.seconds, backend or ALL, now),
        "minutes": await _shown(history.minutes, backend or ALL, now),
    }


async def _shown(lanes: Lanes, name: str, now: float) -> list[Shown]:
    """A row for each span in which the node was looked at, with zeros where there was no request."""
    rows = {row.when: row for row in lanes.read(name, now)}
    found: list[Shown] = []
    for number, whole in enumerate(lanes.read(ALL, now)):
        if number % AT_ONCE == 0:
            await sleep(0)
        row = rows.get(whole.when)
        amounts = NOTHING if row is None else row.amounts
        times = quantiles(amounts[KINDS : KINDS + BUCKETS + 1], DURATION.buckets)
        found.append(
            [
                whole.when,
                whole.span,
                *map(int, amounts[:KINDS]),
                *([None] * 3 if times is None else [float(f"{each:.3g}") for each in times]),
                *map(int, amounts[-2:]),
            ]
        )
    return found
