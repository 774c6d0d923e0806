"""Strategies for what a backend answers: sound responses, near misses, surplus, each in some segmentation."""

from dataclasses import dataclass
from typing import Literal

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.fuzz.wounds import chances, cuts, pieces, places, rarely, tokens, wounded

MARK = b"@@@@@"
"""Stands in a response for the number of its exchange."""

type End = Literal["kept", "closed", "reset"]


@dataclass(frozen=True)
class Answering:
    """A request's method and version, and the bytes that a backend answers, cut at `cuts`, and its end.

    `sound`: nothing is wrong with the response, so that it may not become a 502. `waits`: when it is not
    complete, the backend keeps still until the gateway gives up.
    """

    raw: bytes
    cuts: tuple[int, ...] = ()
    end: End = "kept"
    method: bytes = b"GET"
    minor: int = 1
    sound: bool = False
    waits: bool = False

    def pieces(self, number: int) -> list[bytes]:
        """The writes, marked as those of exchange `number`."""
        return pieces(self.marked(number), self.cuts)

    def marked(self, number: int) -> bytes:
        return self.raw.replace(MARK, b"%05d" % number)


_STATUSES = (
    *(
        b"200 OK",
        b"200 OK",
        b"200 ",
        b"200",
        b"201 Created",
        b"204 No Content",
        b"304 Not Modified",
        b"206 Partial Content",
    ),
    *(
        b"404 Not Found",
        b"418 I'm a teapot",
        b"500 Oh \xe9",
        b"503 Service Unavailable",
        b"599 X",
        b"302 Found",
    ),
)
_FIELDS = (
    *(b"Content-Type: text/plain", b"X-A: 1", b"X-A: 2", b"x-empty:", b"X-Obs: \xe9\xff", b"X-Tab:\ta\tb\t"),
    *(
        b"Set-Cookie: a=1; Path=/",
        b"Set-Cookie: b=2",
        b"Set-Cookie: a=1",
        b"Connection: close",
        b"Connection: X-A",
    ),
    *(
        b"Connection: keep-alive",
        b"Keep-Alive: timeout=5",
        b"Trailer: X-T",
        b"Upgrade: h2c",
        b"Proxy-Authenticate: x",
    ),
    *(
        b"X-Request-ID: backend",
        b"X-CoreRL-Version: 9",
        b"X-CoreGateway-Error: fake",
        b"Vary: Accept",
        b"Via: 1.1 b",
    ),
    *(
        b"Access-Control-Allow-Origin: http://o.test",
        b'ETag: "a"',
        b"Location: there",
        b"X-Long: " + b"z" * 3000,
    ),
    *(b"Content-Encoding: gzip", b"Accept-Ranges: bytes", b"Retry-After: 3", b"X_Under: 1", b"Server: nginx"),
)
_INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\n",
)
_STOLEN = b"HTTP/1.1 200 OK\r\nX-Stolen: 1\r\nContent-Length: 6\r\n\r\nstolen"
_BODIES = (b"", b"hello", b"0\r\n\r\n", _STOLEN, b"\r\n", bytes(range(256)), b"y" * 5000, b"z" * 200_000)
_EXTENSIONS = (b"", b"", b"", b";a=b", b";")
_TRAILERS = (b"", b"", b"", b"X-T: 1\r\n", b"Content-Length: 3\r\n")

_TOKENS = (
    *(
        b"\r",
        b"\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"\x0b",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
    ),
    *(
        b"\r\n ",
        b"\r\n\t",
        b"HTTP/1.0",
        b"HTTP/1.1 ",
        b"HTTP/2.0",
        b"HTTP/1.2",
        b"0",
        b"5",
        b"-",
        b"+",
        b"0x",
        b",",
        b";",
    ),
    *(
        b"99",
        b"101",
        b"100",
        b"600",
        b"999",
        b"1000",
        b"204",
        b"304",
        b"200",
        b"HTTP/1.1 101 Switching\r\n\r\n",
    ),
    *(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", _INTERIM[0] * 17, _INTERIM[1]),
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length:\r\n",
    ),
    *(b"Content-Length : 5\r\n", b"Content-Length: 99999999999999999999\r\n", b"Content-Length: +5\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding:\r\n"),
    *(b"Transfer-Encoding: identity\r\n", b"transfer-encoding:\x0bchunked\r\n", b"Connection: close\r\n"),
    *(
        b"Connection: content-length\r\n",
        b"Connection: transfer-encoding, connection\r\n",
        b"X-A: 1\r\n" * 130,
    ),
    *(b"5\r\nhello\r\n", b"0\r\n\r\n", b"00000000000000000", b"f" * 16, b"A" * 66_000, _STOLEN),
)

# Each made once: making a strategy costs more than drawing from it.
_token = tokens(_TOKENS)
_bytes = st.binary(max_size=40)
_statuses = st.sampled_from(_STATUSES)
_bodies = st.sampled_from(_BODIES)
_extensions = st.sampled_from(_EXTENSIONS)
_trailers = st.sampled_from(_TRAILERS)
_lines = st.lists(st.sampled_from(_FIELDS), max_size=4)
_interim = st.lists(st.sampled_from(_INTERIM), max_size=2)
_surplus = st.sampled_from((_STOLEN, _INTERIM[0], b"\r\n", b"x", _STOLEN * 2))
_litter = st.lists(st.one_of(_token, st.sampled_from(_FIELDS)), max_size=6)


def _sound(draw: DrawFn) -> tuple[bytes, bool]:
    """A response that nothing is wrong with; and whether its body lasts until the connection ends."""
    kind = draw(chances)
    status = draw(_statuses)
    lines = [b"X-Mark: " + MARK, *draw(_lines)]
    body = draw(_bodies) if kind % 4 else draw(_bytes)
    minor = int(kind > 3)
    bodiless = status[:3] in (b"204", b"304")
    until_close = False
    if bodiless:
        body = b""
    elif kind > 36 and minor:
        lines.append(b"Transfer-Encoding: chunked")
        cut = draw(places) % (len(body) + 1)
        extension = draw(_extensions)
        chunks = [
            b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in (body[:cut], body[cut:]) if part
        ]
        body = b"".join(chunks) + b"0" + extension + b"\r\n" + draw(_trailers) + b"\r\n"
    elif kind > 8:
        lines.append(b"Content-Length: %d" % len(body))
    else:
        until_close = True
    head = [b"HTTP/1.%d %b" % (minor, status), *(lines if kind & 1 else lines[::-1])]
    interim = b"".join(draw(_interim)) if kind % 8 == 5 else b""
    return interim + b"\r\n".join(head) + b"\r\n\r\n" + body, until_close


@st.composite
def answerings(draw: DrawFn) -> Answering:
    """Anything that a backend may answer to one request."""
    kind = draw(chances)
    method = (b"GET", b"GET", b"POST", b"HEAD")[draw(chances) % 4]
    minor = int(draw(chances) > 6)
    end: End = ("kept", "kept", "kept", "closed", "closed", "reset")[draw(chances) % 6]
    sound = kind < 24
    until_close = False
    if sound:
        raw, until_close = _sound(draw)
        if until_close:
            end = "closed"
        elif end == "reset":  # which may destroy what is on its way
            end = "kept"
        if method == b"HEAD":
            raw = _head_of(raw)
    elif kind < 54:
        raw = wounded(draw, _sound(draw)[0], _token)
    elif kind < 60:
        raw = _sound(draw)[0] + draw(_surplus)
    else:
        raw = b"".join(draw(_litter))
    waits = rarely(draw)
    return Answering(raw, cuts(draw, raw), end, method, minor, sound, waits)


def _head_of(raw: bytes) -> bytes:
    """A sound response without its body: what answers a HEAD."""
    head, end, _ = raw[raw.rindex(b"HTTP/1", 0, raw.index(MARK)) :].partition(b"\r\n\r\n")
    return head + end
