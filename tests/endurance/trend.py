"""The trend of figures that are sampled over a long run, as a robust fit tells it."""

from collections.abc import Sequence
from itertools import combinations
from statistics import median


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Theil-Sen: the median of the slopes between each two points, per unit of time; 0.0 of fewer.

    A step that comes once, or single points that are far off, change it little. Of 600 points the pairs are
    180,000; more are thinned out evenly.
    """
    points = list(zip(times, values, strict=True))
    points = points[:: len(points) // 600 + 1]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if b[0] != a[0]]
    return median(slopes) if slopes else 0.0


def growth(values: Sequence[float]) -> float:
    """By what factor the median of the last third exceeds that of the first; 1.0 of fewer than three."""
    third = len(values) // 3
    if not third:
        return 1.0
    first, last = median(values[:third]), median(values[-third:])
    return last / first if first else 1.0
