"""What plain Sanic and the gateway are asked, and in what their answers may differ, with the reasons."""

from dataclasses import dataclass

from tests.sanic_app.everything import EXCEPTIONS
from tests.stage import request


@dataclass(frozen=True)
class Case:
    """One connection: `raw` is sent, and as many answers are read as `to` has methods."""

    name: str
    raw: bytes
    to: tuple[str, ...] = ("GET",)


def case(path: str, *fields: str, method: str = "GET", body: bytes = b"", name: str = "") -> Case:
    return Case(name or f"{method} {path}", request(path, *fields, method=method, body=body), (method,))


def chunked(path: str, *chunks: bytes) -> Case:
    raw = request(path, "Transfer-Encoding: chunked", method="POST")
    for chunk in (*chunks, b""):
        raw += b"%x\r\n%b\r\n" % (len(chunk), chunk)
    return Case(f"chunked {path} {len(chunks)}", raw, ("POST",))


_MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\nfile\r\n"
    b"--b--\r\n"
)
_VISIT = request("/all/visits")
_URLENCODED = "Content-Type: application/x-www-form-urlencoded"
_FILES = "Content-Type: multipart/form-data"
_ID = "6f1d3c5e-8f5b-4d1c-9a55-0a6a1b0c7f10"
_INSPECT = "/all/inspect/7/word"

CASES = [
    *(case(f"/all/{path}") for path in ("text", "html", "raw", "empty", "redirect", "none", "current")),
    *(case(f"/all/{path}") for path in ("pieces", "open-end", "sized", "respond-once", "stream", "view")),
    *(case(f"/all/{path}") for path in ("file", "file-stream", "static/plain_app.py", "static/none.py")),
    *(case(f"/all/{path}") for path in ("strict/", "strict", "hosted", "static", "respond-twice")),
    *(case(path) for path in ("/v2/all/versioned", "/all/versioned", "/nowhere", "/all", "/all/text/")),
    Case("hosted one", b"GET /all/hosted HTTP/1.1\r\nHost: one.example\r\n\r\n"),
    Case("hosted two", b"GET /all/hosted HTTP/1.1\r\nHost: two.example\r\n\r\n"),
    *(case(path, method="HEAD") for path in ("/all/text", "/all/pieces", "/all/file", "/nowhere")),
    *(case("/all/view", method=method) for method in ("PUT", "POST", "DELETE", "PATCH", "OPTIONS")),
    case("/all/text", method="POST", body=b"unwanted"),
    *(
        case(f"/all/{path}")
        for path in ("unquoted/%C3%A4%20b", "labelled", "data", "pattern/abc", "pattern/abcd")
    ),
    *(
        case(f"/all/typed/{rest}")
        for rest in ("2026-11-29/1.5/6f1d3c5e-8f5b-4d1c-9a55-0a6a1b0c7f10", "x/y/z")
    ),
    *(case(f"/all/coded?status={status}") for status in (200, 201, 204, 304, 404, 599)),
    *(case(f"/api/v3/group/part/{rest}") for rest in ("", "fails", "nowhere")),
    # What a handler sees
    case(_INSPECT),
    case(f"{_INSPECT}?a=1&a=2&b=&c=%C3%A4+x"),
    case("/all/inspect/x/word"),
    case("/all/inspect/-3/w%20w"),
    case("/all/inspect/7/%C3%A4"),
    case(_INSPECT, "Cookie: a=1; b=two; c=%20", "X-Many: 1", "X-Many: 2", name="fields"),
    case(_INSPECT, "User-Agent: ", "X-Many:  padded  ", name="empty fields"),
    case(_INSPECT, "User-Agent: fü", name="UTF-8 in a field"),
    case(_INSPECT, "Authorization: Bearer abc", name="bearer"),
    case(_INSPECT, "Authorization: Basic YTpi", name="basic"),
    case(_INSPECT, "Accept: text/html;q=0.5, application/json", name="accept"),
    case(_INSPECT, "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https", name="forwarded"),
    case(_INSPECT, "X-Request-ID: 6f1d3c5e-8f5b-4d1c-9a55-0a6a1b0c7f10", name="id: UUID"),
    case(_INSPECT, "X-Request-ID: 007", name="id: number"),
    case(_INSPECT, "X-Request-ID: any-one", name="id: text"),
    case(_INSPECT, "Content-Type: text/plain", method="PUT", body=b"body", name="body"),
    case(_INSPECT, method="POST", name="no body"),
    chunked(_INSPECT, b"two ", b"chunks"),
    Case("HTTP/1.0", f"GET {_INSPECT} HTTP/1.0\r\nHost: gw\r\n\r\n".encode()),
    Case("HTTP/1.0 kept", f"GET {_INSPECT} HTTP/1.0\r\nHost: gw\r\nConnection: keep-alive\r\n\r\n".encode()),
    Case("close", request("/all/text", "Connection: close")),
    Case("connection's context", _VISIT * 3, ("GET",) * 3),
    Case(
        "error between",
        request("/all/visits") + request("/all/raise/409") + request("/all/visits"),
        ("GET",) * 3,
    ),
    # Bodies
    case("/all/form", _URLENCODED, method="POST", body=b"a=1&a=2&b=%20"),
    case(
        "/all/form",
        f"{_FILES}; boundary=b",
        method="POST",
        body=_MULTIPART,
        name="files",
    ),
    case("/all/form", _FILES, method="POST", body=_MULTIPART, name="no boundary"),
    case("/all/json", "Content-Type: application/json", method="POST", body=b'{"a": [1, null, "\xc3\xa4"]}'),
    case("/all/json", "Content-Type: application/json", method="POST", body=b"{", name="broken JSON"),
    case("/all/json", method="POST", name="no JSON"),
    *(case(f"/all/{path}", method="POST", body=b"x" * 100_000) for path in ("upload", "read", "whole")),
    *(chunked(f"/all/{path}", b"one", b"two" * 1000) for path in ("upload", "read", "whole")),
    case("/all/upload", method="POST", name="no upload"),
    case("/all/unread", method="POST", body=b"small"),
    case("/all/ignored", body=b"of a GET"),
    # Files
    case("/all/file", "If-Modified-Since: Wed, 15 Nov 2023 00:00:00 GMT", name="not modified"),
    case("/all/static/plain_app.py", "Range: bytes=0-9", name="range"),
    case("/all/static/plain_app.py", "Range: bytes=-5", name="last bytes"),
    case("/all/static/plain_app.py", "Range: bytes=999999-", name="no such range"),
    case("/all/static/plain_app.py", "Range: lines=1-2", name="no range"),
    case("/all/cookies", "Cookie: a=b; c=d"),
    # Middleware
    *(
        case(f"/guarded{rest}")
        for rest in ("/", "/?stop=1", "/?refuse=1", "/?fail=1", "/?replace=1", "/?break=1", "/pieces")
    ),
    # Exceptions
    *(case(f"/all/raise/{name}") for name in EXCEPTIONS),
    *(case(f"/all/raise-json/{name}") for name in ("409", "context", "plain", "429", "added")),
    *(case(f"/all/raise-text/{name}") for name in ("409", "context", "plain", "429", "handled")),
    *(case(f"/all/raise-html/{name}", "Accept: text/html") for name in ("409", "429", "added", "plain")),
    case("/all/raise/409", "Accept: application/json", name="accepts JSON"),
    case("/all/raise/409", "Accept: text/html", name="accepts HTML"),
    case("/all/determined?fail=1"),
    case("/all/raise/unknown"),
    case("/all/raise/404", method="HEAD"),
    # No WebSocket
    case("/all/echo"),
    case("/all/echo", "Connection: Upgrade", "Upgrade: websocket", name="a half handshake"),
    case("/all/echo", method="POST"),
]

ADDED = frozenset(
    {
        "date",  # RFC 9110 §6.6.1: the gateway dates every response
        "x-corerl-version",
        "x-request-id",
        "x-coregateway-error",
    }
)
"""Fields that every response of the gateway carries."""


@dataclass(frozen=True)
class Difference:
    """Why the answers differ, and in what."""

    reason: str
    fields: frozenset[str] = frozenset()
    body: bool = False


_FAILED_HANDLER = Difference(
    "a handler of exceptions that fails is a problem document, not a line of text",
    frozenset({"content-type"}),
    body=True,
)

DIFFERENCES = {
    "a half handshake": Difference(
        "a connection persists without `close` (RFC 9112 §9.3); with any other option Sanic closes it",
        frozenset({"connection"}),
    ),
    "GET /all/raise/unhandled": Difference(
        "a coroutine function that answers nothing leaves it to the default, as a function does in Sanic",
        body=True,
    ),
    "empty fields": Difference("blanks around a value are none of it (RFC 9110 §5.5)", body=True),
    "GET /all/raise/handler-fails": _FAILED_HANDLER,
    "GET /all/raise/handler-fails-later": _FAILED_HANDLER,
}
"""By the names of the cases, where both render errors as Sanic does."""
