"""What a service is asked, and what its answer says of a caller."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coregateway.http1.grammar import MalformedHTTP
from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead
from coregateway.policy.forward_auth import ForwardRules, forwarded_lines, passed_on

RULES = ForwardRules(
    "sso",
    sent=["Cookie", "authorization"],
    taken=["X-User", "X-Tenant"],
    consumer="x-USER",
    roles="X-Roles",
    scopes="X-Scopes",
)


def answer(*lines: bytes, status: bytes = b"200 OK") -> ResponseHead:
    return ResponseHead(b"\r\n".join([b"HTTP/1.1 " + status, b"Content-Length: 0", *lines]))


def test_the_question_has_the_fields_that_are_named_and_what_tells_of_the_request() -> None:
    head = RequestHead(
        b"PUT /a?b=%2F HTTP/1.1\r\nHost: gw\r\nCOOKIE: a=1\r\nX-Other: o\r\ncookie: b=2\r\n"
        b"Authorization: Basic x\r\nContent-Length: 3\r\nX-Forwarded-Uri: /evil\r\n\r\n"
    )
    sent = RULES.sent_of(head)
    assert sent == [b"COOKIE: a=1", b"cookie: b=2", b"Authorization: Basic x"]
    question = RULES.question(head, sent, b"X-Forwarded-For: 1.2.3.4\r\n", "id")
    assert question == (
        b"COOKIE: a=1\r\ncookie: b=2\r\nAuthorization: Basic x\r\nX-Forwarded-For: 1.2.3.4\r\n"
        b"X-Forwarded-Method: PUT\r\nX-Forwarded-Uri: /a?b=%2F\r\nX-Request-ID: id\r\n"
    )


def test_of_what_trusted_proxies_say_the_origin_alone_is_told() -> None:
    lines = b"X-Forwarded-For: a, b\r\nX-Forwarded-Uri: /evil\r\nX-Real-Ip: c\r\nX-Forwarded-Proto: https\r\n"
    assert forwarded_lines(lines) == b"X-Forwarded-For: a, b\r\nX-Forwarded-Proto: https\r\n"


@pytest.mark.parametrize(
    ("lines", "lines_to_backend"),
    [
        ([], [b"X-Auth-Method: forward.sso"]),
        (
            [b"x-user: \t alice ", b"X-Roles: a,b c,a", b"X-Scopes: s", b"X-Consumer: root", b"X-Secret: s"],
            [
                *(b"X-Consumer: alice", b"X-Auth-Method: forward.sso", b"X-Auth-Roles: a,b,c"),
                *(b"X-Auth-Scopes: s", b"X-User: alice"),
            ],
        ),
        (
            [b"X-Tenant: t", b"X-User:", b"X-TENANT: u", b'X-Roles: a"b, \xc3\xa9, c'],
            [b"X-Auth-Method: forward.sso", b"X-Auth-Roles: c", b"X-Tenant: t, u"],
        ),
        (
            [b"X-User: J\xc3\xbcrgen"],
            [b"X-Consumer: J\xc3\xbcrgen", b"X-Auth-Method: forward.sso", b"X-User: J\xc3\xbcrgen"],
        ),
    ],
)
def test_fields_of_the_answer_name_the_caller(lines: list[bytes], lines_to_backend: list[bytes]) -> None:
    caller = RULES.caller(answer(*lines))
    assert caller is not None
    assert [*caller.lines] == lines_to_backend
    assert caller.method == "forward.sso"


def test_a_field_that_is_no_utf_8_is_no_answer() -> None:
    assert RULES.caller(answer(b"X-User: \xff")) is None
    assert RULES.caller(answer(b"X-Other: \xff")) is not None


@given(st.lists(st.tuples(st.sampled_from([b"X-User", b"X-Roles", b"X-Tenant"]), st.binary(max_size=20))))
def test_no_answer_makes_more_lines_than_it_has_fields(fields: list[tuple[bytes, bytes]]) -> None:
    try:
        head = answer(*(b"%b: %b" % field for field in fields))
    except MalformedHTTP:
        return
    caller = RULES.caller(head)
    if caller is not None:
        for line in caller.lines:
            assert not {b"\r", b"\n", b"\0"} & {line[at : at + 1] for at in range(len(line))}
        names = [line.partition(b":")[0] for line in caller.lines]
        assert len(names) == len({*names})


def test_an_answer_that_is_passed_on_loses_what_the_gateway_says_itself() -> None:
    lines = (b"Date: x", b"Location: /l", b"Set-Cookie: a", b"Set-Cookie: b", b"X-Request-ID: i")
    found = passed_on(answer(*lines, b"Connection: X-Hop", b"X-Hop: 1", status=b"302 Found"))
    assert found == [b"Location: /l", b"Set-Cookie: a", b"Set-Cookie: b"]
