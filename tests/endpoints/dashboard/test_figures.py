"""Quantiles from histograms: as good as buckets allow."""

import random
from bisect import bisect_left

import pytest

from coregateway.endpoints.dashboard.figures import difference, quantiles
from coregateway.observability.metrics.families import SECONDS


def histogram(values: list[float]) -> list[float]:
    counts = [0.0] * (len(SECONDS) + 1)
    for value in values:
        counts[bisect_left(SECONDS, value)] += 1
    return [*counts, sum(values)]


def test_nothing_has_no_quantiles() -> None:
    assert quantiles(histogram([]), SECONDS) is None


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        # the first bucket ends at 5 ms: the sum tells how fast they really were
        ([0.001] * 100, 0.0005, 0.002),
        ([0.0002] * 99 + [2.0], 0.0001, 0.005),
        ([0.030] * 100, 0.025, 0.050),
        ([20.0] * 3, 10.0, 10.0),
        # what is left of the sum for the first bucket may be less than nothing
        ([0.004] * 60 + [0.26] * 40, 0.0001, 0.005),
    ],
)
def test_the_median_lies_where_the_values_do(values: list[float], low: float, high: float) -> None:
    found = quantiles(histogram(values), SECONDS)
    assert found is not None
    assert low <= found[0] <= high


def test_quantiles_rise_and_lie_in_the_buckets_of_the_true_ones() -> None:
    random.seed(7)
    values = sorted(random.lognormvariate(-4, 0.8) for _ in range(20_000))
    found = quantiles(histogram(values), SECONDS)
    assert found is not None
    assert found == sorted(found)
    for rank, estimate in zip((0.5, 0.95, 0.99), found, strict=True):
        assert bisect_left(SECONDS, estimate) == bisect_left(SECONDS, values[int(rank * len(values))])


def test_a_difference_is_what_was_counted_in_between() -> None:
    assert difference([3.0, 5.0], [1.0, 5.0]) == [2.0, 0.0]
