"""What the spans of an exchange say, put together from protobuf's own objects: slow, and easy to read.

`coregateway.observability.tracing.spans` writes the bytes of the same without them.
"""

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status

from coregateway.model.exchange import Exchange
from coregateway.model.trace import Attempt, Trace

KNOWN = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE")
LOCAL = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
REMOTE = LOCAL | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK

type Attributes = dict[str, str | int | None]
"""Those that are None are not there."""


def described(exchange: Exchange, trace: Trace, epoch: int) -> list[Span]:
    """The spans of a finished exchange, its own first; `epoch` as for `spans_of`."""
    method = exchange.method if exchange.method in KNOWN else "HTTP"
    own = Span(
        trace_id=bytes.fromhex(trace.trace_id),
        span_id=bytes.fromhex(trace.span_id),
        parent_span_id=bytes.fromhex(trace.parent_id),
        trace_state=trace.state.decode(),
        flags=REMOTE if trace.parent_id else LOCAL,
        name=f"{method} {route}" if (route := exchange.template or exchange.route) else method,
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=epoch + int(exchange.started * 1e9),
        end_time_unix_nano=epoch + int(exchange.ended * 1e9),
    )
    fill(own, *of_exchange(exchange, trace))
    spans = [own]
    for number, attempt in enumerate(trace.attempts):
        ended, status, error, upstream = outcome(attempt, exchange)
        span = Span(
            trace_id=own.trace_id,
            span_id=bytes.fromhex(attempt.span_id),
            parent_span_id=own.span_id,
            trace_state=own.trace_state,
            flags=LOCAL,
            name=method,
            kind=Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=epoch + int(attempt.started * 1e9),
            end_time_unix_nano=epoch + int(ended * 1e9),
        )
        path = exchange.trace.path.decode() if exchange.trace else ""
        if status is not None and status >= 400 and error is None:
            error = str(status)
        known: Attributes = {
            **of_method(exchange.method or ""),
            **of_authority(upstream or ""),
            "url.full": f"http://{upstream}{path[:1024]}" if upstream else None,
            "network.protocol.version": "1.1",
            "http.request.resend_count": number or None,
            "http.response.status_code": status,
            "error.type": error,
        }
        fill(span, known, error is not None)
        spans.append(span)
    return spans


def of_exchange(exchange: Exchange, trace: Trace) -> tuple[Attributes, bool]:
    """The attributes of an exchange, and whether it has failed."""
    status, error = exchange.status, exchange.error
    if error == "client_closed":
        status = None
    elif status is not None and status >= 500:
        error = error or str(status)
    known: Attributes = {
        **of_method(exchange.method or ""),
        "url.path": (exchange.path or "")[:1024],
        "url.scheme": "http",
        **of_authority(trace.host.decode()[:1024]),
        "client.address": exchange.client[:1024],
        "network.protocol.version": (exchange.protocol or "").removeprefix("HTTP/"),
        "http.route": exchange.template or exchange.route or None,
        "coregateway.route": exchange.route_name,
        "http.response.status_code": status,
        "error.type": error,
    }
    return known, error is not None and status is not None and status // 100 != 4


def outcome(attempt: Attempt, exchange: Exchange) -> tuple[float, int | None, str | None, str | None]:
    """When and how an attempt ended, and whom it reached; one that never failed, as its exchange did."""
    if attempt.ended:
        return attempt.ended, attempt.status, attempt.error, attempt.upstream
    if exchange.upstream_started < attempt.started:
        return exchange.ended, None, exchange.error, None
    status = exchange.upstream_status
    error = exchange.error if status is None else None
    return exchange.upstream_ended or exchange.ended, status, error, exchange.upstream


def of_method(method: str) -> Attributes:
    if method in KNOWN:
        return {"http.request.method": method}
    return {"http.request.method": "_OTHER", "http.request.method_original": method[:1024]}


def of_authority(authority: str) -> Attributes:
    name, colon, port = authority.rpartition(":")
    if not colon or not (port == "" or port.isdigit()):
        name, port = authority, ""
    if not name:
        return {}
    return {"server.address": name.removeprefix("[").removesuffix("]"), "server.port": int(port or 80)}


def fill(span: Span, known: Attributes, failed: bool) -> None:
    for key, value in known.items():
        if value is not None:
            text = isinstance(value, str)
            span.attributes.append(
                KeyValue(key=key, value=AnyValue(string_value=value) if text else AnyValue(int_value=value))
            )
    if failed:
        span.status.code = Status.STATUS_CODE_ERROR
