"""The judge of the corpus can say no: each predicate and each verdict, on outcomes made by hand."""

import json

import pytest

from coregateway.testing import RecordedRequest, Response
from coregateway.testing.messages import Body, request_framing, split_head
from tests.corpus.cases import Case, Expectation, Sending, read_cases
from tests.corpus.judging import judge
from tests.corpus.playing import Outcome, requests_in
from tests.corpus.predicates import climbs, complaints
from tests.corpus.sweeps import PLACES, sweep

ASKED = (
    "POST /api/v1/coredinator/echo?a=%31 HTTP/1.1\r\nHost: gw.test\r\nX-Real-IP: 6.6.6.6\r\n"
    "Forwarded: for=6.6.6.6\r\nAuthorization: Basic a\r\nContent-Length: 5\r\n\r\nhello"
)
GOOD = (
    b"POST /tag?a=%31 HTTP/1.1\r\nHost: 127.0.0.1:7000\r\nX-Forwarded-For: 127.0.0.1\r\nX-A: 1\r\n"
    b"Cookie: a=1; b=2\r\nContent-Length: 5\r\n\r\nhello"
)
BAD = (
    b"PUT http://a/../../../x?b#smugtag/api/v1/coredinator HTTP/1.1\r\nHost: gw.test\r\n"
    b"X-Real-IP: 6.6.6.6\r\n"
    b"Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nAuthorization: Basic b\r\nTE: gzip\r\n"
    b"Max-Forwards: 5\r\nTransfer-Encoding: chunked\r\n\r\n6;ext\r\nhello!\r\n0\r\nX-T: v\r\n\r\n"
)


def recorded(raw: bytes) -> RecordedRequest:
    head, end, body = raw.partition(b"\r\n\r\n")
    line, headers = split_head(head + end)
    method, target, version = line.split(b" ")
    content = Body(*request_framing(headers))
    assert content.feed(body) == b""
    request = RecordedRequest(1, head + end, method, target, version, headers, content)
    request.completed.happen()
    return request


def answer(status: int, echo: tuple[str, str] | None = None, *headers: tuple[bytes, bytes]) -> Response:
    content = Body("close")
    if echo:
        content.feed(json.dumps({"echo": {"method": echo[0], "target": echo[1]}}).encode())
    return Response(b"HTTP/1.1", status, b"", list(headers), b"", content)


def outcome_of(must: str, *upstream: bytes, expect: Expectation = "either", raw: str = ASKED) -> Outcome:
    outcome = Outcome(Sending(Case("id", "group", raw, expect, must, ""), "tag", split=False), "127.0.0.1")
    outcome.upstream = [recorded(request) for request in upstream]
    outcome.answers = [answer(200, ("POST", "/tag?a=%31"))]
    outcome.follow_up = "ok"
    return outcome


@pytest.mark.parametrize(
    "predicate",
    [
        "method==POST",
        "target-path-endswith:/echo",
        "target-contains:/echo?a",
        "target-is-origin-form",
        "target-no-hash",
        "target-prefix-safe",
        "no-request:smuggled",
        "no-tunnel",
        "query==a=%31",
        "query-decoded-equal",
        "cl==5",
        "body==hello",
        "body-len==5",
        "body-bytes-identical",
        "no-chunk-ext",
        "no-trailer:x-t",
        "no-header:te",
        "header-present:x-a",
        "header:x-a==1",
        "header-not:te==gzip",
        "header-count:x-a==1",
        "header-values:x-a==1",
        "header-bytes:x-a==31",
        "no-client-value:x-real-ip",
        "no-untrusted-forwarded",
        "last-xff==peer",
        "auth-same-or-absent",
        "te-absent-or-trailers",
        "cookie-pairs==a=1,b=2",
        "host-is-configured",
    ],
)
def test_a_predicate_on_requests_holds_for_the_good_and_not_for_the_bad(predicate: str) -> None:
    assert complaints(outcome_of(predicate, GOOD)) == []
    assert len(complaints(outcome_of(predicate, BAD))) == 1
    assert len(complaints(outcome_of(predicate, GOOD, BAD))) == 1
    assert complaints(outcome_of(predicate)) == []


@pytest.mark.parametrize("predicate", ["cl-absent-or-0", "cl-not:5", "maxfwd==5-or-local-answer"])
def test_a_predicate_on_requests_that_the_bad_one_satisfies(predicate: str) -> None:
    assert len(complaints(outcome_of(predicate, GOOD))) == 1
    assert complaints(outcome_of(predicate, BAD)) == []


def test_framing_is_single_with_exactly_one_line() -> None:
    assert complaints(outcome_of("framing-single", GOOD, BAD)) == []
    assert complaints(outcome_of("framing-single", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))


@pytest.mark.parametrize(
    ("predicate", "upstream", "holds"),
    [
        ("no-upstream", [], True),
        ("no-upstream", [GOOD], False),
        ("no-upstream-complete", [GOOD], False),
        ("no-complete-request", [GOOD], False),
        ("exactly-one-request", [GOOD], True),
        ("exactly-one-request", [GOOD, GOOD], False),
        ("exactly-one-request", [], False),
        ("exactly-two-requests", [GOOD], False),
        ("exactly-two-requests", [GOOD, GOOD], True),
        ("at-most-one-request", [], True),
        ("at-most-one-request", [GOOD, GOOD], False),
        ("at-most-50-requests", [GOOD] * 50, True),
        ("at-most-50-requests", [GOOD] * 51, False),
    ],
)
def test_requests_are_counted(predicate: str, upstream: list[bytes], holds: bool) -> None:
    assert (complaints(outcome_of(predicate, *upstream)) == []) is holds


def test_a_cut_request_counts_as_a_byte_but_not_as_a_request() -> None:
    for predicate, holds in (("no-upstream", False), ("no-upstream-complete", True)):
        outcome = outcome_of(predicate)
        outcome.upstream = [RecordedRequest(1, b"GET", fault="cut")]
        assert (complaints(outcome) == []) is holds


@pytest.mark.parametrize(
    ("predicate", "attribute", "value"),
    [
        ("order-preserved", "answers", [answer(200, ("GET", "/other"))]),
        ("order-preserved", "answers", [answer(200), answer(400)]),
        ("no-desync", "answers", [answer(200, ("GET", "/other"))]),
        ("no-desync", "follow_up", "answered 400"),
        ("no-connect-elsewhere", "elsewhere", True),
        ("no-connect-elsewhere", "answers", [answer(504)]),
        ("client-gets-one-final", "answers", [answer(200), answer(200)]),
        ("client-no-chunked", "answers", [answer(200, None, (b"Transfer-Encoding", b"chunked"))]),
        ("no-500", "answers", [answer(500)]),
        ("no-101", "answers", [answer(101)]),
        ("no-101-unless-upstream-101", "answers", [answer(101)]),
    ],
)
def test_a_predicate_on_the_client_holds_unless(predicate: str, attribute: str, value: object) -> None:
    outcome = outcome_of(predicate, GOOD)
    assert complaints(outcome) == []
    setattr(outcome, attribute, value)
    assert len(complaints(outcome)) == 1


def test_interim_answers_and_the_end_of_the_connection_are_seen() -> None:
    outcome = outcome_of("client-gets-no-1xx && client-conn-closed", GOOD)
    outcome.closed = True
    assert complaints(outcome) == []
    outcome.closed = False
    outcome.answers[0].interim.append(answer(100))
    assert len(complaints(outcome)) == 2


@pytest.mark.parametrize(
    ("expect", "statuses", "closed", "forwarded", "well"),
    [
        ("400", [400], True, False, True),
        ("400", [400], False, False, False),
        ("400", [431], True, False, False),
        ("400", [], True, False, False),
        ("400", [400, 200], True, False, False),
        ("reject", [404], False, False, True),
        ("reject", [505], True, False, True),
        ("reject", [], True, False, True),
        ("reject", [500], True, False, False),
        ("reject", [502], True, False, False),
        ("reject", [200], False, True, False),
        ("forward-normalised", [200], False, True, True),
        ("forward-normalised", [200], False, False, False),
        ("forward-normalised", [400], True, False, False),
        ("forward-normalised", [], True, False, False),
        ("either", [200], False, True, True),
        ("either", [204], False, False, True),
        ("either", [400], True, False, True),
        ("either", [400], True, True, False),
        ("either", [503], False, False, False),
        ("either", [307], False, False, False),
    ],
)
def test_verdicts(
    expect: Expectation, statuses: list[int], closed: bool, forwarded: bool, well: bool
) -> None:
    outcome = outcome_of("at-most-one-request", *[GOOD] * forwarded, expect=expect)
    outcome.answers = [answer(status) for status in statuses]
    outcome.closed = closed
    assert (judge(outcome) == []) is well


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0;x\r\n\r\n",
    ],
)
def test_what_is_forwarded_must_be_strict_whatever_the_case_says(raw: bytes) -> None:
    assert judge(outcome_of("at-most-one-request", GOOD)) == []
    assert len(judge(outcome_of("at-most-one-request", raw))) == 1


def test_an_unsound_or_foreign_answer_is_a_complaint() -> None:
    outcome = outcome_of("at-most-one-request", GOOD)
    outcome.unsound = "status line b'x'"
    outcome.follow_up = "answered 400"
    assert len(judge(outcome)) == 2


@pytest.mark.parametrize(
    ("cause", "detail", "well"),
    [
        (b"bad_request", "Bad request: no Host", True),
        (b"bad_request", "Bad request: no Host: gw.test", False),
        (b"bad_request", "Bad request: malformed or ambiguous HTTP", False),
        (b"body_too_large", "Content too large: a body of more than 104857600 bytes", True),
        (b"body_too_large", "Content too large: a body of more than 5 bytes", False),
        (b"no_route", "Not found: no route of this gateway matches the path", True),
    ],
)
def test_a_refusal_gives_a_reason_of_the_gateways_own(cause: bytes, detail: str, well: bool) -> None:
    outcome = outcome_of("no-upstream", expect="400", raw="GET / HTTP/1.1\r\n\r\n")
    outcome.closed = True
    refusal = answer(400, None, (b"X-CoreGateway-Error", cause))
    refusal.content.feed(json.dumps({"detail": detail}).encode())
    outcome.answers = [refusal]
    assert (judge(outcome) == []) is well


@pytest.mark.parametrize(
    ("path", "is_out"),
    [
        ("/a", False),
        ("/a/../b", False),
        ("/a/../../b", True),
        ("/..", True),
        ("/%2e%2E/", True),
        ("/..%2fa", True),
        ("/..%5ca", True),
        ("/a;x/..;y/..;/b", True),
        ("/%252e%252e/", False),
        ("/.../..a", False),
        ("//../", True),
    ],
)
def test_what_climbs_out_of_the_root(path: str, is_out: bool) -> None:
    assert climbs(path) is is_out


def test_requests_are_found_in_raw_bytes_but_hidden_ones_are_not() -> None:
    raw = b"POST /api/v1/coredinator/a HTTP/1.1\r\n\r\nhelloGET http://b/api/v1/coredinator?x HTTP/1.0\r\n"
    assert requests_in(raw + b"GET /smugtag HTTP/1.1\r\n") == [("POST", "/a"), ("GET", "/?x")]


def test_every_predicate_of_the_cases_is_known() -> None:
    every = [*read_cases(), *(case for place in PLACES for case in sweep(place))]
    assert len({case.id for case in every}) == len(every)
    for must in {case.upstream_must for case in every}:
        complaints(outcome_of(must, GOOD))
    with pytest.raises(ValueError, match="no predicate 'nonsense'"):
        complaints(outcome_of("nonsense", GOOD))
