"""Strategies for what a client sends: sound requests, near misses, byte soup, each in some segmentation."""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.fuzz.wounds import chances, cuts, pieces, places, rarely, tokens, wounded

PREFIXES = (b"/api/v1/coredinator", b"/api/v1/coretelemetry")


@dataclass(frozen=True)
class Asking:
    """The bytes of one connection, cut at `cuts`.

    `sound`: made of sound requests only, so that none may be refused. `waits`: a request that is not
    complete is left so until the gateway gives up; otherwise the client leaves.
    """

    raw: bytes
    cuts: tuple[int, ...] = ()
    sound: bool = False
    waits: bool = False

    @property
    def pieces(self) -> list[bytes]:
        """The segments."""
        return pieces(self.raw, self.cuts)


_METHODS = (b"GET", b"POST", b"GET", b"PUT", b"HEAD", b"DELETE", b"PATCH", b"OPTIONS")
_SEGMENTS = (
    *(b"a", b"b.c", b"", b"%2F", b"%25", b"%e2%82%AC", b"v;w=1", b"...", b"..a", b"a..", b".", b"-_~"),
    *(b"!$&'()*+,;=:@", b"%252e%252e", b"api/v1/coredinator", b"x" * 300),
)
_QUERIES = (b"", b"", b"", b"?", b"?a=1&b=%20", b"?..", b"?/../", b"??", b"?a=b%00c", b"?x=" + b"y" * 500)
_ELSEWHERE = (b"/", b"/nothing", b"/livez", b"/readyz", b"/openapi.json", b"/api/v1/coredinatorx/a")
_HOSTS = (b"gw.test", b"gw.test:8001", b"[::1]", b"[::1]:80", b"127.0.0.1", b"a:", b"GW.test")
_FIELDS = (
    *(
        b"Accept: */*",
        b"X-A: 1",
        b"X-A: 2",
        b"x-empty:",
        b"X-Tab:\ta\tb\t",
        b"X-Obs: \xe9\xff",
        b"X!#$%&'*+: v",
    ),
    *(b"Cookie: a=1", b"Cookie: b=2; c=3", b"Set-Cookie: a=1", b"Authorization: Basic eDp5"),
    *(b"Connection: close", b"Connection: keep-alive", b"Connection: X-A, close", b"Connection: x-a,,X-B"),
    *(
        b"Connection: host, content-length, transfer-encoding",
        b"Keep-Alive: timeout=5",
        b"TE: trailers, gzip",
    ),
    *(
        b"Trailer: X-T",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABk",
        b"Proxy: http://evil",
        b"Proxy-Connection: x",
    ),
    *(
        b"X_A: 1",
        b"Content_Length: 9",
        b"X-Forwarded-For: 1.2.3.4",
        b"Forwarded: for=1.2.3.4",
        b"X-Real-IP: 1.2.3.4",
    ),
    *(b"Via: 1.0 other", b"X-Request-ID: of-the-client", b"X-Request-ID: not, ok", b"X-Original-URL: /admin"),
    *(b"Expect: 100-continue", b"Max-Forwards: 7", b"Origin: http://o.test", b"traceparent: 00-bad"),
    *(
        b"Accept-Encoding: gzip",
        b"Range: bytes=0-1",
        b"X-Long: " + b"z" * 2000,
        b'X-B: a, "b\\", c',
        b"If-Match: *",
    ),
)
_SINGLE = (b"Authorization", b"Max-Forwards")  # which a sound request has once
_HIDDEN = b"GET /api/v1/coredinator/hidden HTTP/1.1\r\nHost: gw.test\r\n\r\n"
_BODIES = (
    b"",
    b"hello",
    b"0\r\n\r\n",
    _HIDDEN,
    b"\r\n",
    bytes(range(256)),
    b"{}",
    b"y" * 5000,
    b"z" * 100_000,
)
_EXTENSIONS = (b"", b"", b"", b";a=b", b';a="b"', b";")
_TRAILERS = (b"", b"", b"", b"X-T: 1\r\n", b"Content-Length: 3\r\nX-T: 2\r\n")

_TOKENS = (
    *(b"\r", b"\n", b"\0", b" ", b"\t", b":", b"\x0b", b"\x0c", b"\x1c", b"\x7f", b"\x80", b"\xa0", b"\xff"),
    *(
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"\r\r\n",
        b"\r\n ",
        b"\r\n\t",
        b"/",
        b"..",
        b"/../",
        b"%2e%2e",
        b"..%2f",
    ),
    *(
        b"..;",
        b"%c0%ae%c0%ae",
        b"..%20",
        b".%E4.",
        b"\\",
        b"%5c",
        b"#",
        b"?",
        b"%00",
        b"%",
        b"*",
        b"@",
        b"//",
        b"http://",
        b"http://gw.test",
        b"[",
    ),
    *(
        b"HTTP/1.0",
        b"HTTP/1.1",
        b"HTTP/2.0",
        b"HTTP/1.2",
        b"http/1.1",
        b"0",
        b"5",
        b"-",
        b"+",
        b"0x",
        b",",
        b";",
    ),
    *(
        b'"',
        b"_",
        b"GET ",
        b"TRACE ",
        b"CONNECT ",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"chunked",
        b"identity",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length:\r\n",
    ),
    *(
        b"Content-Length : 5\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length: 4294967296\r\n",
    ),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding:\r\n"),
    *(
        b"Transfer-Encoding: xchunked\r\n",
        b"transfer-encoding:\x0bchunked\r\n",
        b"Transfer_Encoding: chunked\r\n",
    ),
    *(b"Host: b\r\n", b"Host: a@b\r\n", b"Host:\r\n", b"Max-Forwards: x\r\n", b"Max-Forwards: 0\r\n"),
    *(
        b"Connection: upgrade\r\n",
        b"Connection: close\r\n",
        b"Upgrade: websocket\r\n",
        b"Expect: 100-continue\r\n",
    ),
    *(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Sec-WebSocket-Version: 13\r\n"),
    *(b"Access-Control-Request-Method: GET\r\nOrigin: http://o.test\r\n", b"X-Request-ID: a\r\n" * 3),
    *(
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\n",
        b"00000000000000000",
        b"f" * 16,
        b"A" * 17_000,
        b"x: y\r\n" * 130,
    ),
    *(
        _HIDDEN,
        b"POST /api/v1/coredinator/hidden HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nhello",
    ),
)

# Each made once: making a strategy costs more than drawing from it.
_token = tokens(_TOKENS)
_bytes = st.binary(min_size=1, max_size=60)
_elsewhere = st.sampled_from(_ELSEWHERE)
_queries = st.sampled_from(_QUERIES)
_bodies = st.sampled_from(_BODIES)
_extensions = st.sampled_from(_EXTENSIONS)
_trailers = st.sampled_from(_TRAILERS)
_methods = st.sampled_from(_METHODS)
_segments = st.lists(st.sampled_from(_SEGMENTS), max_size=3)
_lines = st.lists(st.sampled_from(_FIELDS), max_size=4)
_litter = st.lists(
    st.sampled_from(_TOKENS + _FIELDS + _METHODS + _QUERIES + PREFIXES), min_size=1, max_size=8
)


def _target(draw: DrawFn) -> bytes:
    kind = draw(chances)
    if kind > 58:
        return draw(_elsewhere)
    prefix = PREFIXES[kind > 48]
    segments = draw(_segments)
    path = b"".join(b"/" + segment for segment in segments)
    return prefix + path + draw(_queries)


def _body(draw: DrawFn) -> bytes:
    return draw(_bodies) if draw(chances) < 48 else draw(_bytes)


def _framed(draw: DrawFn, minor: int) -> tuple[list[bytes], bytes]:
    """Framing fields and the body that they announce."""
    kind = draw(chances)
    if kind < 24:
        return [], b""
    body = _body(draw)
    if kind < 44 or not minor:
        return [b"Content-Length: " + (b"0" * (kind == 24)) + b"%d" % len(body)], body
    cut = draw(places) % (len(body) + 1)
    extension = draw(_extensions)
    sizes = b"%X" if kind > 54 else b"%x"
    chunks = [
        sizes % len(part) + extension + b"\r\n" + part + b"\r\n" for part in (body[:cut], body[cut:]) if part
    ]
    last = b"0" * (1 + (kind == 63) * 3) + extension + b"\r\n"
    body = b"".join([*chunks, last, draw(_trailers), b"\r\n"])
    return [b"Transfer-Encoding: chunked"], body


def _request(draw: DrawFn) -> bytes:
    """A request that nothing is wrong with."""
    method = draw(_methods)
    target = _target(draw)
    kind = draw(chances)
    minor = int(kind > 4)
    host = _HOSTS[kind % len(_HOSTS)]
    if kind > 60:
        target = b"http://" + host + target
    lines = draw(_lines)
    lines = [line for at, line in enumerate(lines) if not (line.startswith(_SINGLE) and line in lines[:at])]
    framing, body = _framed(draw, minor)
    lines = [*framing, *lines] if kind & 1 else [*lines, *framing]
    head = [b"%b %b HTTP/1.%d" % (method, target, minor), b"Host: " + host, *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def _sound(draw: DrawFn) -> bytes:
    """One request, or a pipeline of several."""
    number = (1, 1, 1, 1, 1, 1, 2, 3)[draw(chances) % 8]
    requests = [_request(draw) for _ in range(number)]
    return b"".join(b"\r\n" * (draw(chances) == 63) + request for request in requests)


def _soup(draw: DrawFn) -> bytes:
    """Pieces of requests in any order, or just bytes."""
    if draw(chances) < 16:
        return draw(_bytes)
    return b"".join(draw(_litter))


@st.composite
def askings(draw: DrawFn) -> Asking:
    """Anything that a client may send on one connection."""
    kind = draw(chances)
    raw = _soup(draw) if kind > 53 else _sound(draw)
    if 18 <= kind <= 53:
        raw = wounded(draw, raw, _token)
    return Asking(raw, cuts(draw, raw), sound=kind < 18, waits=rarely(draw))
