"""What numbers mean, in words; and when they mean nothing."""

import pytest

from coregateway.diagnosis import rules
from coregateway.diagnosis.reminder import Reminder
from coregateway.diagnosis.rules import Ages
from coregateway.status.reachability import Verdict

NONE = Ages(0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("ages", "told"),
    [
        ([Ages(4, 5.0, 5.1)], "5.0 s"),
        ([Ages(1, 5.0, 5.0), NONE, Ages(2, 5.02, 5.3)], "5.0 s"),  # workers agree
        ([Ages(3, 14.9, 15.2)], "15 s"),
        ([], None),
        ([Ages(2, 5.0, 5.0)], None),  # too few
        ([Ages(4, 1.0, 5.0)], None),  # no rule in that
        ([Ages(9, 0.0, 0.02)], None),  # it keeps none
        ([Ages(3, 29.8, 30.0)], None),  # it is the gateway's own limit
    ],
)
def test_idle_connections_that_the_backend_ends(ages: list[Ages], told: str | None) -> None:
    finding = rules.idle_connections("billing", ages, 30.0)
    assert (finding and finding.message) == (
        told
        and f"backend billing closes idle connections after {told} while limits.keepalive_expiry is 30 s: "
        "set it below that"
    )


@pytest.mark.parametrize(
    ("queued", "busy", "told"),
    [
        (62.0, 38.0, "62 %"),
        (1000.0, 10.0, "99 %"),
        (0.0, 100.0, None),
        (20.0, 80.0, None),  # a small share
        (0.9, 0.1, None),  # of next to nothing
    ],
)
def test_requests_that_wait_for_a_connection(queued: float, busy: float, told: str | None) -> None:
    finding = rules.waiting_for_connections("billing", queued=queued, busy=busy, window=10.0, limit=50)
    assert (finding and finding.message) == (
        told
        and f"{told} of the waiting time at backend billing is for a free connection: raise "
        "limits.max_connections (50 per worker)"
    )


@pytest.mark.parametrize(
    ("tried", "refused", "told"),
    [
        (40, 40, "refused 40 of 40 connections in the last 10 s"),
        (1, 1, "refused 1 of 1 connection in"),
        (9, 10, "refused 10 of 10 connections"),
        (30, 3, "refused 3 of 30 connections"),
        (40, 2, None),
        (100, 3, None),
        (40, 0, None),
        (0, 0, None),
    ],
)
def test_connections_that_are_refused(tried: int, refused: int, told: str | None) -> None:
    finding = rules.connections_refused("billing", "http://a:1", tried=tried, refused=refused, window=10.0)
    assert (finding is not None) == (told is not None)
    assert told is None or (finding is not None and told in finding.message)


def verdict(state: str, cause: str | None, since: float | None) -> Verdict:
    return Verdict(state, cause, since, None, None, 3)  # pyright: ignore[reportArgumentType] -- one of the three


def test_an_upstream_that_leaves_requests_without_an_answer() -> None:
    finding = rules.no_answer("billing", "http://a:1", verdict("down", "read_timeout", 5.0))
    assert finding is not None
    assert finding.message == (
        "backend billing left the last 3 requests without an answer: read_timeout (http://a:1)"
    )
    assert rules.no_answer("billing", "http://a:1", verdict("up", None, 5.0)) is None
    # that one is told by how many connections it refused
    assert rules.no_answer("billing", "http://a:1", verdict("down", "connect_failed", 5.0)) is None


@pytest.mark.parametrize(
    ("times", "told"),
    [(0, None), (1, "on 1 connection (http://a:1)"), (3, "on 3 connections (http://a:1)")],
)
def test_an_upstream_that_sends_what_no_request_asked_for(times: int, told: str | None) -> None:
    finding = rules.surplus("billing", "http://a:1", times=times)
    assert (finding is not None) == (told is not None)
    if finding is not None and told is not None:
        assert finding.message.startswith(f"backend billing sent bytes that no request asked for {told}, ")
        assert "uses each connection to it once for 10 s" in finding.message
        assert finding.fields == {"backend": "billing", "upstream": "http://a:1", "connections": times}


def test_an_upstream_that_is_back() -> None:
    finding = rules.answers_again("billing", "http://a:1", verdict("up", None, 47.0), down_since=13.0)
    assert finding is not None
    assert (finding.message, finding.level) == (
        "backend billing answers again, after 34 s (http://a:1)",
        "INFO",
    )


@pytest.mark.parametrize(
    ("late", "computed", "told"),
    [
        (0.34, 0.33, "worker 2's event loop was blocked for 340 ms (computing)"),
        (
            0.34,
            0.01,
            "worker 2's event loop was blocked for 340 ms (not computing: a blocking call, or no CPU for it)",
        ),
        (0.05, 0.05, None),
    ],
)
def test_a_loop_that_was_blocked(late: float, computed: float, told: str | None) -> None:
    finding = rules.loop_blocked(2, late=late, computed=computed)
    assert (finding and finding.message) == told


def test_files_that_run_out() -> None:
    assert rules.files_running_out(1, used=800, limit=1024) is None
    finding = rules.files_running_out(1, used=1000, limit=1024)
    assert finding is not None
    assert finding.message == "worker 1 has 1,000 of 1,024 files open: raise the limit (ulimit -n)"


def test_one_finding_is_told_once_a_minute() -> None:
    reminder = Reminder()
    assert reminder.due("waiting", "billing", 100.0)
    assert not reminder.due("waiting", "billing", 159.9)
    assert reminder.due("waiting", "stock", 159.9)
    assert reminder.due("refused", "billing", 159.9)
    assert reminder.due("waiting", "billing", 160.1)
    assert not reminder.due("waiting", "billing", 1000.0, pause=3600.0)
