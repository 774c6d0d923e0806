import re

import pytest
from hypothesis import settings

from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead
from coregateway.model.exchange import Exchange
from coregateway.model.trace import Tracer
from coregateway.policy.cors import EXPOSED, Cors
from coregateway.proxy.headers import Inbound, Outbound, Outgoing, asks_for_websocket
from coregateway.proxy.response_chain import ResponseChain
from coregateway.proxy.rewriting import CookiePaths, Rewriting, map_location

quick = settings(max_examples=200, deadline=None, derandomize=True)

PREFIX = b"/api/v1/coredinator"
UNDER = Rewriting(PREFIX.decode())
AUTHORITY = b"127.0.0.1:7000"


def request(*fields: bytes, start: bytes = b"GET /api/v1/coredinator/x HTTP/1.1") -> RequestHead:
    return RequestHead(b"\r\n".join((start, b"Host: gw.test:8001", *fields)))


def exchange(*, traced: bool = False) -> Exchange:
    made = Exchange(0.0, "192.0.2.7")
    made.request_id = "id-1"
    made.trace = Tracer(1.0).begin({}) if traced else None
    return made


def outgoing(
    head: RequestHead, *, trusted: bool = False, host: str = "backend", traced: bool = False
) -> Outgoing:
    outbound = Outbound(UNDER, host=host)
    return outbound.render(head, exchange(traced=traced), peer=b"192.0.2.7", trusted=trusted)


def sent(
    head: RequestHead, *, trusted: bool = False, host: str = "backend", trace: bytes = b""
) -> list[bytes]:
    """The lines of what goes to the backend."""
    raw = outgoing(head, trusted=trusted, host=host, traced=bool(trace)).to(AUTHORITY, trace, b"")
    assert raw.endswith(b"\r\n\r\n")
    lines = raw[:-4].split(b"\r\n")
    assert all(lines)
    return lines


@pytest.mark.parametrize("content", [b"", b"hello"])
@pytest.mark.parametrize("trace", [b"", b"traceparent: 00-1-2-00\r\n"])
@pytest.mark.parametrize("host", ["backend", "client"])
def test_a_request_that_was_addressed_says_the_same_to_the_byte(
    content: bytes, trace: bytes, host: str
) -> None:
    rendered = outgoing(request(b"Content-Length: 5", b"A: b"), host=host, traced=bool(trace))
    expected = rendered.to(AUTHORITY, trace, content)
    rendered.address(AUTHORITY, trace)
    assert rendered.to(AUTHORITY, trace, content) == expected
    assert rendered.host(AUTHORITY) == (AUTHORITY if host == "backend" else b"gw.test:8001")


def test_a_rendered_request_says_what_content_goes_either_way() -> None:
    assert outgoing(request()).empty
    assert not outgoing(request(b"Content-Length: 5")).empty
    assert not outgoing(request(b"Transfer-Encoding: chunked")).empty
    assert outgoing(request(start=b"HEAD /api/v1/coredinator/x HTTP/1.1")).bodiless
    assert not outgoing(request()).bodiless


def values(lines: list[bytes], name: bytes) -> list[bytes]:
    pairs = [line.partition(b":") for line in lines[1:]]
    return [value.strip(b" ") for found, _, value in pairs if found.lower() == name]


OWN = [
    b"X-Forwarded-For: 192.0.2.7",
    b"X-Forwarded-Proto: http",
    b"X-Forwarded-Host: gw.test:8001",
    b"X-Forwarded-Prefix: /api/v1/coredinator",
    b"Via: 1.1 coregateway",
    b"X-Request-ID: id-1",
]


# To the backend


def test_nothing_is_added_but_what_the_contract_names() -> None:
    assert sent(request()) == [b"GET /x HTTP/1.1", b"Host: 127.0.0.1:7000", *OWN]


def test_the_client_s_own_lines_pass_untouched_and_in_order() -> None:
    fields = [b"accept:*/*", b"Cookie: b=2", b"X-A: \t caf\xe9 ", b"X-Empty:", b"cookie: a=1"]
    assert sent(request(*fields)) == [b"GET /x HTTP/1.1", b"Host: 127.0.0.1:7000", *fields, *OWN]


@pytest.mark.parametrize(
    ("target", "forwarded"),
    [
        (b"/api/v1/coredinator/x?a=1&b=%2F&a=2", b"/x?a=1&b=%2F&a=2"),
        (b"/api/v1/coredinator", b"/"),
        (b"/api/v1/coredinator/", b"/"),
        (b"/api/v1/coredinator?q=/x", b"/?q=/x"),
        (b"/api/v1/coredinator/?", b"/?"),
        (b"/api/v1/coredinator//x//", b"//x//"),
        (b"/api/v1/coredinator/%2e%2f%zz;a=b", b"/%2e%2f%zz;a=b"),
        (b"/api/v1/coredinator/api/v1/coredinator/x", b"/api/v1/coredinator/x"),
        (b"http://gw.test:8001/api/v1/coredinator/x?y", b"/x?y"),
    ],
)
def test_the_target_is_what_stands_behind_the_prefix(target: bytes, forwarded: bytes) -> None:
    lines = sent(request(start=b"PATCH " + target + b" HTTP/1.1"))
    assert lines[0] == b"PATCH " + forwarded + b" HTTP/1.1"


def test_host_is_the_backend_s_unless_the_client_s_is_wanted() -> None:
    assert values(sent(request()), b"host") == [AUTHORITY]
    assert values(sent(request(), host="client"), b"host") == [b"gw.test:8001"]
    without_host = RequestHead(b"GET /api/v1/coredinator/x HTTP/1.0")
    assert values(sent(without_host, host="client"), b"host") == [AUTHORITY]


@pytest.mark.parametrize(
    ("field", "framing"),
    [
        (b"Content-Length: 005", [b"Content-Length: 5"]),
        (b"Content-Length: 0", [b"Content-Length: 0"]),
        (b"transfer-encoding: Chunked", [b"Transfer-Encoding: chunked"]),
        (b"Connection: content-length, transfer-encoding, host", []),
        (b"Content-Length: 5\r\nConnection: Content-Length", [b"Content-Length: 5"]),
    ],
)
def test_framing_is_written_anew(field: bytes, framing: list[bytes]) -> None:
    lines = sent(request(field, start=b"POST /api/v1/coredinator/x HTTP/1.1"))
    assert [line for line in lines if line.startswith((b"Content-Length", b"Transfer-Encoding"))] == framing
    assert values(lines, b"host") == [AUTHORITY]


@pytest.mark.parametrize(
    "connection",
    [
        [b"Connection: X-Secret"],
        [b"Connection: close,x-SECRET"],
        [b"connection:\t,, \tX-Secret\t ,"],
        [b"Connection: keep-alive", b"CONNECTION:x-secret"],
        [b"Connection: Upgrade, X-Secret", b"Upgrade: foo/1"],
    ],
)
def test_what_connection_names_does_not_reach_the_backend(connection: list[bytes]) -> None:
    lines = sent(request(b"x-secret: 1", *connection, b"X-Secrets: 2", b"X-SECRET:3"))
    assert lines[1:3] == [b"Host: 127.0.0.1:7000", b"X-Secrets: 2"]
    assert not any(values(lines, name) for name in (b"connection", b"upgrade", b"x-secret"))


def test_connection_cannot_take_away_what_the_gateway_adds() -> None:
    names = b"Via, X-Request-ID, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Prefix"
    assert sent(request(b"Connection: " + names))[2:] == OWN


@pytest.mark.parametrize(
    ("start", "maximum", "passed"),
    [
        (b"OPTIONS", b"4", [b"3"]),
        (b"OPTIONS", b"1", [b"0"]),
        (b"OPTIONS", b"010", [b"9"]),
        (b"GET", b"4", [b"4"]),
        (b"GET", b"0", [b"0"]),
    ],
)
def test_max_forwards_is_counted_down_once_where_it_has_a_meaning(
    start: bytes, maximum: bytes, passed: list[bytes]
) -> None:
    head = request(
        b"X-A: 1", b"max-forwards: " + maximum, b"X-B: 2", start=start + b" /api/v1/coredinator/x HTTP/1.1"
    )
    lines = sent(head)
    assert values(lines, b"max-forwards") == passed
    assert values(lines, b"x-a") + values(lines, b"x-b") == [b"1", b"2"]


def test_max_forwards_that_connection_names_is_dropped() -> None:
    fields = (b"Max-Forwards: 4", b"Connection: Max-Forwards")
    assert sent(request(*fields, start=b"OPTIONS /api/v1/coredinator/x HTTP/1.1"))[2:] == OWN


@pytest.mark.parametrize(
    ("fields", "via"),
    [
        ([], b"1.1 coregateway"),
        ([b"Via: 1.0 fred"], b"1.0 fred, 1.1 coregateway"),
        ([b"via: 1.0 a, 1.1 b.test (x)", b"VIA:\t2 c "], b"1.0 a, 1.1 b.test (x), 2 c, 1.1 coregateway"),
        ([b"Via:"], b"1.1 coregateway"),
        ([b"Via: 1.0 fred", b"Connection: via"], b"1.0 fred, 1.1 coregateway"),
    ],
)
def test_via_is_appended_to(fields: list[bytes], via: bytes) -> None:
    assert values(sent(request(*fields)), b"via") == [via]


def test_via_tells_the_protocol_that_the_client_spoke() -> None:
    head = RequestHead(b"GET /api/v1/coredinator/x HTTP/1.0\r\nHost: gw.test")
    assert sent(head)[0].endswith(b" HTTP/1.1")
    assert values(sent(head), b"via") == [b"1.0 coregateway"]


FROM_OUTSIDE = [
    b"X-Forwarded-For: 203.0.113.9",
    b"x-forwarded-for: 10.0.0.1",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: api.test",
    b"X-Forwarded-Port: 443",
    b"X-Forwarded-Prefix: /edge/",
    b"Forwarded: for=203.0.113.9",
    b"X-Real-IP: 203.0.113.9",
]


def test_a_stranger_s_word_about_the_client_is_replaced() -> None:
    assert sent(request(*FROM_OUTSIDE))[2:] == OWN


def test_a_trusted_proxy_s_word_is_passed_on_and_appended_to() -> None:
    lines = sent(request(*FROM_OUTSIDE), trusted=True)
    assert values(lines, b"x-forwarded-for") == [b"203.0.113.9, 10.0.0.1, 192.0.2.7"]
    assert values(lines, b"x-forwarded-proto") == [b"https"]
    assert values(lines, b"x-forwarded-host") == [b"api.test"]
    assert values(lines, b"x-forwarded-port") == [b"443"]
    assert values(lines, b"x-forwarded-prefix") == [b"/edge/api/v1/coredinator"]
    assert values(lines, b"forwarded") == [b"for=203.0.113.9"]
    assert values(lines, b"x-real-ip") == [b"203.0.113.9"]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [b"X-Forwarded-For:"],
        [b"X-Forwarded-Proto: ", b"X-Forwarded-Host:\t", b"X-Forwarded-Prefix:", b"Forwarded:"],
    ],
)
def test_what_a_trusted_proxy_leaves_open_is_filled_in(fields: list[bytes]) -> None:
    assert sorted(sent(request(*fields), trusted=True)[2:]) == sorted(OWN)


def test_an_empty_entry_of_a_trusted_proxy_s_list_is_left_out() -> None:
    lines = sent(request(b"X-Forwarded-For:", b"X-Forwarded-For: 203.0.113.9"), trusted=True)
    assert values(lines, b"x-forwarded-for") == [b"203.0.113.9, 192.0.2.7"]


def test_a_trusted_proxy_s_list_has_each_address_in_one_spelling() -> None:
    fields = (
        b"X-Forwarded-For: ::ffff:203.0.113.9, 2001:db8::1",
        b"x-forwarded-for: [::FFFF:c000:201]:4711",
        b'Forwarded: for="[::ffff:203.0.113.9]"',
        b"X-Real-IP: ::ffff:203.0.113.9",
        b"X-Forwarded-Host: [::ffff:203.0.113.9]",
    )
    lines = sent(request(*fields), trusted=True)
    assert values(lines, b"x-forwarded-for") == [b"203.0.113.9, 2001:db8::1, 192.0.2.1:4711, 192.0.2.7"]
    assert values(lines, b"forwarded") == [b'for="203.0.113.9"']
    assert values(lines, b"x-real-ip") == [b"203.0.113.9"]
    assert values(lines, b"x-forwarded-host") == [b"[::ffff:203.0.113.9]"]  # as the client called it


# WebSocket

WS = (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


@pytest.mark.parametrize(
    "fields",
    [
        WS,
        (*WS, b"Sec-WebSocket-Version: 13"),
        (b"upgrade: WebSocket", b"connection: keep-alive ,\tUPGRADE", WS[2]),
        (*WS, b"Content-Length: 0"),
    ],
)
def test_a_websocket_is_recognised(fields: tuple[bytes, ...]) -> None:
    head = request(*fields)
    assert asks_for_websocket(head)
    lines = sent(head)
    assert values(lines, b"connection") == [b"Upgrade"]
    assert values(lines, b"upgrade") == [b"websocket"]
    assert values(lines, b"sec-websocket-key") == [b"dGhlIHNhbXBsZSBub25jZQ=="]


@pytest.mark.parametrize(
    ("start", "fields"),
    [
        (b"GET /x HTTP/1.1", ()),
        (b"GET /x HTTP/1.1", WS[:1] + WS[2:]),
        (b"GET /x HTTP/1.1", WS[1:]),
        (b"GET /x HTTP/1.1", WS[:2]),
        (b"GET /x HTTP/1.1", (b"Upgrade: h2c", *WS[1:])),
        (b"GET /x HTTP/1.1", (b"Upgrade: websocket, h2c", *WS[1:])),
        (b"GET /x HTTP/1.1", (b"Upgrade: h2c", *WS)),
        (b"GET /x HTTP/1.1", (b"Upgrade: websocket/13", *WS[1:])),
        (b"GET /x HTTP/1.1", (WS[0], b"Connection: Upgrades", WS[2])),
        (b"GET /x HTTP/1.0", WS),
        (b"POST /x HTTP/1.1", WS),
        (b"GET /x HTTP/1.1", (*WS, b"Content-Length: 5")),
        (b"GET /x HTTP/1.1", (*WS, b"Transfer-Encoding: chunked")),
    ],
)
def test_nothing_else_is_a_websocket(start: bytes, fields: tuple[bytes, ...]) -> None:
    assert not asks_for_websocket(request(*fields, start=start))


# To the client

OPEN = Cors(["*"], credentials=False)
OFF = Cors([], credentials=False)
SOME = Cors(["https://app.test"], credentials=True)

COMMON = [b"X-CoreRL-Version: 1.2.3", b"X-Request-ID: id-1"]
EXPOSE = b"Access-Control-Expose-Headers: " + EXPOSED


def got(
    *fields: bytes,
    cors: Cors = OFF,
    origin: bytes | None = None,
    start: bytes = b"HTTP/1.1 200 OK",
    maps_cookies: bool = False,
    dated: bool = False,
) -> list[bytes]:
    """The lines of what the client gets; with a `Date` that the gateway adds only if `dated`."""
    rules = [cors.permit] if cors.enabled else []
    rules += [CookiePaths(UNDER).map] if maps_cookies else []
    raw = Inbound(UNDER, "1.2.3", ResponseChain(rules) if rules else None).render(
        ResponseHead(b"\r\n".join((start, *fields))),
        request(*([] if origin is None else [b"Origin: " + origin])),
        exchange(),
        addressed_as=(AUTHORITY,),
        framing=b"Content-Length: 5\r\n",
    )
    assert raw.endswith(b"\r\n\r\n")
    lines = raw[:-4].split(b"\r\n")
    assert all(lines)
    return lines if dated else [line for line in lines if not line.startswith(b"Date: ")]


@pytest.mark.parametrize(
    ("start", "line"),
    [
        (b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK"),
        (b"HTTP/1.0 404 Not  Found", b"HTTP/1.1 404 Not  Found"),
        (b"HTTP/1.1 299", b"HTTP/1.1 299 "),
    ],
)
def test_the_status_line_is_the_backend_s_in_our_version(start: bytes, line: bytes) -> None:
    assert got(start=start)[0] == line


def test_the_backend_s_lines_pass_untouched_and_in_order() -> None:
    fields = [b"Set-Cookie: b=2", b"server:x", b"Set-Cookie: a=1", b"X-A: \t\xe9 ", b"X_B:"]
    assert got(*fields) == [b"HTTP/1.1 200 OK", *fields, b"Content-Length: 5", *COMMON]


def test_the_gateway_s_own_fields_take_the_place_of_the_backend_s() -> None:
    fields = (b"x-request-id: theirs", b"X-CORERL-VERSION: 0", b"X-CoreGateway-Error: read_timeout")
    assert got(*fields) == [b"HTTP/1.1 200 OK", b"Content-Length: 5", *COMMON]


THEIRS = (
    b"access-control-allow-origin: https://evil.test",
    b"Access-Control-Allow-Credentials: true",
    b"X-A: 1",
    b"Access-Control-Anything:",
)


@pytest.mark.parametrize(
    ("cors", "origin", "added"),
    [
        (OPEN, b"https://any.test", [b"Access-Control-Allow-Origin: *", EXPOSE]),
        (OPEN, None, [b"Access-Control-Allow-Origin: *", EXPOSE]),
        (
            SOME,
            b"https://app.test",
            [
                b"Access-Control-Allow-Origin: https://app.test",
                EXPOSE,
                b"Access-Control-Allow-Credentials: true",
                b"Vary: Origin",
            ],
        ),
        (SOME, b"https://evil.test", [b"Vary: Origin"]),
        (SOME, None, [b"Vary: Origin"]),
    ],
)
def test_the_gateway_s_cors_takes_the_place_of_the_backend_s(
    cors: Cors, origin: bytes | None, added: list[bytes]
) -> None:
    lines = got(*THEIRS, cors=cors, origin=origin)
    assert lines == [b"HTTP/1.1 200 OK", b"X-A: 1", b"Content-Length: 5", *added, *COMMON]


def test_the_backend_s_cors_passes_where_the_gateway_s_is_off() -> None:
    theirs = [*THEIRS, b"Access-Control-Expose-Headers: X-A"]
    assert got(*theirs, origin=b"https://app.test")[1:6] == theirs


@pytest.mark.parametrize(
    ("fields", "exposed"),
    [
        ([b"ACCESS-CONTROL-EXPOSE-HEADERS: X-Total"], b", X-Total"),
        ([b"Access-Control-Expose-Headers:ETag,\tX-Total , ,"], b", ETag, X-Total"),
        (
            [b"Access-Control-Expose-Headers: ETag", b"access-control-expose-headers: X-Total, etag"],
            b", ETag, X-Total",
        ),
        ([b"Access-Control-Expose-Headers: *"], b", *"),
        ([b"Access-Control-Expose-Headers: retry-after, X-Total"], b", X-Total"),
        ([b"Access-Control-Expose-Headers: X-CoreRL-Version"], b""),
        ([b"Access-Control-Expose-Headers:"], b""),
        ([b"Access-Control-Expose-Headers: a b, X\xe9, ;, ok"], b", ok"),
        ([b"Access-Control-Expose-Headers: X-A", b"Connection: access-control-expose-headers"], b""),
    ],
)
@pytest.mark.parametrize(("cors", "origin"), [(OPEN, None), (SOME, b"https://app.test")])
def test_what_the_backend_exposes_is_exposed_beside_the_gateway_s_own(
    cors: Cors, origin: bytes | None, fields: list[bytes], exposed: bytes
) -> None:
    lines = got(*fields, b"Access-Control-Allow-Origin: *", cors=cors, origin=origin)
    assert [line for line in lines if b"expose" in line.lower()] == [EXPOSE + exposed]
    assert (b"Access-Control-Allow-Credentials: true" in lines) == (cors is SOME)


@pytest.mark.parametrize("origin", [b"https://evil.test", b"null", None])
def test_nothing_is_exposed_to_an_origin_that_is_not_let_in(origin: bytes | None) -> None:
    lines = got(b"Access-Control-Expose-Headers: X-A", cors=SOME, origin=origin)
    assert [line for line in lines if b"access-control" in line.lower()] == []


@pytest.mark.parametrize(
    ("fields", "vary"),
    [
        ([], [b"Origin"]),
        ([b"Vary: Accept"], [b"Accept", b"Origin"]),
        ([b"Vary: Accept", b"vary: Cookie"], [b"Accept", b"Cookie", b"Origin"]),
        ([b"Vary: Accept,ORIGIN"], [b"Accept,ORIGIN"]),
        ([b"Vary: X-Origin"], [b"X-Origin", b"Origin"]),
        ([b"Vary: Origin", b"Connection: Vary"], [b"Origin"]),
    ],
)
def test_vary_is_added_to_where_answers_differ_by_origin(fields: list[bytes], vary: list[bytes]) -> None:
    assert values(got(*fields, cors=SOME), b"vary") == vary


@pytest.mark.parametrize("cors", [OPEN, OFF])
def test_vary_stays_the_backend_s_where_answers_do_not_differ_by_origin(cors: Cors) -> None:
    assert values(got(b"Vary: Accept", cors=cors, origin=b"https://app.test"), b"vary") == [b"Accept"]


# Location


@pytest.mark.parametrize(
    ("reference", "mapped"),
    [
        # An absolute path outside the prefix
        (b"/", b"/api/v1/coredinator/"),
        (b"/x?y#z", b"/api/v1/coredinator/x?y#z"),
        (b"/caf\xe9", b"/api/v1/coredinator/caf\xe9"),
        (b"/x?u=http://127.0.0.1:7000/", b"/api/v1/coredinator/x?u=http://127.0.0.1:7000/"),
        (b"/\\evil.test/x", b"/api/v1/coredinator/\\evil.test/x"),
        (b"/api/v1/coredinatorX/y", b"/api/v1/coredinator/api/v1/coredinatorX/y"),
        (b"/api/v1/coredinator-2", b"/api/v1/coredinator/api/v1/coredinator-2"),
        (b"/api/v1/coredinator%2Fx", b"/api/v1/coredinator/api/v1/coredinator%2Fx"),
        (b"/api/v1/Coredinator/x", b"/api/v1/coredinator/api/v1/Coredinator/x"),
        (b"/api/v1/coretelemetry/x", b"/api/v1/coredinator/api/v1/coretelemetry/x"),
        # Under the prefix already
        (b"/api/v1/coredinator", b"/api/v1/coredinator"),
        (b"/api/v1/coredinator/x", b"/api/v1/coredinator/x"),
        (b"/api/v1/coredinator?x", b"/api/v1/coredinator?x"),
        (b"/api/v1/coredinator#x", b"/api/v1/coredinator#x"),
        # The backend's own origin
        (b"http://127.0.0.1:7000/x?y#z", b"/api/v1/coredinator/x?y#z"),
        (b"HTTP://127.0.0.1:7000/x", b"/api/v1/coredinator/x"),
        (b"http://127.0.0.1:7000", b"/api/v1/coredinator/"),
        (b"http://127.0.0.1:7000?x", b"/api/v1/coredinator/?x"),
        (b"http://127.0.0.1:7000#x", b"/api/v1/coredinator/#x"),
        (b"http://127.0.0.1:7000//evil.test/x", b"/api/v1/coredinator//evil.test/x"),
        (b"http://127.0.0.1:7000/api/v1/coredinator/x", b"/api/v1/coredinator/x"),
        (b"//127.0.0.1:7000/x", b"/api/v1/coredinator/x"),
        # Elsewhere
        (b"http://127.0.0.1:7001/x", b"http://127.0.0.1:7001/x"),
        (b"http://127.0.0.1:70000/x", b"http://127.0.0.1:70000/x"),
        (b"http://127.0.0.1/x", b"http://127.0.0.1/x"),
        (b"http://127.0.0.1:80/x", b"http://127.0.0.1:80/x"),
        (b"http://127.0.0.1:7000.evil.test/x", b"http://127.0.0.1:7000.evil.test/x"),
        (b"http://user@127.0.0.1:7000/x", b"http://user@127.0.0.1:7000/x"),
        (b"http://127.0.0.1:7000@evil.test/x", b"http://127.0.0.1:7000@evil.test/x"),
        (b"http://evil.test?127.0.0.1:7000/x", b"http://evil.test?127.0.0.1:7000/x"),
        (b"ftp://127.0.0.1:7000/x", b"ftp://127.0.0.1:7000/x"),
        (b"//evil.test/x", b"//evil.test/x"),
        (b"///x", b"///x"),
        # Relative to the request, or no reference to a place at all
        (b"", b""),
        (b"x/y", b"x/y"),
        (b"./x", b"./x"),
        (b"../x", b"../x"),
        (b"?x=/y", b"?x=/y"),
        (b"#x", b"#x"),
        (b"127.0.0.1:7000/x", b"127.0.0.1:7000/x"),
        (b"http:/x", b"http:/x"),
        (b"http:x", b"http:x"),
        (b"mailto:x@127.0.0.1:7000", b"mailto:x@127.0.0.1:7000"),
    ],
)
def test_a_reference_of_the_backend_to_itself_is_mapped_under_the_prefix(
    reference: bytes, mapped: bytes
) -> None:
    assert map_location(reference, UNDER, (AUTHORITY,)) == mapped
    for name in (b"Location", b"content-location"):
        assert values(got(name + b":" + reference), name.lower()) == [mapped]


def test_locations_keep_their_place_their_name_and_their_number() -> None:
    lines = [
        b"X-A: 1",
        b"location: /x",
        b"X-B: 2",
        b"Location:\t/y ",
        b"CONTENT-LOCATION:/z",
        b"X-Location: /x",
    ]
    assert got(*lines)[1:7] == [
        b"X-A: 1",
        b"location: /api/v1/coredinator/x",
        b"X-B: 2",
        b"Location: /api/v1/coredinator/y",
        b"CONTENT-LOCATION: /api/v1/coredinator/z",
        b"X-Location: /x",
    ]


def test_a_location_that_connection_names_is_dropped() -> None:
    assert values(got(b"Location: /x", b"Connection: location"), b"location") == []


COOKIES = (
    b"Set-Cookie: b=2; Path=/",
    b"X-A: /; Path=/",
    b"set-cookie: a=1",
    b"Set-Cookie: c=3; path=/c;Secure",
)


def test_cookies_pass_untouched_unless_their_paths_are_to_be_mapped() -> None:
    assert got(*COOKIES)[1:5] == list(COOKIES)


def test_the_paths_of_cookies_are_mapped_in_their_places_where_the_setting_says_so() -> None:
    assert got(*COOKIES, maps_cookies=True)[1:5] == [
        b"Set-Cookie: b=2; Path=/api/v1/coredinator/",
        b"X-A: /; Path=/",
        b"set-cookie: a=1",
        b"Set-Cookie: c=3; path=/api/v1/coredinator/c;Secure",
    ]


IMF_FIXDATE = re.compile(rb"Date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT")


@pytest.mark.parametrize(
    "fields",
    [[], [b"X-Date: x"], [b"Date: Sun, 06 Nov 1994 08:49:37 GMT", b"Connection: date"]],
)
@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK", b"HTTP/1.0 304 x", b"HTTP/1.1 503 x"])
def test_a_response_without_a_date_gets_one(fields: list[bytes], start: bytes) -> None:
    (date,) = [line for line in got(*fields, start=start, dated=True) if line.lower().startswith(b"date:")]
    assert IMF_FIXDATE.fullmatch(date)


@pytest.mark.parametrize(
    "date",
    [b"Date: Sun, 06 Nov 1994 08:49:37 GMT", b"date:Sunday, 06-Nov-94 08:49:37 GMT", b"DATE: whenever"],
)
def test_the_date_of_the_backend_is_kept_as_it_sent_it(date: bytes) -> None:
    lines = got(date, dated=True)
    assert [line for line in lines if line.lower().startswith(b"date:")] == [date]
