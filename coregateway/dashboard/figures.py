"""Rates and quantiles, from what was counted between two moments. Pure; seconds throughout."""

from collections.abc import Sequence
from itertools import accumulate

QUANTILES = (0.5, 0.95, 0.99)


def quantiles(
    counts: Sequence[float], bounds: Sequence[float], ranks: Sequence[float] = QUANTILES
) -> list[float] | None:
    """Estimates of quantiles from a histogram; None when it is empty.

    `counts`: for each bucket how many fell into it, how many lay above all of them, and the sum of all.
    Within a bucket values are taken to be spread evenly. The first one is wide beside what a fast backend
    takes: there they are spread up to twice the mean of its values, which the sum tells.
    """
    *buckets, total = counts
    number = sum(buckets)
    if number <= 0:
        return None
    edges = [0.0, *bounds, bounds[-1]]
    edges[1] = min(bounds[0], 2 * _mean_of_first(buckets, bounds, total)) if buckets[0] else bounds[0]
    lows = [0.0, *bounds]
    upto = list(accumulate(buckets))
    found: list[float] = []
    for rank in ranks:
        wanted = rank * number
        at = next(place for place, count in enumerate(upto) if count >= wanted and buckets[place])
        share = (wanted - (upto[at] - buckets[at])) / buckets[at]
        found.append(lows[at] + (edges[at + 1] - lows[at]) * share)
    return found


def _mean_of_first(buckets: Sequence[float], bounds: Sequence[float], total: float) -> float:
    """The mean of the values in the first bucket, if those of the others lie in the middle of theirs."""
    highs = [*bounds[1:], bounds[-1]]
    others = sum(
        count * (low + high) / 2 for count, low, high in zip(buckets[1:], bounds, highs, strict=True)
    )
    return max(total - others, 0.0) / buckets[0] if others else total / buckets[0]


def difference(now: Sequence[float], before: Sequence[float]) -> list[float]:
    """What was counted in between."""
    return [a - b for a, b in zip(now, before, strict=True)]
