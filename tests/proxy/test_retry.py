import pytest

from coregateway.model.contract import CONTRACT
from coregateway.model.errors import (
    ClientTimeout,
    ConnectFailed,
    ConnectTimeout,
    Draining,
    GatewayError,
    NoRoute,
    Overloaded,
    PoolTimeout,
    ReadTimeout,
    RetriedStatus,
    UpstreamClosed,
    UpstreamError,
    UpstreamProtocolError,
    WriteTimeout,
)
from coregateway.proxy.retry import (
    AT_ONCE,
    IDEMPOTENT,
    LATER,
    NEVER,
    REPEATED,
    longest_pause,
    way_on,
)

METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH", "PURGE")


def allowed(error: GatewayError, *, replayable: bool) -> list[str]:
    """The methods with which the first of three attempts may be followed by another."""
    return [
        method for method in METHODS if way_on(error, method, attempt=1, attempts=3, replayable=replayable)
    ]


def test_the_idempotent_methods_are_those_of_rfc_9110_section_9_2_2() -> None:
    assert sorted(IDEMPOTENT) == ["DELETE", "GET", "HEAD", "OPTIONS", "PUT"]


@pytest.mark.parametrize("replayable", [True, False])
@pytest.mark.parametrize("error", [ConnectFailed(), ConnectFailed(reused=True)])
def test_a_failed_connect_may_be_tried_again_for_any_method(error: GatewayError, replayable: bool) -> None:
    assert allowed(error, replayable=replayable) == list(METHODS)


@pytest.mark.parametrize(
    ("sent", "reused", "replayable", "methods"),
    [
        # Not a byte went out: nobody can have acted on it
        (False, False, True, METHODS),
        (False, True, True, METHODS),
        (False, True, False, METHODS),
        # It went out on a connection that had died at rest
        (True, True, True, ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")),
        # It went out, and the backend may have acted on it
        (True, False, True, ()),
        # So it may have, and the body is gone
        (True, True, False, ()),
        (True, False, False, ()),
    ],
)
def test_a_lost_connection_is_no_reason_to_send_twice_what_may_have_been_done(
    sent: bool, reused: bool, replayable: bool, methods: tuple[str, ...]
) -> None:
    error = UpstreamClosed(sent=sent, reused=reused)
    assert allowed(error, replayable=replayable) == list(methods)


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("reused", [True, False])
@pytest.mark.parametrize(
    "kind",
    [
        ReadTimeout,
        WriteTimeout,
        UpstreamProtocolError,
        UpstreamError,
        PoolTimeout,
        Overloaded,
        Draining,
        NoRoute,
        ClientTimeout,
        GatewayError,
    ],
)
def test_nothing_else_is_tried_again(kind: type[GatewayError], reused: bool, sent: bool) -> None:
    assert allowed(kind(sent=sent, reused=reused), replayable=True) == []


@pytest.mark.parametrize("error", [ConnectFailed(), UpstreamClosed(sent=True, reused=True)])
def test_there_are_as_many_attempts_as_configured(error: GatewayError) -> None:
    for attempts in (1, 2, 3):
        verdicts = [
            way_on(error, "GET", attempt=attempt, attempts=attempts, replayable=True) != NEVER
            for attempt in range(1, 5)
        ]
        assert verdicts == [attempt < attempts for attempt in range(1, 5)]


def test_only_two_errors_are_ever_tried_again() -> None:
    candidates = [kind() for kind in CONTRACT if issubclass(kind, UpstreamError)]
    retried = {type(error) for error in candidates if allowed(error, replayable=True)}
    assert retried == {ConnectFailed, UpstreamClosed}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error", [ConnectFailed(), ConnectTimeout()])
def test_a_failed_connect_is_tried_once_at_each_other_upstream(error: GatewayError, method: str) -> None:
    """For nothing was sent: any method, whatever the number of attempts."""
    for attempt in (1, 3, 9):
        for others, way in ((True, AT_ONCE), (False, NEVER)):
            assert way == way_on(
                error, method, attempt=attempt, attempts=3, replayable=False, others=others, lone=False
            )


@pytest.mark.parametrize(
    ("error", "method", "replayable", "way"),
    [
        (UpstreamClosed(sent=True, reused=True), "GET", True, REPEATED),
        (UpstreamClosed(sent=False, reused=False), "POST", False, AT_ONCE),
        (UpstreamClosed(sent=False, reused=True), "POST", False, AT_ONCE),
        (ConnectFailed(), "POST", False, LATER),
        (ConnectTimeout(), "GET", True, NEVER),
        (RetriedStatus(sent=True), "GET", True, REPEATED),
        (RetriedStatus(sent=True), "GET", False, NEVER),
        (RetriedStatus(sent=True), "POST", True, NEVER),
        (ReadTimeout(sent=True), "GET", True, NEVER),
    ],
)
def test_what_was_sent_is_repeated_within_the_budget_only(
    error: GatewayError, method: str, replayable: bool, way: int
) -> None:
    assert way == way_on(error, method, attempt=1, attempts=3, replayable=replayable)


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [longest_pause(number, 0.025, 0.25) for number in range(1, 8)]
    assert pauses == [0.025, 0.05, 0.1, 0.2, 0.25, 0.25, 0.25]
    assert longest_pause(10_000, 0.025, 0.25) == 0.25
    assert longest_pause(3, 0.0, 0.25) == 0.0
