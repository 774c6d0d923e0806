"""The oracles of the fuzzing can say no: what must not happen, made by hand."""

import pytest

from coregateway.testing import RecordedRequest, Response
from coregateway.testing.messages import Body, request_framing, response_framing, split_head
from tests.fuzz.answering import Answering
from tests.fuzz.asking import Asking
from tests.fuzz.oracles import about_answered, about_asked, about_backends
from tests.fuzz.playing import Answerer, Asker, Client, Forwarded
from tests.fuzz.reading import read_requests

ASKED = (
    b"POST /api/v1/coredinator/a?b HTTP/1.1\r\nHost: gw.test\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-A: 1\r\n"
    b"Content-Length: 5\r\n\r\nhello"
)
GOT = (
    b"POST /a?b HTTP/1.1\r\nHost: b\r\nX-A: 1\r\nContent-Length: 5\r\nX-Forwarded-For: 127.0.0.1\r\n"
    b"X-Request-ID: id\r\n\r\nhello"
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nX-Fuzz: 1\r\nX-CoreRL-Version: 0\r\nX-Request-ID: id\r\nContent-Length: 2\r\n\r\nok"
)
AFTER = ANSWER.replace(b"X-Fuzz: 1", b"X-Fuzz: 2")
REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nX-CoreRL-Version: 0\r\nX-Request-ID: id\r\n"
    b"Content-Length: 2\r\n\r\n{}"
)
GIVEN = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello"
RELAYED = GIVEN.replace(b"\r\n\r\n", b"\r\nDate: x\r\nX-CoreRL-Version: 0\r\nX-Request-ID: id\r\n\r\n")
PROBLEM = (
    b"HTTP/1.1 502 Bad Gateway\r\nX-CoreGateway-Error: upstream_protocol\r\nX-CoreRL-Version: 0\r\n"
    b'X-Request-ID: id\r\nContent-Length: 14\r\n\r\n{"status":502}'
)


def recorded(raw: bytes) -> RecordedRequest:
    head, end, body = raw.partition(b"\r\n\r\n")
    line, headers = split_head(head + end)
    method, target, version = line.split(b" ")
    content = Body(*request_framing(headers))
    assert content.feed(body) == b""
    return RecordedRequest(1, head + end, method, target, version, headers, content)


def response(raw: bytes) -> Response:
    head, end, body = raw.partition(b"\r\n\r\n")
    line, headers = split_head(head + end)
    version, status, reason = line.split(b" ", 2)
    content = Body(*response_framing(headers, int(status), to_head=False))
    assert content.feed(body) == b""
    return Response(version, int(status), reason, headers, head + end, content)


def forwarded(*requests: bytes) -> Forwarded:
    return {number: (0, recorded(raw)) for number, raw in enumerate(requests, 1)}


def asked(
    *answers: bytes, raw: bytes = ASKED, got: bytes = GOT, follow_up: bytes = AFTER, ended: bool = False
) -> list[str]:
    client = Client([response(answer) for answer in answers], ended=ended)
    client.follow_up = response(follow_up) if follow_up else None
    at_backend = forwarded(got, b"GET /after HTTP/1.1\r\nHost: b\r\n\r\n")
    return list(about_asked(Asker(Asking(raw, sound=True), read_requests(raw), client), at_backend))


def answered(*answers: bytes, given: Answering, follow_up: bytes = ANSWER) -> list[str]:
    client = Client([response(answer) for answer in answers], follow_up=response(follow_up))
    after = forwarded(b"GET /after/00000 HTTP/1.1\r\nHost: b\r\n\r\n")
    player = Answerer.of(given, 0)
    player.client = client
    return list(about_answered(player, after))


def test_what_is_well_gives_no_complaint() -> None:
    assert asked(ANSWER) == []
    assert answered(RELAYED, given=Answering(GIVEN, sound=True)) == []
    assert answered(PROBLEM, given=Answering(b"nonsense")) == []


@pytest.mark.parametrize(
    ("was", "instead"),
    [
        (b"POST", b"PUT"),
        (b"/a?b", b"/a?c"),
        (b"/a?b", b"/../a?b"),
        (b"Host: b", b"Host: b\r\nHost: c"),
        (b"X-A: 1\r\n", b""),
        (b"X-A: 1", b"X-A: 1\r\nX-Hop: 1"),
        (b"X-A: 1", b"x-a: 1"),
        (b"X-A: 1", b"X-A: 1\r\nConnection: close"),
        (b"127.0.0.1", b"1.2.3.4"),
        (b"ID: id", b"ID: other"),
        (b"hello", b"hellO"),
        (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
    ],
)
def test_another_request_at_the_backend_is_a_complaint(was: bytes, instead: bytes) -> None:
    got = GOT.replace(was, instead)
    if b"chunked" in got:
        got = got.replace(b"hello", b"5\r\nhello\r\n0\r\n\r\n")
    assert asked(ANSWER, got=got)


@pytest.mark.parametrize("status", [200, 302, 500, 502, 503])
def test_an_answer_of_the_gateway_to_what_it_should_forward_is_a_complaint(status: int) -> None:
    assert asked(REFUSAL.replace(b"400", b"%d" % status), follow_up=b"", ended=True)


@pytest.mark.parametrize(
    ("answers", "follow_up", "ended"),
    [
        ((REFUSAL,), b"", True),  # a sound request
        ((ANSWER, ANSWER), AFTER, False),  # one request, two answers
        ((ANSWER,), ANSWER, False),  # the follow-up got the answer of another request
        ((ANSWER,), REFUSAL, False),
        ((ANSWER,), b"", False),  # neither kept nor closed
        ((ANSWER.replace(b"X-Request-ID: id\r\n", b""),), AFTER, False),
    ],
)
def test_another_conversation_is_a_complaint(
    answers: tuple[bytes, ...], follow_up: bytes, ended: bool
) -> None:
    assert asked(*answers, follow_up=follow_up, ended=ended)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /api/v1/coredinator/a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET /api/v1/coredinator/a HTTP/1.1\nHost: a\r\n\r\n",
        b"POST /api/v1/coredinator/a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello",
        b"POST /api/v1/coredinator/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello",
    ],
)
def test_forwarding_what_is_no_whole_request_is_a_complaint(raw: bytes) -> None:
    assert asked(ANSWER, raw=raw)
    assert any("no whole request" in complaint for complaint in asked(ANSWER, raw=raw))


@pytest.mark.parametrize(
    ("was", "instead"),
    [
        (b"200", b"201"),
        (b"OK", b"Fine"),
        (b"X-A: 1\r\n", b""),
        (b"X-A: 1", b"X-A: 1\r\nX-Stolen: 1"),
        (b"hello", b"hellO"),
        (b"X-CoreRL-Version: 0\r\n", b""),
        (b"Date: x\r\n", b""),
        (b"Date: x", b"Date: x\r\nDate: x"),
    ],
)
def test_another_response_is_a_complaint(was: bytes, instead: bytes) -> None:
    assert answered(RELAYED.replace(was, instead), given=Answering(GIVEN))


def test_a_broken_response_that_looks_complete_is_a_complaint() -> None:
    assert answered(RELAYED, given=Answering(GIVEN[:-1], end="closed"))


def test_a_problem_in_the_place_of_a_sound_response_is_a_complaint() -> None:
    assert answered(PROBLEM, given=Answering(GIVEN, sound=True))
    assert answered(PROBLEM.replace(b"502", b"500"), given=Answering(b"nonsense"))


def test_a_post_may_be_lost_on_a_closed_connection_but_a_get_may_not() -> None:
    lost = PROBLEM.replace(b"upstream_protocol", b"upstream_closed")
    assert answered(lost, given=Answering(GIVEN, method=b"POST", sound=True)) == []
    assert answered(lost, given=Answering(GIVEN, method=b"GET", sound=True))


def test_the_response_of_another_exchange_after_it_is_a_complaint() -> None:
    assert answered(RELAYED, given=Answering(GIVEN), follow_up=RELAYED)


def test_a_request_whose_answer_went_nowhere_is_a_complaint() -> None:
    assert list(about_backends(forwarded(GOT), []))
