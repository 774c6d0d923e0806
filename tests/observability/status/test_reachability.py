"""An upstream is up or down by what all workers have met there."""

import pytest

from coregateway.observability.status.reachability import Sighting, judge

NEVER = Sighting(0.0, 0.0, 0.0, 0, "", 0.0)


def answered(at: float, *, since: float | None = None) -> Sighting:
    """One that never failed."""
    return Sighting(at, 0.0, 0.0, 0, "", at if since is None else since)


def failed(
    at: float,
    cause: str = "connect_failed",
    *,
    since: float | None = None,
    row: int = 1,
    answered: float = 0.0,
) -> Sighting:
    return Sighting(answered, at, at if since is None else since, row, cause, answered)


@pytest.mark.parametrize(
    ("sightings", "state", "cause", "since"),
    [
        ([], "unknown", None, None),
        ([NEVER, NEVER], "unknown", None, None),
        ([answered(20.0, since=10.0)], "up", None, 10.0),
        ([failed(5.0)], "down", "connect_failed", 5.0),
        ([failed(9.0, since=5.0, row=3)], "down", "connect_failed", 5.0),
        ([failed(9.0, "connect_timeout", since=8.0, answered=7.0)], "down", "connect_timeout", 8.0),
        # an answer to any worker is an answer
        ([failed(9.0, since=5.0, row=3), answered(10.0)], "up", None, 10.0),
        ([failed(9.0, since=5.0, row=3), answered(7.0)], "down", "connect_failed", 7.0),
        ([failed(9.0, since=8.5), answered(7.0)], "down", "connect_failed", 8.5),
        # it was up all the time for others
        ([answered(20.0, since=10.0), answered(21.0, since=15.0)], "up", None, 10.0),
        # requests without an answer: one may be the request's own doing
        ([failed(9.0, "read_timeout")], "unknown", "read_timeout", None),
        ([failed(9.0, "read_timeout", answered=8.0)], "up", "read_timeout", 8.0),
        ([failed(9.0, "read_timeout", since=6.0, row=3)], "down", "read_timeout", 6.0),
        (
            [failed(9.0, "upstream_closed", row=2), failed(8.0, "read_timeout")],
            "down",
            "upstream_closed",
            8.0,
        ),
        # those before another worker's answer do not count
        ([failed(9.0, "read_timeout", since=5.0, row=5), answered(8.0)], "up", "read_timeout", 8.0),
    ],
)
def test_the_state_of_an_upstream(
    sightings: list[Sighting], state: str, cause: str | None, since: float | None
) -> None:
    verdict = judge(sightings)
    assert (verdict.state, verdict.cause, verdict.since) == (state, cause, since)


def test_a_recovery_is_dated_from_the_first_answer_after_the_failure() -> None:
    recovered = Sighting(
        answered=30.0, failed=20.0, failing_since=15.0, failures=4, cause="x", recovered=21.0
    )
    verdict = judge([recovered, answered(12.0, since=2.0)])
    assert (verdict.state, verdict.since, verdict.failed) == ("up", 21.0, 20.0)
