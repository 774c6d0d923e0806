"""What one exchange looks like to OpenTelemetry: a server span for it, and a client span for each attempt.

Names and meanings are those of the semantic conventions for HTTP spans
(https://opentelemetry.io/docs/specs/semconv/http/http-spans/). No span holds a query, a body, or a header but
Host.

Spans are made as bytes of the collector's protocol. Most attributes come again and again, so their bytes are
kept: with the SDK's spans and encoder it would take seven times as long, and a share of 10 % would cost a
tenth of the throughput. What makes that simple is a rule of protobuf: encoded messages that stand one after
the other are read as one, with the fields of all (https://protobuf.dev/programming-guides/encoding/).
"""

import re
from functools import lru_cache

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status

from coregateway.errors import ClientClosed
from coregateway.exchange import Exchange
from coregateway.tracing.context import Attempt, Trace

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"))
"""Those that the conventions know; any other is `_OTHER`, whatever a client makes up."""

MAX_TEXT = 1024
"""Characters of a text that a client chose."""

_split_host = re.compile(r"(.*?)(?::([0-9]*))?").fullmatch
_FAILED = Span(status=Status(code=Status.STATUS_CODE_ERROR)).SerializeToString()
_LOCAL_PARENT = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE_PARENT = _LOCAL_PARENT | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


def spans_of(exchange: Exchange, trace: Trace, epoch: int) -> list[bytes]:
    """The spans of a finished exchange, its own first, each an encoded `Span`.

    `epoch`: when the monotonic clock began, in nanoseconds since 1970.
    """
    trace_id = bytes.fromhex(trace.trace_id)
    span_id = bytes.fromhex(trace.span_id)
    state = trace.state.decode()
    method = exchange.method if exchange.method in METHODS else "HTTP"
    span = Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=bytes.fromhex(trace.parent_id),
        trace_state=state,
        flags=_REMOTE_PARENT if trace.parent_id else _LOCAL_PARENT,
        name=f"{method} {exchange.route}" if exchange.route else method,
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=epoch + int(exchange.started * 1e9),
        end_time_unix_nano=epoch + int(exchange.ended * 1e9),
    )
    spans = [span.SerializeToString() + _of_exchange(exchange, trace)]
    for number, attempt in enumerate(trace.attempts):
        if not attempt.ended:
            _complete(attempt, exchange)
        span = Span(
            trace_id=trace_id,
            span_id=bytes.fromhex(attempt.span_id),
            parent_span_id=span_id,
            trace_state=state,
            flags=_LOCAL_PARENT,
            name=method,
            kind=Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=epoch + int(attempt.started * 1e9),
            end_time_unix_nano=epoch + int(attempt.ended * 1e9),
        )
        spans.append(span.SerializeToString() + _of_attempt(exchange, attempt, number))
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


def _of_exchange(exchange: Exchange, trace: Trace) -> bytes:
    """The attributes of the server span, and its status."""
    status = exchange.status
    error = exchange.error
    if error == ClientClosed.cause:
        status = None  # of the log; nobody was there to be told
    elif status is not None and status >= 500 and error is None:
        error = str(status)
    # What a client did wrong, or left, is no failure of the server (4xx); a response that broke off is.
    failed = error is not None and status is not None and not 400 <= status < 500
    return b"".join(
        (
            _method(exchange.method or ""),
            _text("url.path", (exchange.path or "")[:MAX_TEXT]),
            _text("url.scheme", "http"),
            _address(trace.host.decode()[:MAX_TEXT]),
            _text("client.address", exchange.client[:MAX_TEXT]),
            _text("network.protocol.version", (exchange.protocol or "")[5:]),
            _text("http.route", exchange.route) if exchange.route else b"",
            _number("http.response.status_code", status) if status is not None else b"",
            _text("error.type", error) if error is not None else b"",
            _FAILED if failed else b"",
        )
    )


def _of_attempt(exchange: Exchange, attempt: Attempt, number: int) -> bytes:
    """The attributes of a client span, and its status. `number`: from 0."""
    status = attempt.status
    error = attempt.error
    if status is not None and status >= 400 and error is None:
        error = str(status)
    upstream = attempt.upstream
    path = (exchange.path or "")[len(exchange.route or "") :] or "/"
    return b"".join(
        (
            _method(exchange.method or ""),
            _address(upstream) if upstream else b"",
            _text("url.full", f"http://{upstream}{path[:MAX_TEXT]}") if upstream else b"",
            _text("network.protocol.version", "1.1"),
            _number("http.request.resend_count", number) if number else b"",
            _number("http.response.status_code", status) if status is not None else b"",
            _text("error.type", error) + _FAILED if error is not None else b"",
        )
    )


def _attribute(key: str, value: AnyValue) -> bytes:
    """A span that has but this attribute."""
    return Span(attributes=[KeyValue(key=key, value=value)]).SerializeToString()


@lru_cache(maxsize=4096)
def _text(key: str, value: str) -> bytes:
    return _attribute(key, AnyValue(string_value=value))


@lru_cache(maxsize=1024)
def _number(key: str, value: int) -> bytes:
    return _attribute(key, AnyValue(int_value=value))


@lru_cache(maxsize=256)
def _method(method: str) -> bytes:
    if method in METHODS:
        return _text("http.request.method", method)
    return _text("http.request.method", "_OTHER") + _text("http.request.method_original", method[:MAX_TEXT])


@lru_cache(maxsize=1024)
def _address(authority: str) -> bytes:
    match = _split_host(authority)
    if match is None or not match[1]:
        return b""
    name = match[1].removeprefix("[").removesuffix("]")
    return _text("server.address", name) + _number("server.port", int(match[2] or 80))
