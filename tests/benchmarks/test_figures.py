"""Medians, spreads and ratios of rounds, and what the guard makes of them."""

import pytest

from benchmarks.figures import Spread, calm, drops, ratio, readable, servers, spread

ROUNDS = [
    {"gateway": {"CPU": 30.0}, "other": {"CPU": 10.0}},
    {"gateway": {"CPU": 80.0}},
    {"gateway": {"CPU": 20.0}, "other": {"CPU": 20.0}},
    {"gateway": {"CPU": 40.0}, "other": {"CPU": 20.0}},
]


def test_a_spread_has_the_median_between_the_lowest_and_the_highest() -> None:
    assert spread(ROUNDS, "gateway", "CPU") == Spread(35, 20, 80)


def test_a_ratio_is_taken_within_the_rounds_that_have_both() -> None:
    assert ratio(ROUNDS, "gateway", "other", "CPU") == Spread(2, 1, 3)


def test_there_is_no_ratio_to_a_server_that_was_never_measured() -> None:
    with pytest.raises(ValueError, match="no round has gateway and absent"):
        ratio(ROUNDS, "gateway", "absent", "CPU")


def test_a_quarter_of_the_rounds_was_calmer() -> None:
    assert calm(ROUNDS, "gateway", "CPU") == 27.5


def test_the_servers_are_those_of_any_round() -> None:
    assert servers([{}, *ROUNDS]) == ["gateway", "other"]


@pytest.mark.parametrize(
    ("measured", "dropped"),
    [
        ({"rate": 2.0, "CPU": 0.5}, []),
        ({"rate": 9.0, "CPU": 0.451}, []),
        ({"rate": 1.79, "CPU": 0.5}, ["rate: 1.790 is 10% below 2.000"]),
        ({"rate": 1.0, "CPU": 0.4}, ["rate: 1.000 is 50% below 2.000", "CPU: 0.400 is 20% below 0.500"]),
    ],
)
def test_the_guard_tells_what_dropped_by_more_than_a_tenth(
    measured: dict[str, float], dropped: list[str]
) -> None:
    assert drops({"rate": 2.0, "CPU": 0.5}, measured, 0.1) == dropped


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.354, "0.35"), (12.34, "12.3"), (99.96, "100.0"), (12345.6, "12,346")],
)
def test_a_figure_shows_the_digits_that_count(value: float, shown: str) -> None:
    assert readable(value) == shown
