import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.http1.grammar import CHUNKED, MAX_FIELDS, MalformedHTTP, TooManyFields, has_broken_line
from coregateway.http1.request import RequestHead

quick = settings(max_examples=200, deadline=None, derandomize=True)

HOST = b"Host: gw.test"


def head(*fields: bytes, start: bytes = b"GET /x HTTP/1.1") -> RequestHead:
    return RequestHead(b"\r\n".join((start, HOST, *fields)))


def on_host(host: bytes) -> RequestHead:
    return RequestHead(b"GET /x HTTP/1.1\r\nHost: " + host)


# The request line


@pytest.mark.parametrize(
    ("line", "method", "target", "path"),
    [
        (b"GET / HTTP/1.1", "GET", b"/", "/"),
        (b"GET /x?a=1&a=2 HTTP/1.1", "GET", b"/x?a=1&a=2", "/x"),
        (b"GET /x? HTTP/1.1", "GET", b"/x?", "/x"),
        (b"GET /x?y?z=/.. HTTP/1.1", "GET", b"/x?y?z=/..", "/x"),
        (b"GET //x///y// HTTP/1.1", "GET", b"//x///y//", "//x///y//"),
        (b"GET /%2e%2E/%zz/% HTTP/1.1", "GET", b"/%2e%2E/%zz/%", "/%2e%2E/%zz/%"),
        (b"GET /a:b@c;d=e,f!$&'()*+ HTTP/1.1", "GET", b"/a:b@c;d=e,f!$&'()*+", "/a:b@c;d=e,f!$&'()*+"),
        (b"GET /http://other/ HTTP/1.1", "GET", b"/http://other/", "/http://other/"),
        (b"OPTIONS * HTTP/1.1", "OPTIONS", b"*", "*"),
        (b"get /x HTTP/1.1", "get", b"/x", "/x"),
        (b"M-SEARCH! /x HTTP/1.1", "M-SEARCH!", b"/x", "/x"),
        (b"GET http://gw.test/x?y HTTP/1.1", "GET", b"/x?y", "/x"),
        (b"GET HTTP://GW.Test/x HTTP/1.1", "GET", b"/x", "/x"),
        (b"GET http://gw.test//evil.test/x HTTP/1.1", "GET", b"//evil.test/x", "//evil.test/x"),
    ],
)
def test_a_request_line_is_taken_byte_for_byte(line: bytes, method: str, target: bytes, path: str) -> None:
    parsed = head(start=line)
    assert (parsed.method, parsed.target, parsed.path, parsed.minor) == (method, target, path, 1)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET",
        b"GET /x",
        b"GET  /x HTTP/1.1",
        b"GET /x  HTTP/1.1",
        b"GET\t/x HTTP/1.1",
        b"GET /x\tHTTP/1.1",
        b" GET /x HTTP/1.1",
        b"GET /x HTTP/1.1 ",
        b"GET /x y HTTP/1.1",
        b" /x HTTP/1.1",
        b"GET HTTP/1.1",
        b"G(T /x HTTP/1.1",
        b"G\xc9T /x HTTP/1.1",
        b"GET: /x HTTP/1.1",
        b"GET /x HTTP/1.2",
        b"GET /x HTTP/2.0",
        b"GET /x HTTP/0.9",
        b"GET /x HTTP/1.10",
        b"GET /x HTTP/01.1",
        b"GET /x HTTP/1.1x",
        b"GET /x http/1.1",
        b"GET /x HTTPS/1.1",
        b"GET /x ICY",
        b"\r\nGET /x HTTP/1.1",
        b"GET /x#y HTTP/1.1",
        b"GET /x?y#z HTTP/1.1",
        b"GET /x\0 HTTP/1.1",
        b"GET /x\x01 HTTP/1.1",
        b"GET /x\x7f HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET x HTTP/1.1",
        b"GET ?x HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET *x HTTP/1.1",
        b"OPTIONS *x HTTP/1.1",
        b"GET :80/x HTTP/1.1",
        b"CONNECT gw.test:80 HTTP/1.1",
        b"PRI * HTTP/2.0",
    ],
)
def test_any_other_request_line_is_refused(line: bytes) -> None:
    with pytest.raises(MalformedHTTP):
        head(start=line)


@pytest.mark.parametrize(
    "target",
    [
        b"http://other.test/x",
        b"http://gw.test:8001/x",
        b"http://gw.test.evil.test/x",
        b"http://user@gw.test/x",
        b"http://gw.test@evil.test/x",
        b"http://gw.test#@evil.test/x",
        b"http://gw.test/x#y",
        b"http:///x",
        b"http:/x",
        b"http:x",
        b"://gw.test/x",
        b"https://gw.test/x",
        b"ftp://gw.test/x",
        b"ws://gw.test/x",
    ],
)
def test_an_absolute_target_must_name_what_host_names(target: bytes) -> None:
    with pytest.raises(MalformedHTTP):
        head(start=b"GET " + target + b" HTTP/1.1")


def test_an_absolute_target_may_name_an_address_with_a_port() -> None:
    parsed = RequestHead(b"GET http://[::1]:8001/x HTTP/1.1\r\nHost: [::1]:8001")
    assert parsed.target == b"/x"


def test_an_absolute_target_without_a_host_is_refused_even_where_no_host_field_is_needed() -> None:
    with pytest.raises(MalformedHTTP):
        RequestHead(b"GET http:///x HTTP/1.0")


# Field lines


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"X-A",
        b":",
        b": v",
        b"X-A : v",
        b"X-A\t: v",
        b" X-A: v",
        b"\tX-A: v",
        b" folded",
        b"X A: v",
        b"X(A): v",
        b'"X-A": v',
        b"X-A\0: v",
        b"X\xe9: v",
        b"X-A: \0",
        b"X-A: a\x01b",
        b"X-A: a\x0bb",
        b"X-A: a\x7fb",
        b"X-A: a\rb",
        b"X-A: a\nb",
        b"X-A: a\n",
        b"X-A: a\r",
        b"\r",
        b"X-A: a\nX-B: b",
        b"X-A: a\rX-B: b",
        b"X-A: a\r\r\nX-B: b",
    ],
)
def test_a_line_that_two_parsers_could_read_differently_is_refused(line: bytes) -> None:
    for fields in ((line,), (b"X-First: 1", line), (line, b"X-Last: 1")):
        with pytest.raises(MalformedHTTP):
            head(*fields)


@pytest.mark.parametrize(
    "line",
    [
        b"X-A:",
        b"X-A: ",
        b"X-A:v",
        b"X-A: \t v \t ",
        b"X-A: a\tb",
        b'X-A: a, b;c="d\\"e"',
        b"X-A: :",
        b"X-A: caf\xe9 \x80\xff",
        b"!#$%&'*+-.^`|~09AZaz: odd but a token",
        b"Cookie: a=1; b=2",
        b"Authorization: Basic eA==",
        b"Range: bytes=0-,1-",
        b"Forwarded-To: a field of its own",
        b"X-Real-IP-Reason: likewise",
        b"X-Forwarded: likewise",
        b"Upgrade-Insecure-Requests: 1",
        b"Origin: https://app.test",
        b"Max-Forwards: 4",
        b"Sec-WebSocket-Key: x",
        b"Sec-WebSocket-Version: 13",
        b"Access-Control-Request-Method: PUT",
    ],
)
def test_an_end_to_end_line_passes_with_its_case_and_spacing(line: bytes) -> None:
    assert head(line).lines == [line]


def test_repeated_fields_stay_apart_and_in_order() -> None:
    lines = [b"Cookie: b=2", b"X-A: 1", b"cookie: a=1", b"x-a: 0", b"X-A: 1"]
    assert head(*lines).lines == lines


@pytest.mark.parametrize(
    "name",
    [
        "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Expect", "HTTP2-Settings", "Via",
        "X-Request-ID", "Proxy", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate",
        "Proxy-Anything", "X-Original-URL", "X-Rewrite-URL",
        "X_A", "Transfer_Encoding", "Content_Length", "X_Forwarded_For", "X-Real_IP", "_", "A_",
    ],
)  # fmt: skip
def test_a_field_for_this_hop_or_for_the_gateway_does_not_pass(name: str) -> None:
    for spelling in (name, name.upper(), name.lower()):
        parsed = head(b"X-A: 1", spelling.encode() + b": v", b"X-B: 2")
        assert parsed.lines == [b"X-A: 1", b"X-B: 2"]
        assert parsed.forwarding == []


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For", "X-Forwarded-Proto", "x-forwarded-host", "X-FORWARDED-PORT", "X-Forwarded-",
        "Forwarded", "x-real-ip",
    ],
)  # fmt: skip
def test_what_a_proxy_may_say_of_its_client_is_set_aside(name: str) -> None:
    parsed = head(name.encode() + b": \t a, b \t", name.encode() + b":")
    assert parsed.lines == []
    assert parsed.forwarding == [(name.lower().encode(), b"a, b"), (name.lower().encode(), b"")]


@pytest.mark.parametrize(
    "name", ["X-Forwarded-F_or", "X-Forwarded-For_", "X-Forwarded_For", "Forwarded_", "X-Real-IP_"]
)
def test_an_underscore_drops_a_field_also_where_a_proxy_may_be_trusted(name: str) -> None:
    parsed = head(name.encode() + b": 10.0.0.1")
    assert (parsed.lines, parsed.forwarding) == ([], [])


def test_noted_values_lose_their_surrounding_space_and_are_joined() -> None:
    parsed = head(b"connection:\t close \t", b"CONNECTION: X-A", b"Via:", b"Origin:  a\tb ")
    assert parsed.noted[b"connection"] == b"close, X-A"
    assert parsed.noted[b"via"] == b""
    assert parsed.noted[b"origin"] == b"a\tb"


@pytest.mark.parametrize("name", [b"Host", b"Content-Length", b"Transfer-Encoding", b"Authorization"])
def test_what_must_be_single_is_refused_when_repeated(name: bytes) -> None:
    values = {b"Host": b"gw.test", b"Content-Length": b"5", b"Transfer-Encoding": b"chunked"}
    line = name + b": " + values.get(name, b"Basic eA==")
    fields = [line] if name == b"Host" else [line, line.upper()]
    with pytest.raises(MalformedHTTP, match=f"^two {name.decode()} fields$"):
        head(*fields)


def test_as_many_fields_as_the_limit_pass_and_one_more_does_not() -> None:
    fields = [b"X: %d" % number for number in range(MAX_FIELDS - 1)]
    assert head(*fields).lines == fields
    with pytest.raises(TooManyFields):
        head(*fields, b"X: one more")


# Host


@pytest.mark.parametrize(
    "host",
    [
        b"gw.test",
        b"GW.test:8001",
        b"gw.test:",
        b"my_service:80",
        b"127.0.0.1:65535",
        b"localhost.",
        b"[::1]",
        b"[::1]:8001",
        b"[2001:DB8::1]",
        b"[::ffff:127.0.0.1]:80",
    ],
)
def test_a_host_by_its_grammar_is_accepted(host: bytes) -> None:
    assert on_host(b"\t " + host + b" \t").noted[b"host"] == host


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b":80",
        b"gw.test, evil.test",
        b"gw.test evil.test",
        b"user@gw.test",
        b"user:pw@gw.test",
        b"gw.test#",
        b"gw.test/",
        b"gw.test/x",
        b"gw.test?x",
        b"gw.test\\x",
        b"http://gw.test",
        b"gw.test:80:80",
        b"gw.test:x",
        b"gw.test:-1",
        b"gw.test:123456",
        b"[::1",
        b"::1",
        b"[::1]x",
        b"[::1]]",
        b"[]",
        b"[gw.test]",
        b"[1.2.3.4]",
        b"[::1::2]",
        b"[fe80::1%eth0]",
        b"[fe80::1%25eth0]",
        b"[12345::]",
        b"gw.t\xe9st",
        b'"gw.test"',
        b"gw%2etest",
    ],
)
def test_any_other_host_is_refused(host: bytes) -> None:
    with pytest.raises(MalformedHTTP):
        on_host(host)


def test_only_http_1_0_may_leave_host_out() -> None:
    assert RequestHead(b"GET /x HTTP/1.0").minor == 0
    with pytest.raises(MalformedHTTP):
        RequestHead(b"GET /x HTTP/1.1")


# Framing


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ([], 0),
        ([b"Content-Length: 0"], 0),
        ([b"Content-Length:\t5 "], 5),
        ([b"Content-Length: 005"], 5),
        ([b"content-length: 999999999999999999"], 999_999_999_999_999_999),
        ([b"Transfer-Encoding: chunked"], CHUNKED),
        ([b"transfer-encoding:\tCHUNKED "], CHUNKED),
    ],
)
def test_a_message_has_one_framing(fields: list[bytes], length: int) -> None:
    parsed = head(*fields, start=b"POST /x HTTP/1.1")
    assert parsed.length == length
    assert parsed.lines == []


@pytest.mark.parametrize(
    "fields",
    [
        [b"Content-Length: " + value]
        for value in (
            b"", b"+5", b"-5", b"0x5", b"0o5", b"5_0", b"5 0", b"5abc", b"5.0", b"5e1", b"5;q=1", b'"5"',
            b"5, 5", b"5,", b",5", b"\xb2", b"\xb9", b"18446744073709551621", b"0" * 19,
        )
    ]
    + [
        [b"Transfer-Encoding: " + value]
        for value in (
            b"", b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"chunked,",
            b", chunked", b"chunked;q=1", b'"chunked"', b"xchunked", b"chunke", b"ch unked", b"\xa0chunked",
        )
    ]
    + [
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 0"],
        [b"Transfer-Encoding: x", b"Content-Length: 5"],
    ],
)  # fmt: skip
def test_doubtful_framing_is_refused(fields: list[bytes]) -> None:
    with pytest.raises(MalformedHTTP):
        head(*fields, start=b"POST /x HTTP/1.1")


def test_http_1_0_knows_no_transfer_coding() -> None:
    with pytest.raises(MalformedHTTP):
        head(b"Transfer-Encoding: chunked", start=b"POST /x HTTP/1.0")


# Single fields


@pytest.mark.parametrize("value", [b"0", b"4", b"0010"])
def test_max_forwards_is_a_number(value: bytes) -> None:
    assert head(b"Max-Forwards: " + value).noted[b"max-forwards"] == value


@pytest.mark.parametrize("value", [b"", b"-1", b"+1", b"x", b"1.0", b"1, 2", b"\xb2"])
def test_max_forwards_that_is_no_number_is_refused(value: bytes) -> None:
    with pytest.raises(MalformedHTTP):
        head(b"Max-Forwards: " + value)


TRACE = b"0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"


@pytest.mark.parametrize(
    "value",
    [
        b"00-" + TRACE + b"-01",
        b"00-" + TRACE + b"-ff",
        b"01-" + TRACE + b"-01",
        b"cc-" + TRACE + b"-00-later",
    ],
)
def test_a_sound_traceparent_passes(value: bytes) -> None:
    assert head(b"Traceparent: " + value).lines == [b"Traceparent: " + value]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        b"ff-" + TRACE + b"-01",
        b"00-" + TRACE,
        b"00-" + TRACE + b"-1",
        b"00-" + TRACE + b"-011",
        b"00-" + TRACE + b"-01-",
        b"00-" + TRACE + b"-01-later",
        b"01-" + TRACE + b"-01.later",
        b"00-" + TRACE.upper() + b"-01",
        b"00-" + b"0" * 32 + TRACE[32:] + b"-01",
        b"00-" + TRACE[:33] + b"0" * 16 + b"-01",
        b"00-" + TRACE + b"-01, 00-" + TRACE + b"-01",
    ],
)
def test_a_malformed_traceparent_is_dropped(value: bytes) -> None:
    assert head(b"X-A: 1", b"Traceparent: " + value, b"X-B: 2").lines == [b"X-A: 1", b"X-B: 2"]


def test_a_second_traceparent_drops_both() -> None:
    line = b"Traceparent: 00-" + TRACE + b"-01"
    assert head(line, b"X-A: 1", line).lines == [b"X-A: 1"]


# The beginning of a head


@pytest.mark.parametrize(
    "beginning",
    [b"\n", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nA: b\nC", b"\0", b"GET \rx", b"a\r\rb", b"\r\r\n"],
)
def test_a_beginning_that_can_only_be_refused_is_seen(beginning: bytes) -> None:
    assert has_broken_line(beginning)


def test_no_beginning_of_a_sound_head_is_called_broken() -> None:
    raw = b"GET /x HTTP/1.1\r\nHost: gw.test\r\nX-A: \t\xe9\r\nX-B:\r\n\r\n"
    RequestHead(raw[:-4])
    assert not any(has_broken_line(raw[:end]) for end in range(len(raw) + 1))


# Whatever comes

_STRICT_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")
_STRICT_START = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-\"$-~]+ HTTP/1\.[01]")

FRAGMENTS = st.sampled_from(
    [
        b"GET / HTTP/1.1", b"POST /x HTTP/1.0", b"GET", b" ", b"/", b"HTTP/1.1", b"\r\n", b"\r\n", b"\r\n",
        b"\r", b"\n", b"\0", b"\t", b":", b"Host: gw.test", b"Host", b"Content-Length: 5",
        b"Transfer-Encoding: chunked", b"Connection: close", b"X-A: v", b"X_A: v", b"\xe9", b"\x7f", b",",
        b"#", b"http://gw.test/", b"X-Forwarded-For: 1.2.3.4", b"traceparent: x",
    ]
)  # fmt: skip


def test_a_head_is_the_same_with_the_empty_line_that_ends_it() -> None:
    raw = b"GET /x?y HTTP/1.1\r\nHost: gw.test\r\nX-A: 1"
    with_end, without = RequestHead(raw + b"\r\n\r\n"), RequestHead(raw)
    for name in ("method", "target", "path", "minor", "length", "lines", "forwarding", "noted"):
        assert getattr(with_end, name) == getattr(without, name)
    with pytest.raises(MalformedHTTP):
        RequestHead(raw + b"\r\n\r\n\r\n")


@pytest.mark.parametrize("origin", [None, b"https://a.example"])
def test_a_condensed_head_keeps_what_an_answer_needs_and_lets_go_of_the_rest(origin: bytes | None) -> None:
    fields = [b"X-A: 1", b"X-Forwarded-For: 192.0.2.1", b"Connection: x-b"]
    parsed = head(*fields, *([b"Origin: " + origin] if origin else []), start=b"HEAD /x?y HTTP/1.1")
    before = parsed.method, parsed.minor, parsed.length, parsed.target, parsed.path, parsed.raw
    parsed.condense()
    assert (parsed.method, parsed.minor, parsed.length, parsed.target, parsed.path, parsed.raw) == before
    assert (parsed.lines, parsed.forwarding) == ([], [])
    assert parsed.noted == ({b"origin": origin} if origin else {})


@quick
@given(st.lists(FRAGMENTS, max_size=14).map(b"".join))
def test_what_is_accepted_is_strict_and_passes_no_line_that_was_not_there(noise: bytes) -> None:
    for raw in (noise, b"GET /x HTTP/1.1\r\nHost: gw.test\r\n" + noise):
        try:
            parsed = RequestHead(raw)
        except MalformedHTTP:
            continue
        start, *fields = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
        assert _STRICT_START.fullmatch(start)
        assert all(_STRICT_LINE.fullmatch(line) for line in fields)
        names = [line.partition(b":")[0].lower() for line in fields]
        assert names.count(b"host") == 1 or (names.count(b"host") == 0 and start.endswith(b"1.0"))
        assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
        remaining = iter(fields)
        assert all(line in remaining for line in parsed.lines)
        assert not has_broken_line(raw + b"\r\n\r\n")
