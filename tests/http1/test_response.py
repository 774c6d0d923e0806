import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.http1.grammar import CHUNKED, UNTIL_CLOSE, MalformedHTTP
from coregateway.http1.response import ResponseHead

quick = settings(max_examples=200, deadline=None, derandomize=True)


def head(*fields: bytes, start: bytes = b"HTTP/1.1 200 OK", bodiless: bool = False) -> ResponseHead:
    return ResponseHead(b"\r\n".join((start, *fields)), bodiless=bodiless)


# The status line


@pytest.mark.parametrize(
    ("line", "status", "reason", "minor"),
    [
        (b"HTTP/1.1 200 OK", 200, b"OK", 1),
        (b"HTTP/1.0 404 Not Found", 404, b"Not Found", 0),
        (b"HTTP/1.1 200 ", 200, b"", 1),
        (b"HTTP/1.1 200", 200, b"", 1),
        (b"HTTP/1.1 200  two spaces ", 200, b" two spaces ", 1),
        (b"HTTP/1.1 418 I'm a th\xe9i\xe8re\t", 418, b"I'm a th\xe9i\xe8re\t", 1),
        (b"HTTP/1.1 599 Own", 599, b"Own", 1),
    ],
)
def test_status_and_reason_come_as_the_backend_sent_them(
    line: bytes, status: int, reason: bytes, minor: int
) -> None:
    parsed = head(start=line)
    assert (parsed.status, parsed.reason, parsed.minor) == (status, reason, minor)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"200 OK",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 +20 OK",
        b"HTTP/1.1 20\xb2 OK",
        b"HTTP/1.1 200\tOK",
        b"HTTP/1.1 200OK",
        b"HTTP/2 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/0.9 200 OK",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b" HTTP/1.1 200 OK",
        b"\r\nHTTP/1.1 200 OK",
        b"HTTP/1.1 200 O\0K",
        b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 200 O\nK",
        b"HTTP/1.1 200 O\x7fK",
    ],
)
def test_any_other_status_line_is_no_http(line: bytes) -> None:
    with pytest.raises(MalformedHTTP):
        head(start=line)


# Field lines


@pytest.mark.parametrize(
    "line",
    [
        b"", b"X-A", b": v", b"X-A : v", b" X-A: v", b" folded", b"X A: v", b"X\xe9: v", b"X-A: \0",
        b"X-A: a\x01b", b"X-A: a\x7f", b"X-A: a\rb", b"X-A: a\nb", b"X-A: a\r", b"X-A: a\n", b"\r",
        b"X-A: a\nSet-Cookie: b",
    ],
)  # fmt: skip
def test_a_line_that_two_parsers_could_read_differently_is_refused(line: bytes) -> None:
    for fields in ((line,), (b"X-First: 1", line), (line, b"X-Last: 1")):
        with pytest.raises(MalformedHTTP):
            head(*fields)


def test_lines_pass_with_their_case_their_spacing_and_in_order() -> None:
    lines = [
        b"Set-Cookie: b=2; Path=/",
        b"server:nginx",
        b"Set-Cookie: a=1",
        b"X-Empty:",
        b"X-Odd: \t caf\xe9 \t ",
        b"set-cookie: b=2; Path=/",
        b"Vary: Accept",
        b"vary: Origin",
        b"X_Under: score",
        b"Location: /x",
        b"Content-Location:\t/y ",
        b"Location: /z",
        b"WWW-Authenticate: Basic",
        b"Content-Encoding: gzip",
    ]
    assert head(*lines).lines == lines


@pytest.mark.parametrize(
    "name",
    [
        "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Proxy-Connection", "Proxy-Authenticate",
        "Proxy-X", "X-Request-ID", "X-CoreRL-Version", "X-CoreGateway-Error",
    ],
)  # fmt: skip
def test_a_field_for_this_hop_or_of_the_gateway_does_not_pass(name: str) -> None:
    for spelling in (name, name.upper(), name.lower()):
        assert head(b"X-A: 1", spelling.encode() + b": v", b"X-B: 2").lines == [b"X-A: 1", b"X-B: 2"]


@pytest.mark.parametrize(
    "connection",
    [
        [b"Connection: X-Secret"],
        [b"Connection: close, x-SECRET"],
        [b"CONNECTION:X-Secret\t,\tclose,, ,"],
        [b"Connection: keep-alive", b"connection: , x-secret ,"],
    ],
)
def test_what_connection_names_does_not_pass(connection: list[bytes]) -> None:
    fields = [b"X-A: 1", b"x-secret: 1", *connection, b"X-Secret-Not: 1", b"X-SECRET:2"]
    assert head(*fields).lines == [b"X-A: 1", b"X-Secret-Not: 1"]


@pytest.mark.parametrize(("name", "key"), [(b"Vary", b"vary"), (b"Location", b"location")])
def test_what_connection_names_counts_as_not_said(name: bytes, key: bytes) -> None:
    parsed = head(name + b": Origin", b"Connection: " + name)
    assert parsed.lines == []
    assert key not in parsed.noted


def test_connection_cannot_take_the_framing_away() -> None:
    assert head(b"Content-Length: 5", b"Connection: content-length").length == 5
    assert head(b"Transfer-Encoding: chunked", b"Connection: transfer-encoding").length == CHUNKED


def test_as_many_fields_as_the_limit_pass_and_one_more_does_not() -> None:
    fields = [b"X: %d" % number for number in range(1000)]
    assert head(*fields).lines == fields
    with pytest.raises(MalformedHTTP):
        head(*fields, b"X: one more")


# Framing


@pytest.mark.parametrize(
    ("start", "fields", "length", "declared"),
    [
        (b"HTTP/1.1 200 OK", [b"Content-Length:\t5 "], 5, 5),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 0"], 0, 0),
        (b"HTTP/1.0 200 OK", [b"Content-Length: 007"], 7, 7),
        (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: Chunked"], CHUNKED, None),
        (b"HTTP/1.1 200 OK", [], UNTIL_CLOSE, None),
        (b"HTTP/1.0 200 OK", [], UNTIL_CLOSE, None),
        (b"HTTP/1.1 204 No Content", [], 0, None),
        (b"HTTP/1.1 204 No Content", [b"Content-Length: 5"], 0, 5),
        (b"HTTP/1.1 304 Not Modified", [b"Content-Length: 5"], 0, 5),
        (b"HTTP/1.1 304 Not Modified", [b"Transfer-Encoding: chunked"], 0, None),
        (b"HTTP/1.1 100 Continue", [], 0, None),
        (b"HTTP/1.1 103 Early Hints", [b"Content-Length: 5"], 0, 5),
    ],
)
def test_the_body_is_delimited_by_rfc_9112_section_6_3(
    start: bytes, fields: list[bytes], length: int, declared: int | None
) -> None:
    parsed = head(*fields, start=start)
    assert (parsed.length, parsed.declared) == (length, declared)


@pytest.mark.parametrize("fields", [[], [b"Content-Length: 5"], [b"Transfer-Encoding: chunked"]])
def test_an_answer_to_head_has_no_body(fields: list[bytes]) -> None:
    parsed = head(*fields, bodiless=True)
    assert parsed.length == 0
    assert parsed.declared == (5 if fields == [b"Content-Length: 5"] else None)


@pytest.mark.parametrize(
    "fields",
    [
        [b"Content-Length:"],
        [b"Content-Length: +5"],
        [b"Content-Length: -5"],
        [b"Content-Length: 0x5"],
        [b"Content-Length: 5, 5"],
        [b"Content-Length: \xb2"],
        [b"Content-Length: 18446744073709551621"],
        [b"Content-Length: 5", b"content-length: 5"],
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding:"],
        [b"Transfer-Encoding: identity"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: chunked,"],
        [b"Transfer-Encoding: chunked;q=1"],
    ],
)
def test_a_body_that_could_be_delimited_in_two_ways_is_refused(fields: list[bytes]) -> None:
    for bodiless in (False, True):
        with pytest.raises(MalformedHTTP):
            head(*fields, bodiless=bodiless)


def test_a_chunked_answer_in_http_1_0_is_refused() -> None:
    with pytest.raises(MalformedHTTP):
        head(b"Transfer-Encoding: chunked", start=b"HTTP/1.0 200 OK")


# The connection


@pytest.mark.parametrize(
    ("start", "connection", "reusable"),
    [
        (b"HTTP/1.1 200 OK", [], True),
        (b"HTTP/1.1 200 OK", [b"Connection:"], True),
        (b"HTTP/1.1 200 OK", [b"Connection: X-Closer"], True),
        (b"HTTP/1.1 200 OK", [b"Connection: close"], False),
        (b"HTTP/1.1 200 OK", [b"connection: X-A ,\tCLOSE"], False),
        (b"HTTP/1.1 200 OK", [b"Connection: keep-alive", b"Connection: close"], False),
        (b"HTTP/1.0 200 OK", [], False),
        (b"HTTP/1.0 200 OK", [b"Connection: x"], False),
        (b"HTTP/1.0 200 OK", [b"Connection: Keep-Alive"], True),
        (b"HTTP/1.0 200 OK", [b"Connection: keep-alive, close"], False),
    ],
)
def test_the_backend_says_whether_its_connection_lasts(
    start: bytes, connection: list[bytes], reusable: bool
) -> None:
    assert head(*connection, b"Content-Length: 0", start=start).reusable is reusable


# Whatever comes

FRAGMENTS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK", b"HTTP/1.0 304 ", b" ", b"\r\n", b"\r\n", b"\r", b"\n", b"\0", b"\t", b":",
        b"\xe9", b",", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Connection: close, x-a",
        b"X-A: v", b"Set-Cookie: a=b",
    ]
)  # fmt: skip


@quick
@given(st.lists(FRAGMENTS, max_size=12).map(b"".join), st.booleans())
def test_what_is_accepted_is_strict_and_passes_no_line_that_was_not_there(
    noise: bytes, bodiless: bool
) -> None:
    raw = b"HTTP/1.1 200 OK\r\n" + noise
    try:
        parsed = ResponseHead(raw, bodiless=bodiless)
    except MalformedHTTP:
        return
    fields = raw.split(b"\r\n")[1:]
    assert not any(set(line) & set(b"\r\n\0") for line in fields)
    names = [line.partition(b":")[0].lower() for line in fields]
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    remaining = iter(fields)
    assert all(line in remaining for line in parsed.lines)
    assert bodiless is False or parsed.length == 0
