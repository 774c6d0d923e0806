"""What is counted of an exchange, and that clients cannot make more of it than there is room for."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.http1.rules import NO_HOST, body_size
from coregateway.logs import events as logs
from coregateway.model.errors import ConnectFailed, UpstreamClosed
from coregateway.observability.metrics import families
from coregateway.observability.metrics.families import OVERFLOW, Family
from coregateway.observability.metrics.recorder import Recorder
from coregateway.settings import Settings
from coregateway.shared_memory import Board
from tests.observability.metrics.tables import OWN, ROUTE, claim, counting, exchange, read


def in_bucket(family: Family, value: float, times: int = 1) -> list[float]:
    """A histogram into which one value has fallen, or some."""
    at = sum(bound < value for bound in family.buckets)
    return [float(times * (place == at)) for place in range(len(family.buckets) + 1)] + [value * times]


@pytest.mark.parametrize(
    ("known", "labels"),
    [
        ({}, ("coredinator", ROUTE, "GET", "200")),
        ({"method": "POST", "status": 503}, ("coredinator", ROUTE, "POST", "503")),
        ({"method": "PURGE", "status": 405}, ("coredinator", ROUTE, "other", "405")),
        ({"method": "X" * 9000, "status": 405}, ("coredinator", ROUTE, "other", "405")),
        ({"status": None, "error": "client_closed"}, ("coredinator", ROUTE, "GET", "499")),
        ({"status": 101}, ("coredinator", ROUTE, "GET", "101")),
        (OWN | {"route": "/health"}, ("", "/health", "GET", "200")),
        (OWN | {"route": None, "status": 404}, ("", "no_route", "GET", "404")),
        (OWN | {"route": None, "status": 400, "method": None}, ("", "", "", "400")),
        (OWN | {"route": None, "status": 204, "method": "OPTIONS"}, ("", "", "OPTIONS", "204")),
    ],
)
def test_every_request_counts_once_under_its_labels(known: dict[str, Any], labels: tuple[str, ...]) -> None:
    board = Board(1, 2)
    recorder = counting(board)
    for _ in range(3):
        recorder.record([exchange(**known)])
    counted = {each: number for each, number in read(board).values(families.REQUESTS).items() if number}
    assert counted == {labels: 3.0}


@pytest.mark.parametrize(
    ("known", "labels"),
    [
        ({"backend": "coretelemetry"}, ("coretelemetry", ROUTE, "GET", "200")),
        ({"route": "/elsewhere"}, ("coredinator", "/elsewhere", "GET", "200")),
        ({"method": "POST"}, ("coredinator", ROUTE, "POST", "200")),
        ({"status": 503}, ("coredinator", ROUTE, "GET", "503")),
    ],
)
def test_one_kind_after_the_other_counts_for_itself(known: dict[str, Any], labels: tuple[str, ...]) -> None:
    board = Board(1, 2)
    recorder = counting(board)
    recorder.record([exchange(), exchange(**known), exchange(), exchange(**known), exchange()])
    counted = {each: number for each, number in read(board).values(families.REQUESTS).items() if number}
    assert counted == {("coredinator", ROUTE, "GET", "200"): 3.0, labels: 2.0}


def test_a_method_that_a_backend_takes_has_its_own_name() -> None:
    row = {"prefix": "/x", "urls": ("http://a",), "methods": ("PURGE",)}
    board = Board(1, 1)
    recorder = counting(board, Settings.model_validate({"backends": {"x": row}}))
    recorder.record([exchange(backend="x", route="/x", method="PURGE")])
    assert read(board).value(families.REQUESTS, "x", "/x", "PURGE", "200") == 1


RELAYED = {
    families.DURATION: in_bucket(families.DURATION, 2.25),
    families.UPSTREAM_DURATION: in_bucket(families.UPSTREAM_DURATION, 1.375),
    families.OVERHEAD: in_bucket(families.OVERHEAD, 0.25),
    families.POOL_WAIT: in_bucket(families.POOL_WAIT, 0.0),
}
NOTHING = {family: [0.0] * family.width for family in RELAYED}
UNREACHED: dict[str, Any] = {"upstream_started": 0.0, "responded": 0.0, "upstream_ended": 102.0}


@pytest.mark.parametrize(
    ("known", "measured"),
    [
        ({}, RELAYED),
        ({"waited": 0.0625}, RELAYED | {families.POOL_WAIT: in_bucket(families.POOL_WAIT, 0.0625)}),
        # A value on a bound belongs below it.
        ({"waited": 0.025}, RELAYED | {families.POOL_WAIT: in_bucket(families.POOL_WAIT, 0.025)}),
        ({"waited": 11.0}, RELAYED | {families.POOL_WAIT: in_bucket(families.POOL_WAIT, 11.0)}),
        # Without an answer there is no share of the gateway in its time.
        (
            {**UNREACHED, "status": 502, "error": "connect_failed"},
            NOTHING
            | {
                families.DURATION: in_bucket(families.DURATION, 2.25),
                families.POOL_WAIT: in_bucket(families.POOL_WAIT, 0.0),
            },
        ),
        # Who was refused after waiting has waited all the time.
        (
            {**UNREACHED, "status": 503, "error": "pool_timeout"},
            NOTHING
            | {
                families.DURATION: in_bucket(families.DURATION, 2.25),
                families.POOL_WAIT: in_bucket(families.POOL_WAIT, 2.25),
            },
        ),
        # A method that is not allowed never comes to the backend.
        (
            {**UNREACHED, "status": 405, "attempts": 0},
            NOTHING | {families.DURATION: in_bucket(families.DURATION, 2.25)},
        ),
        # How long a WebSocket was open is no duration of a request.
        (
            {"status": 101},
            RELAYED | {family: NOTHING[family] for family in (families.DURATION, families.OVERHEAD)},
        ),
    ],
)
def test_times_fall_into_their_buckets(known: dict[str, Any], measured: dict[Family, list[float]]) -> None:
    board = Board(1, 2)
    counting(board).record([exchange(**known)])
    found = read(board)
    assert {family: found.histogram(family, "coredinator") for family in RELAYED} == measured


SECONDS = st.integers(0, 12 * 64).map(lambda number: number / 64)  # sums of these are exact in any order
SOME = st.fixed_dictionaries(
    {
        "ended": SECONDS.map(lambda took: 112.0 + took),
        "responded": SECONDS.map(lambda took: 100.125 + took),
        "waited": SECONDS,
        "status": st.sampled_from((200, 404, 101, 503)),
        "error": st.sampled_from((None, "pool_timeout", "client_closed")),
        "attempts": st.integers(0, 2),
        "bytes_out": st.integers(0, 5),
        "bytes_in": st.integers(0, 5),
        "backend": st.sampled_from(("coredinator", "coretelemetry")),
    }
)


@given(several=st.lists(SOME, max_size=12))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_those_of_one_turn_count_as_one_by_one(several: list[dict[str, Any]]) -> None:
    together, apart = Board(1, 2), Board(1, 2)
    counting(together).record([exchange(**known) for known in several])
    recorder = counting(apart)
    for known in several:
        recorder.record([exchange(**known)])
    found, expected = read(together), read(apart)
    for family in families.FAMILIES:
        assert found.values(family) == expected.values(family)
        assert found.histograms(family) == expected.histograms(family)


def test_own_answers_have_a_duration_and_nothing_of_a_backend() -> None:
    board = Board(1, 2)
    counting(board).record([exchange(**OWN, bytes_out=7)])
    found = read(board)
    assert found.histogram(families.DURATION, "") == in_bucket(families.DURATION, 2.25)
    assert found.value(families.RESPONSE_BYTES, "") == 7
    for family in (families.UPSTREAM_DURATION, families.OVERHEAD, families.POOL_WAIT):
        assert ("",) not in found.histograms(family)


def test_bytes_and_attempts_are_summed() -> None:
    board = Board(1, 2)
    recorder = counting(board)
    recorder.record([exchange(bytes_in=3, bytes_out=1000, attempts=2)])
    recorder.record([exchange(bytes_in=4, status=404)])
    found = read(board)
    families_of = (families.REQUEST_BYTES, families.RESPONSE_BYTES, families.ATTEMPTS)
    assert [found.value(family, "coredinator") for family in families_of] == [7, 1000, 3]


def test_errors_count_by_cause_and_clients_that_left_besides() -> None:
    board = Board(1, 2)
    recorder = counting(board)
    recorder.record([exchange(status=499, error="client_closed")])
    recorder.record([exchange(status=504, error="read_timeout")])
    recorder.record([exchange(**OWN, error="client_closed")])
    found = read(board)
    assert {key: n for key, n in found.values(families.ERRORS).items() if n} == {
        ("coredinator", "client_closed"): 1,
        ("coredinator", "read_timeout"): 1,
        ("", "client_closed"): 1,
    }
    assert found.total(families.DISCONNECTS) == 2


def test_refusals_count_by_rule_whatever_the_limit_in_its_words() -> None:
    board = Board(1, 2)
    recorder = counting(board)
    for rule in (NO_HOST, NO_HOST, body_size(1), body_size(2)):
        recorder.record([exchange(**OWN, error="bad_request", rule=rule)])
    recorder.record([exchange(**OWN, error="no_route")])
    found = {key: n for key, n in read(board).values(families.REFUSED).items() if n}
    assert found == {("no_host",): 2, ("body_size",): 2}


def test_retries_count_by_what_ended_the_attempt_before() -> None:
    board = Board(1, 2)
    recorder = counting(board)
    for error in (ConnectFailed(), ConnectFailed(), UpstreamClosed()):
        recorder.count_retry(exchange(), error)
    found = read(board)
    assert found.value(families.RETRIES, "coredinator", "connect_failed") == 2
    assert found.value(families.RETRIES, "coredinator", "upstream_closed") == 1


def test_an_opened_websocket_counts_before_it_ends() -> None:
    board = Board(1, 2)
    counting(board).count_tunnel(exchange(status=101))
    assert read(board).value(families.TUNNELS_OPENED, "coredinator") == 1


def test_no_client_makes_the_table_grow() -> None:
    board = Board(1, 2)
    recorder = counting(board)
    recorder.record([exchange(method="ODD", status=405)])
    before = len(list(board.parts[0].series))
    for number in range(5000):
        recorder.record([exchange(method=f"M{number}", path=f"/{number}", status=405)])
    assert len(list(board.parts[0].series)) == before
    assert read(board).value(families.REQUESTS, "coredinator", ROUTE, "other", "405") == 5001


def test_what_finds_no_room_counts_in_one_series_and_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bytes] = []
    monkeypatch.setattr(logs.writer(), "write", told.append)
    logs.configure("INFO")
    board = Board(1, 2)
    recorder = counting(board)
    for method in ("GET", "POST", "PUT"):
        for code in range(100, 1000):
            recorder.record([exchange(method=method, status=code)])
            recorder.record([exchange(method=method, status=code)])
    found = read(board)
    assert found.total(families.REQUESTS) == 5400
    assert found.value(families.REQUESTS, "", OVERFLOW, "", "") > 2000
    assert found.value(families.REQUESTS, "coredinator", ROUTE, "GET", "200") == 2
    assert sum(found.histogram(families.DURATION, "coredinator")[:-1]) == 5400 - 2 * 3  # without 101
    (line,) = [json.loads(each) for each in told]
    assert (line["event"], line["metric"]) == ("metrics.table_full", "coregateway_requests_total")


def test_who_takes_over_a_part_goes_on_counting() -> None:
    board = Board(1, 2)
    part = claim(board)
    for _ in range(2):
        recorder = Recorder(Settings())
        recorder.open(part.series)
        recorder.record([exchange()])
    assert read(board).value(families.REQUESTS, "coredinator", ROUTE, "GET", "200") == 2
