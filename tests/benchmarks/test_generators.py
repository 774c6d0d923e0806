"""What wrk and h2load print is read as what it says."""

import pytest

from benchmarks.generators import Unanswered, percentile, read_h2load, read_wrk


def test_the_line_that_wrk_prints_at_last_gives_rate_and_milliseconds() -> None:
    line = '{"requests": 500, "microseconds": 250000, "errors": 3, "p50": 900, "p99": 1500, "p999": 21000}'
    load = read_wrk(f"Running 1s test\n  3 connections\n{line}\n")
    assert (load.rate, load.errors, load.p50, load.p99, load.p999) == (2000, 3, 0.9, 1.5, 21)


def test_a_server_that_answered_nothing_to_wrk_has_no_figures() -> None:
    line = '{"requests": 0, "microseconds": 9, "errors": 0, "p50": 0, "p99": 0, "p999": 0}'
    with pytest.raises(Unanswered):
        read_wrk(line)


def h2load_log(rows: list[tuple[int, int, int]]) -> str:
    return "".join(f"{start}\t{status}\t{time}\n" for start, status, time in rows)


def test_the_first_tenth_of_h2loads_requests_is_left_out_by_their_start() -> None:
    slow_start = [(number * 1000, 200, 500_000) for number in range(10)]
    steady = [(number * 1000, 200, 2000) for number in range(10, 100)]
    load = read_h2load(h2load_log([*steady, *slow_start]), 100)
    assert (load.requests, load.p50, load.p999) == (90, 2, 2)
    assert load.seconds == pytest.approx(0.089)
    assert load.errors == 0


def test_what_h2load_got_no_good_answer_to_counts_as_an_error() -> None:
    rows = [(number, 503 if number == 50 else 200, 10) for number in range(90)]
    half_a_line = "90\t20"
    assert read_h2load(h2load_log(rows) + half_a_line, 100).errors == 11


def test_an_empty_log_of_h2load_has_no_figures() -> None:
    with pytest.raises(Unanswered, match="0 of 100"):
        read_h2load("", 100)


@pytest.mark.parametrize(
    ("count", "percent", "found"),
    [(1000, 50, 500), (1000, 99, 990), (1000, 99.9, 999), (1001, 99.9, 1000), (1, 50, 1), (3, 100, 3)],
)
def test_a_percentile_is_the_nearest_rank(count: int, percent: float, found: int) -> None:
    assert percentile(range(1, count + 1), percent) == found
