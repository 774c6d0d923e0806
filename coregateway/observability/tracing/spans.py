"""What one exchange looks like to OpenTelemetry: a server span for it, and a client span for each attempt.

Names and meanings are those of the semantic conventions for HTTP spans
(https://opentelemetry.io/docs/specs/semconv/http/http-spans/). No span holds a query, a body, or a header but
Host.

Spans are written as bytes of the collector's protocol (opentelemetry/proto/trace/v1/trace.proto). What many
exchanges have in common is one piece that is kept; ids, times, path and client are written anew. With
protobuf's own objects it would take five times as long.
"""

import re
from struct import Struct
from typing import Final

from coregateway.model.errors import ClientClosed
from coregateway.model.exchange import Exchange
from coregateway.model.trace import Attempt, Trace
from coregateway.observability.tracing.wire import delimited, number, text

METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"))
"""Those that the conventions know; any other is `_OTHER`, whatever a client makes up."""

MAX_TEXT: Final = 1024
"""Characters of a text that a client chose."""

REMEMBERED: Final = 1024
"""Pieces of each kind that are kept."""

LONGEST: Final = 128
"""Bytes of a Host whose piece is kept."""

_split_host: Final = re.compile(r"(.*?)(?::([0-9]*))?").fullmatch
_times: Final = Struct("<BQBQ").pack
"""Fields 7 and 8, `start_time_unix_nano` and `end_time_unix_nano`."""
_SERVER: Final = b"\x30\x02"
_CLIENT: Final = b"\x30\x03"
"""Field 6, `kind`."""
_FAILED: Final = b"\x7a\x02\x18\x02"
"""Field 15, `status`, with the code `STATUS_CODE_ERROR`."""
_LOCAL_PARENT: Final = b"\x85\x01\x00\x01\x00\x00"
_REMOTE_PARENT: Final = b"\x85\x01\x00\x03\x00\x00"
"""Field 16, `flags`: it is known whether the parent is remote, and so it is."""

_LEFT: Final = ClientClosed.cause

type _OfExchange = tuple[str | None, str | None, str | None, int | None, str | None, str | None]
type _OfAttempt = tuple[str | None, str | None, int | None, str | None, int]

# Of their keys clients choose little; what was dropped takes two microseconds to make anew.
_of_exchanges: Final[dict[_OfExchange, bytes]] = {}
_of_attempts: Final[dict[_OfAttempt, tuple[bytes, bytes]]] = {}
_of_hosts: Final[dict[bytes, bytes]] = {}


def spans_of(exchange: Exchange, trace: Trace, epoch: int) -> list[bytes]:
    """The spans of a finished exchange, its own first, each as an encoded field `spans` of `ScopeSpans`.

    `epoch`: when the monotonic clock began, in nanoseconds since 1970.
    """
    path = exchange.path or ""
    ids = f"0a10{trace.trace_id}1208{trace.span_id}"
    parent = _LOCAL_PARENT
    if trace.parent_id:
        ids += f"2208{trace.parent_id}"
        parent = _REMOTE_PARENT
    state = delimited(b"\x1a", trace.state) if trace.state else b""
    span = b"".join(
        (
            bytes.fromhex(ids),
            _times(0x39, epoch + int(exchange.started * 1e9), 0x41, epoch + int(exchange.ended * 1e9)),
            parent,
            state,
            _of_exchange(exchange),
            text(b"url.path", path[:MAX_TEXT].encode()),
            text(b"client.address", exchange.client[:MAX_TEXT].encode()),
            _of_host(trace.host),
        )
    )
    spans = [delimited(b"\x12", span)]
    for count, attempt in enumerate(trace.attempts):
        if not attempt.ended:
            _complete(attempt, exchange)
        kept, origin = _of_attempt(exchange.method, attempt, count)
        span = b"".join(
            (
                bytes.fromhex(f"0a10{trace.trace_id}1208{attempt.span_id}2208{trace.span_id}"),
                _times(0x39, epoch + int(attempt.started * 1e9), 0x41, epoch + int(attempt.ended * 1e9)),
                state,
                kept,
                text(b"url.full", origin + trace.path[:MAX_TEXT]) if origin else b"",
            )
        )
        spans.append(delimited(b"\x12", span))
    return spans


def _complete(attempt: Attempt, exchange: Exchange) -> None:
    """Note how the last attempt ended, which did not fail: it was answered, or the client spoilt it."""
    attempt.ended = exchange.ended
    if exchange.upstream_started >= attempt.started:
        attempt.upstream = exchange.upstream
        attempt.status = exchange.upstream_status
        attempt.ended = exchange.upstream_ended or exchange.ended
    if attempt.status is None:
        attempt.error = exchange.error


def _of_exchange(exchange: Exchange) -> bytes:
    """What the server span has in common with those of other exchanges: name, most attributes, status."""
    method = exchange.method
    route = exchange.template or exchange.route
    name = exchange.route_name
    protocol = exchange.protocol
    status = exchange.status
    error = exchange.error
    key = (method, route, protocol, status, error, name)
    kept = _of_exchanges.get(key)
    if kept is not None:
        return kept
    if error == _LEFT:
        status = None  # the one in the log was never sent
    elif status is not None and status >= 500 and error is None:
        error = str(status)
    # What a client did wrong, or left, is no failure of the server (4xx); a response that broke off is.
    failed = error is not None and status is not None and not 400 <= status < 500
    verb = method if method in METHODS else "HTTP"
    made = b"".join(
        (
            delimited(b"\x2a", (f"{verb} {route}" if route else f"{verb}").encode()),
            _SERVER,
            _method(method or ""),
            text(b"url.scheme", b"http"),
            text(b"network.protocol.version", (protocol or "")[5:].encode()),
            text(b"http.route", route.encode()) if route else b"",
            text(b"coregateway.route", name.encode()) if name is not None else b"",
            number(b"http.response.status_code", status) if status is not None else b"",
            text(b"error.type", error.encode()) if error is not None else b"",
            _FAILED if failed else b"",
        )
    )
    if method in METHODS:
        if len(_of_exchanges) >= REMEMBERED:
            _of_exchanges.clear()
        _of_exchanges[key] = made
    return made


def _of_attempt(method: str | None, attempt: Attempt, count: int) -> tuple[bytes, bytes]:
    """What a client span has in common with others, and the origin of its URL, empty if there is none.

    `count`: from 0.
    """
    upstream = attempt.upstream
    status = attempt.status
    error = attempt.error
    key = (method, upstream, status, error, count)
    kept = _of_attempts.get(key)
    if kept is not None:
        return kept
    if status is not None and status >= 400 and error is None:
        error = str(status)
    name = method if method is not None and method in METHODS else "HTTP"
    made = b"".join(
        (
            delimited(b"\x2a", name.encode()),
            _CLIENT,
            _LOCAL_PARENT,
            _method(method or ""),
            _address(upstream) if upstream else b"",
            text(b"network.protocol.version", b"1.1"),
            number(b"http.request.resend_count", count) if count else b"",
            number(b"http.response.status_code", status) if status is not None else b"",
            text(b"error.type", error.encode()) + _FAILED if error is not None else b"",
        )
    )
    kept = (made, f"http://{upstream}".encode() if upstream else b"")
    if method in METHODS:
        if len(_of_attempts) >= REMEMBERED:
            _of_attempts.clear()
        _of_attempts[key] = kept
    return kept


def _of_host(host: bytes) -> bytes:
    """The attributes of what the client called the server."""
    kept = _of_hosts.get(host)
    if kept is None:
        kept = _address(host.decode()[:MAX_TEXT])
        if len(host) <= LONGEST:
            if len(_of_hosts) >= REMEMBERED:
                _of_hosts.clear()
            _of_hosts[host] = kept
    return kept


def _method(method: str) -> bytes:
    if method in METHODS:
        return text(b"http.request.method", method.encode())
    original = text(b"http.request.method_original", method[:MAX_TEXT].encode())
    return text(b"http.request.method", b"_OTHER") + original


def _address(authority: str) -> bytes:
    match = _split_host(authority)
    if match is None or not match[1]:
        return b""
    name = match[1].removeprefix("[").removesuffix("]")
    return text(b"server.address", name.encode()) + number(b"server.port", int(match[2] or 80))
