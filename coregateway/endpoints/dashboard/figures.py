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
    edges = [0.0, _end_of_first(buckets, bounds, total), *bounds[1:], bounds[-1]]
    lows = [0.0, *bounds]
    upto = list(accumulate(buckets))
    found: list[float] = []
    for rank in ranks:
        wanted = rank * number
        at = next(place for place, count in enumerate(upto) if count >= wanted and buckets[place])
        share = (wanted - (upto[at] - buckets[at])) / buckets[at]
        found.append(lows[at] + (edges[at + 1] - lows[at]) * share)
    return found


def _end_of_first(buckets: Sequence[float], bounds: Sequence[float], total: float) -> float:
    """How far the values in the first bucket go, if those of the others lie in the middle of theirs.

    When the others make up most of the sum, what is left of it says nothing.
    """
    highs = [*bounds[1:], bounds[-1]]
    others = sum(
        count * (low + high) / 2 for count, low, high in zip(buckets[1:], bounds, highs, strict=True)
    )
    if not buckets[0] or others > total / 2:
        return bounds[0]
    return min(2 * (total - others) / buckets[0], bounds[0])


def difference(now: Sequence[float], before: Sequence[float]) -> list[float]:
    """What was counted in between."""
    return [a - b for a, b in zip(now, before, strict=True)]
