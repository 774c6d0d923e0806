"""What one exchange looks like to OpenTelemetry: a server span for it, and a client span for each attempt.

Names and meanings are those of the semantic conventions for HTTP spans
(https://opentelemetry.io/docs/specs/semconv/http/http-spans/). No span holds a query, a body, or a header but
Host.

The messages are made without the SDK, whose spans and encoder take four times as long: at a share of 10 %
they would cost a tenth of the throughput. Attributes are kept, for most come again and again.
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
_FAILED = Status(code=Status.STATUS_CODE_ERROR)
_LOCAL_PARENT = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE_PARENT = _LOCAL_PARENT | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


def spans_of(exchange: Exchange, trace: Trace, epoch: int) -> list[Span]:
    """The spans of a finished exchange, its own first.

    `epoch`: when the monotonic clock began, in nanoseconds since 1970.
    """
    trace_id = bytes.fromhex(trace.trace_id)
    span_id = bytes.fromhex(trace.span_id)
    state = trace.state.decode()
    attributes, failed = _of_exchange(exchange, trace)
    method = exchange.method if exchange.method in METHODS else "HTTP"
    spans = [
        Span(
            trace_id=trace_id,
            span_id=span_id,
            parent_span_id=bytes.fromhex(trace.parent_id),
            trace_state=state,
            flags=_REMOTE_PARENT if trace.parent_id else _LOCAL_PARENT,
            name=f"{method} {exchange.route}" if exchange.route else method,
            kind=Span.SPAN_KIND_SERVER,
            start_time_unix_nano=epoch + int(exchange.started * 1e9),
            end_time_unix_nano=epoch + int(exchange.ended * 1e9),
            attributes=attributes,
            status=_FAILED if failed else None,
        )
    ]
    for number, attempt in enumerate(trace.attempts):
        if not attempt.ended:
            _complete(attempt, exchange)
        attributes, failed = _of_attempt(exchange, attempt, number)
        spans.append(
            Span(
                trace_id=trace_id,
                span_id=bytes.fromhex(attempt.span_id),
                parent_span_id=span_id,
                trace_state=state,
                flags=_LOCAL_PARENT,
                name=method,
                kind=Span.SPAN_KIND_CLIENT,
                start_time_unix_nano=epoch + int(attempt.started * 1e9),
                end_time_unix_nano=epoch + int(attempt.ended * 1e9),
                attributes=attributes,
                status=_FAILED if failed else None,
            )
        )
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


def _of_exchange(exchange: Exchange, trace: Trace) -> tuple[list[KeyValue], bool]:
    """The attributes of the server span, and whether it failed."""
    status = exchange.status
    error = exchange.error
    if error == ClientClosed.cause:
        status = None  # of the log; nobody was there to be told
    attributes = [
        *_method(exchange.method or ""),
        _text("url.path", (exchange.path or "")[:MAX_TEXT]),
        _text("url.scheme", "http"),
        *_address(trace.host.decode()[:MAX_TEXT]),
        _text("client.address", exchange.client[:MAX_TEXT]),
        _text("network.protocol.version", (exchange.protocol or "").removeprefix("HTTP/")),
    ]
    if exchange.route:
        attributes.append(_text("http.route", exchange.route))
    if status is not None:
        attributes.append(_number("http.response.status_code", status))
        if status >= 500 and error is None:
            error = str(status)
    if error is not None:
        attributes.append(_text("error.type", error))
    # What a client did wrong, or left, is no failure of the server (4xx); a response that broke off is.
    return attributes, error is not None and status is not None and not 400 <= status < 500


def _of_attempt(exchange: Exchange, attempt: Attempt, number: int) -> tuple[list[KeyValue], bool]:
    """The attributes of a client span, and whether it failed. `number`: from 0."""
    attributes = [*_method(exchange.method or ""), _text("network.protocol.version", "1.1")]
    error = attempt.error
    if attempt.upstream is not None:
        attributes += _address(attempt.upstream)
        path = (exchange.path or "")[len(exchange.route or "") :] or "/"
        attributes.append(_text("url.full", f"http://{attempt.upstream}{path[:MAX_TEXT]}"))
    if number:
        attributes.append(_number("http.request.resend_count", number))
    if attempt.status is not None:
        attributes.append(_number("http.response.status_code", attempt.status))
        if attempt.status >= 400 and error is None:
            error = str(attempt.status)
    if error is not None:
        attributes.append(_text("error.type", error))
    return attributes, error is not None


@lru_cache(maxsize=4096)
def _text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


@lru_cache(maxsize=1024)
def _number(key: str, value: int) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(int_value=value))


@lru_cache(maxsize=256)
def _method(method: str) -> tuple[KeyValue, ...]:
    if method in METHODS:
        return (_text("http.request.method", method),)
    return (
        _text("http.request.method", "_OTHER"),
        _text("http.request.method_original", method[:MAX_TEXT]),
    )


@lru_cache(maxsize=1024)
def _address(authority: str) -> tuple[KeyValue, ...]:
    match = _split_host(authority)
    if match is None or not match[1]:
        return ()
    name = match[1].removeprefix("[").removesuffix("]")
    return _text("server.address", name), _number("server.port", int(match[2] or 80))
