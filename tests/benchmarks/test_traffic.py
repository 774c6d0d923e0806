"""What decides whether a load test has passed: the looks into answers, the course of users, the verdict."""

from typing import Any

import pytest

from benchmarks.traffic.answers import (
    agent_fault,
    head_fault,
    ids_fault,
    newest_fault,
    percent_fault,
    rows_fault,
    upload_fault,
)
from benchmarks.traffic.course import users_at
from benchmarks.traffic.verdict import Kind, shortcomings

SECONDS = range(1_700_000_000, 1_700_000_003)
ROWS = [{"timestamp": f"2023-11-14T22:13:2{age}Z", "value": 0.5} for age in (2, 1, 0)]
HEAD = {"X-CoreRL-Version": "1", "X-Request-ID": "a", "Content-Type": "application/json; charset=utf-8"}


def test_answers_as_they_should_be_have_no_fault() -> None:
    agent = {"id": "pump", "state": "running", "config_path": "demo/pump.yaml"}
    upload = {"name": "a.bin", "bytes": 3, "sha256": "ab"}
    assert head_fault(200, HEAD, "application/json") is None
    assert agent_fault(agent, "pump", ("running",)) is None
    assert ids_fault(["pump"]) is None
    assert rows_fault(ROWS, SECONDS) is None
    assert newest_fault(ROWS[:1]) is None
    assert percent_fault({"percent": 12.5}) is None
    assert upload_fault(upload, "a.bin", 3, "ab") is None


@pytest.mark.parametrize(
    ("status", "headers", "fault"),
    [
        (502, {**HEAD, "X-CoreGateway-Error": "connect_failed"}, "502 connect_failed"),
        (500, HEAD, "500 of the backend"),
        (200, {**HEAD, "X-Request-ID": ""}, "no X-Request-ID"),
        (200, {**HEAD, "Content-Type": "text/html"}, "text/html instead of application/json"),
    ],
)
def test_a_head_is_looked_into(status: int, headers: dict[str, str], fault: str) -> None:
    assert head_fault(status, headers, "application/json") == fault


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (None, "a row missing, or too many"),
        (ROWS[1:], "a row missing, or too many"),
        (ROWS[::-1], "rows of another time, or in another order"),
        ([*ROWS[:2], {"timestamp": "2023-11-14T22:13:20Z"}], "a row without a value"),
        ([*ROWS[:2], {"timestamp": "2023-11-14T22:13:20Z", "value": True}], "a row without a value"),
        ([*ROWS[:2], {"timestamp": "2023-11-14T22:13:20", "value": 1}], "a row without a time"),
        ([*ROWS[:2], {"timestamp": 7, "value": 1}], "a row without a time"),
    ],
)
def test_rows_are_looked_into(rows: Any, fault: str) -> None:
    assert rows_fault(rows, SECONDS) == fault


@pytest.mark.parametrize("value", [None, "pump", [], {}, {"id": "valve", "state": "running"}])
def test_another_value_than_was_asked_for_is_a_fault(value: Any) -> None:
    assert agent_fault(value, "pump", ("running",))
    assert newest_fault(value)
    assert percent_fault(value)
    assert upload_fault(value, "a.bin", 0, "")
    assert ids_fault([value]) or value == "pump"


def test_the_course_ramps_holds_spikes_and_ends() -> None:
    course = [users_at(seconds, 100, 50) for seconds in (0, 10, 20, 50, 60, 74, 80, 90, 95, 99.9, 100, 101)]
    assert course == [1, 25, 50, 50, 100, 100, 50, 50, 25, 1, None, None]


@pytest.mark.parametrize(
    ("kinds", "found"),
    [
        ([], ["nothing was measured"]),
        ([Kind("GET a", 0, 0, 0)], ["nothing was measured"]),
        ([Kind("GET a", 1000, 1, 500)], []),
        ([Kind("GET a", 1000, 2, 9)], ["2 of 1000 requests failed, more than a share of 0.001"]),
        ([Kind("GET a", 9000, 0, 3), Kind("PUT b", 9, 0, 501)], ["PUT b: p99 is 501 ms, more than 500 ms"]),
    ],
)
def test_the_verdict_holds_every_kind_against_the_limits(kinds: list[Kind], found: list[str]) -> None:
    assert shortcomings(kinds, max_p99=500, max_failures=0.001) == found
