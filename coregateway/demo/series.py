"""Made-up measurements: the same agent, metric and second always give the same value. Pure.

A value is a level, two slow waves and a little noise. The waves' phases and the noise come from a hash of the
names, so that agents differ, and nothing is stored.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

PERIOD = 1
"""Seconds from one row to the next."""
RETENTION = 24 * 3600
"""Seconds for which rows are kept: older ones are gone, so a window always has an end."""
MAX_ROWS = 5000
"""Rows that one answer may hold."""

_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Shape:
    """How a metric moves about `level`: in waves of `swing`, and by up to `noise` at random; in its unit."""

    level: float
    swing: float
    noise: float


METRICS = {
    "actor_loss": Shape(level=0.4, swing=0.15, noise=0.05),
    "critic_loss": Shape(level=1.2, swing=0.5, noise=0.2),
    "flow_rate": Shape(level=38.0, swing=4.0, noise=0.6),
    "pressure": Shape(level=2.1, swing=0.2, noise=0.03),
    "q_value": Shape(level=12.0, swing=3.0, noise=0.4),
    "reward": Shape(level=0.7, swing=0.2, noise=0.08),
    "temperature": Shape(level=72.0, swing=6.0, noise=0.3),
}


class TooManyRowsError(ValueError):
    """A window of more than `MAX_ROWS` rows was asked for."""

    def __init__(self, rows: int) -> None:
        super().__init__(f"{rows} rows")
        self.rows = rows


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one agent."""

    shape: Shape
    seed: int

    @classmethod
    def of(cls, agent_id: str, metric: str) -> "Series":
        """Raises `KeyError` if the metric is not in `METRICS`."""
        digest = blake2b(f"{agent_id}\0{metric}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return cls(METRICS[metric], int.from_bytes(digest))

    def value(self, second: int) -> float:
        """The value at `second` (epoch), to six decimals."""
        hour, minutes = (self.seed & 0xFFFF) / 0xFFFF, (self.seed >> 16 & 0xFFFF) / 0xFFFF
        slow = math.sin(math.tau * (second / 3600 + hour))
        quick = math.sin(math.tau * (second / 300 + minutes))
        moved = self.shape.swing * (0.7 * slow + 0.3 * quick)
        return round(self.shape.level + moved + self.shape.noise * _noise(self.seed ^ second), 6)


def window(start: float | None, end: float | None, now: float) -> range:
    """The seconds (epoch) of the rows from `start` to `end`, both included, newest first.

    Without either, the newest row alone; a missing `end` is `now`, a missing `start` is as far back as rows
    are kept. There are no rows of the future. Raises `TooManyRowsError`.
    """
    newest = math.floor(now)
    if start is None and end is None:
        return range(newest, newest - 1, -PERIOD)
    oldest = newest - RETENTION + 1
    first = oldest if start is None else max(oldest, math.ceil(start))
    last = newest if end is None else min(newest, math.floor(end))
    rows = range(last, first - 1, -PERIOD)
    if len(rows) > MAX_ROWS:
        raise TooManyRowsError(len(rows))
    return rows


def rows(series: Series, seconds: range) -> Iterator[tuple[int, float]]:
    """(second, value) of each row."""
    return ((second, series.value(second)) for second in seconds)


def _noise(number: int) -> float:
    """From -1 to 1, without a pattern that the eye could see (the mixing steps of SplitMix64)."""
    number = (number * 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & _MASK
    return (number ^ number >> 31) / 2**63 - 1
