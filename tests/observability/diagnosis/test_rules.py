"""What numbers mean, in words; and when they mean nothing."""

import re
from typing import get_args

import pytest

from coregateway.observability.diagnosis import rules, worker_rules
from coregateway.observability.diagnosis.reminder import Reminder
from coregateway.observability.diagnosis.rules import Ages, Finding
from coregateway.observability.status.reachability import Verdict
from coregateway.prober.knowledge import Known
from coregateway.prober.standing import Standing
from coregateway.settings.keys import field_of

URLS = ["http://a:1"]
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
    finding = rules.idle_connections("billing", ["http://a:1"], ages, 30.0)
    assert (finding and finding.message) == (
        told
        and f"backend billing closes idle connections after {told} while limits.keepalive_expiry is 30 s: "
        "set it below that (http://a:1)"
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
    finding = rules.waiting_for_connections(
        "billing", ["http://a:1"], queued=queued, busy=busy, window=10.0, limit=50
    )
    assert (finding and finding.message) == (
        told
        and f"{told} of the waiting time at backend billing is for a free connection: raise "
        "limits.max_connections, 50 per worker and address (http://a:1)"
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


@pytest.mark.parametrize(
    ("tried", "failed", "worth_a_word"),
    [
        (40, 40, True),
        (1, 1, True),
        (30, 3, True),
        (9, 10, True),
        (40, 2, False),
        (100, 3, False),
        (0, 0, False),
    ],
)
def test_other_connections_that_cannot_be_had(tried: int, failed: int, worth_a_word: bool) -> None:
    about = "billing", "http://a:1"
    findings = (
        rules.connections_late(*about, tried=tried, late=failed, window=10.0, limit=5.0),
        rules.unreachable(*about, tried=tried, failed=failed, window=10.0),
    )
    for finding in findings:
        assert (finding is not None) is worth_a_word
        if finding is not None:
            assert f"{failed} of {max(tried, failed)} " in finding.message
            assert "refused" not in finding.message


FAILING = Known(
    "billing",
    URLS[0],
    (("192.0.2.1",), ("192.0.2.2",)),
    standings={
        "192.0.2.1": Standing("down", reason="status 503, expected 200-399"),
        "192.0.2.2": Standing("up"),
    },
)


def test_checks_that_fail_are_told_with_their_reason_and_those_that_pass_are_not() -> None:
    finding = rules.checks_failed("billing", URLS[0], FAILING)
    assert finding is not None
    assert "1 of 2 addresses, such as 192.0.2.1, fail the checks, status 503" in finding.message
    FAILING.standings["192.0.2.1"].state = "up"
    assert rules.checks_failed("billing", URLS[0], FAILING) is None
    FAILING.standings["192.0.2.1"].state = "down"


def test_a_name_that_is_resolved_is_not_worth_a_word() -> None:
    assert rules.name_unresolved("billing", URLS[0], Known("billing", URLS[0], (("192.0.2.1",),))) is None


EXAMPLES: dict[str, Finding | None] = {
    "idle_connections": rules.idle_connections("billing", URLS, [Ages(4, 5.0, 5.1)], 30.0),
    "waiting_for_connections": rules.waiting_for_connections(
        "billing", URLS, queued=62.0, busy=38.0, window=10.0, limit=50
    ),
    "connections_refused": rules.connections_refused("billing", URLS[0], tried=3, refused=3, window=10.0),
    "connections_late": rules.connections_late("billing", URLS[0], tried=3, late=3, window=10.0, limit=5.0),
    "name_unresolved": rules.name_unresolved(
        "billing", URLS[0], Known("billing", URLS[0], (("192.0.2.1",),), problem="no such name")
    ),
    "checks_failed": rules.checks_failed("billing", URLS[0], FAILING),
    "unreachable": rules.unreachable("billing", URLS[0], tried=3, failed=3, window=10.0),
    "surplus": rules.surplus("billing", URLS[0], times=2),
    "no_answer": rules.no_answer("billing", URLS[0], Verdict("down", "read_timeout", 5.0, None, None, 3)),
    "not_secured": rules.not_secured("billing", URLS[0], Verdict("down", "tls_name", 5.0, None, None, 1)),
    "answers_again": rules.answers_again(
        "billing", URLS[0], Verdict("up", None, 47.0, None, None, 3), down_since=13.0
    ),
    "loop_blocked": worker_rules.loop_blocked(2, late=0.34, computed=0.33),
    "middleware_held": worker_rules.middleware_held(1, "acme.slow", times=3, longest=0.0204, window=5.0),
    "files_running_out": worker_rules.files_running_out(1, used=1000, limit=1024),
    "certificate_ends": worker_rules.certificate_ends("localhost", left=3 * 86_400.0),
}
"""One finding of each kind."""

KEY = re.compile(r"(?<![\w./:-])[a-z_]+(?:\.[a-z_]+)+(?![\w./:-])")


def example(kind: str) -> Finding:
    finding = EXAMPLES[kind]
    assert finding is not None
    assert finding.kind == kind
    return finding


def test_there_is_an_example_of_each_kind() -> None:
    of_decisions = {
        "ejected",
        "returned",
        "breaker_open",
        "breaker_closed",
        "slow_clients",
        "rate_table_full",
        "rate_store_lost",
        "rate_store_back",
        "document_unusable",
        "requests_unfit",
        "not_validated",
    }  # `test_decision_rules`
    of_callers = {"credentials_refused", "keys_stale", "auth_service_failing", "rate_refuses"}
    assert EXAMPLES.keys() == {*get_args(rules.Kind.__value__)} - of_decisions - of_callers


@pytest.mark.parametrize("kind", sorted(EXAMPLES.keys() - {"middleware_held"}))  # that names functions
def test_a_setting_that_is_named_exists(kind: str) -> None:
    for name in KEY.findall(example(kind).message.replace(".\n", "")):
        assert field_of(tuple(name.split("."))) is not None, name


def test_the_settings_that_are_named_are_found() -> None:
    named = {name for kind in EXAMPLES for name in KEY.findall(example(kind).message)}
    wanted = {
        "limits.keepalive_expiry",
        "limits.max_connections",
        "timeouts.connect",
        "backends.billing.urls",
    }
    assert wanted <= named


OF_WORKERS = {"loop_blocked", "middleware_held", "files_running_out", "certificate_ends"}


@pytest.mark.parametrize("kind", sorted(EXAMPLES.keys() - OF_WORKERS))
def test_what_is_said_of_a_backend_names_its_address(kind: str) -> None:
    assert URLS[0] in example(kind).message


def test_of_many_addresses_the_first_ones_are_named() -> None:
    urls = [f"http://a:{number}" for number in range(1, 6)]
    finding = rules.idle_connections("billing", urls, [Ages(4, 5.0, 5.1)], 30.0)
    assert finding is not None
    assert finding.message.endswith(" (http://a:1, http://a:2, http://a:3 and 2 more)")


@pytest.mark.parametrize("kind", [kind for kind in EXAMPLES if kind != "connections_refused"])
def test_only_a_refusal_is_called_one(kind: str) -> None:
    assert "refuse" not in example(kind).message


def verdict(state: str, cause: str | None, since: float | None) -> Verdict:
    return Verdict(state, cause, since, None, None, 3)  # pyright: ignore[reportArgumentType] -- one of the three


def test_an_upstream_that_leaves_requests_without_an_answer() -> None:
    finding = rules.no_answer("billing", "http://a:1", verdict("down", "read_timeout", 5.0))
    assert finding is not None
    assert finding.message == (
        "backend billing left the last 3 requests without an answer: no answer in time (read_timeout) "
        "(http://a:1)"
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
    finding = worker_rules.loop_blocked(2, late=late, computed=computed)
    assert (finding and finding.message) == told


def test_a_middleware_that_holds_the_loop() -> None:
    assert worker_rules.middleware_held(1, "acme.slow", times=0, longest=0.0, window=5.0) is None
    assert example("middleware_held").message == (
        "middleware acme.slow held worker 1's event loop for 20 ms, 3 times in the last 5 s for 10 ms or "
        "longer: what computes or blocks belongs into a thread (asyncio.to_thread)"
    )


def test_files_that_run_out() -> None:
    assert worker_rules.files_running_out(1, used=800, limit=1024) is None
    finding = worker_rules.files_running_out(1, used=1000, limit=1024)
    assert finding is not None
    assert finding.message == "worker 1 has 1,000 of 1,024 files open: raise the hard limit (ulimit -Hn)"


def test_one_finding_is_told_once_a_minute() -> None:
    reminder = Reminder()
    assert reminder.due("waiting", "billing", 100.0)
    assert not reminder.due("waiting", "billing", 159.9)
    assert reminder.due("waiting", "stock", 159.9)
    assert reminder.due("refused", "billing", 159.9)
    assert reminder.due("waiting", "billing", 160.1)
    assert not reminder.due("waiting", "billing", 1000.0, pause=3600.0)


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (15 * 86_400.0, None),
        (10 * 86_400.0, "ends in 10 days"),
        (-1.0, "has ended: clients do not accept it"),
    ],
)
def test_certificates_that_end_are_told(left: float, told: str | None) -> None:
    finding = worker_rules.certificate_ends("a.example", left=left)
    assert (finding and finding.message) == (
        told and f"the certificate for a.example {told}: renew the files of tls.cert and tls.key"
    )
