"""What an exchange looks like to OpenTelemetry."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes import (
    client_attributes,
    error_attributes,
    http_attributes,
    network_attributes,
    server_attributes,
    url_attributes,
)
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status as SDKStatus
from opentelemetry.trace.status import StatusCode

from coregateway.model.exchange import Exchange
from coregateway.model.trace import Trace, Tracer
from coregateway.observability.tracing import spans as module
from coregateway.observability.tracing.spans import spans_of
from tests.observability.tracing.collector import attributes
from tests.observability.tracing.described import described

EPOCH = 1_790_000_000_000_000_000
TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CONVENTIONS = (
    client_attributes,
    error_attributes,
    http_attributes,
    network_attributes,
    server_attributes,
    url_attributes,
)


def exchange_of(noted: dict[bytes, bytes] | None = None, **known: Any) -> tuple[Exchange, Trace]:
    """A forwarded GET that was answered with 200 at the first attempt, but for what is `known` better."""
    exchange = Exchange(10.0, "192.0.2.7")
    exchange.trace = trace = Tracer(1.0).begin({b"host": b"gw.test:8001"} if noted is None else noted)
    trace.path = b"/api/agents"
    trace.begin_attempt(10.25)
    usual = {
        "method": "GET",
        "path": "/api/v1/coredinator/api/agents",
        "protocol": "HTTP/1.1",
        "backend": "coredinator",
        "route": "/api/v1/coredinator",
        "upstream": "localhost:7000",
        "status": 200,
        "upstream_status": 200,
        "upstream_started": 10.5,
        "upstream_ended": 11.5,
        "ended": 12.0,
    }
    for name, value in {**usual, **known}.items():
        setattr(exchange, name, value)
    return exchange, trace


def spans(exchange: Exchange, trace: Trace) -> list[Span]:
    return list(ScopeSpans.FromString(b"".join(spans_of(exchange, trace, EPOCH))).spans)


def span(noted: dict[bytes, bytes] | None = None, **known: Any) -> Span:
    return spans(*exchange_of(noted, **known))[0]


def test_a_forwarded_exchange_is_a_server_span_with_a_client_span_in_it() -> None:
    exchange, trace = exchange_of()
    server, client = spans(exchange, trace)
    assert (server.kind, server.name) == (Span.SPAN_KIND_SERVER, "GET /api/v1/coredinator")
    assert (client.kind, client.name) == (Span.SPAN_KIND_CLIENT, "GET")
    assert server.trace_id.hex() == client.trace_id.hex() == trace.trace_id
    assert server.span_id.hex() == trace.span_id
    assert server.parent_span_id == b""
    assert client.parent_span_id == server.span_id
    assert client.span_id.hex() == trace.attempts[0].span_id
    assert [server.start_time_unix_nano, server.end_time_unix_nano] == [
        EPOCH + int(1e10),
        EPOCH + int(1.2e10),
    ]
    assert [client.start_time_unix_nano, client.end_time_unix_nano] == [
        EPOCH + int(1.025e10),
        EPOCH + int(1.15e10),
    ]
    assert server.status.code == client.status.code == Status.STATUS_CODE_UNSET
    assert attributes(server.attributes) == {
        "http.request.method": "GET",
        "http.route": "/api/v1/coredinator",
        "http.response.status_code": 200,
        "url.path": "/api/v1/coredinator/api/agents",
        "url.scheme": "http",
        "server.address": "gw.test",
        "server.port": 8001,
        "client.address": "192.0.2.7",
        "network.protocol.version": "1.1",
    }
    assert attributes(client.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.full": "http://localhost:7000/api/agents",
        "server.address": "localhost",
        "server.port": 7000,
        "network.protocol.version": "1.1",
    }


def test_all_names_are_those_of_the_conventions() -> None:
    known = {value for module in CONVENTIONS for value in vars(module).values() if isinstance(value, str)}
    exchange, trace = exchange_of(method="PURGE", status=502, upstream_status=None, error="upstream_closed")
    trace.fail_attempt("localhost:7000", None, "upstream_closed", 10.5)
    trace.begin_attempt(10.6)
    for each in spans(exchange, trace):
        assert set(attributes(each.attributes)) <= known


def test_a_trace_that_came_has_the_caller_as_parent() -> None:
    server, client = spans(*exchange_of({b"traceparent": TRACEPARENT, b"tracestate": b"a=1"}))
    assert server.parent_span_id.hex() == "b7ad6b7169203331"
    assert server.trace_state == client.trace_state == "a=1"


def test_they_are_what_the_sdk_makes_of_the_same() -> None:
    given = {b"traceparent": TRACEPARENT, b"tracestate": b"a=1,b=2", b"host": b"gw"}
    exchange, trace = exchange_of(given, status=503)
    ours = spans(exchange, trace)
    of_sdk: list[ReadableSpan] = []
    for each in ours:
        state = TraceState([("a", "1"), ("b", "2")])
        context, parent = (
            SpanContext(
                int.from_bytes(each.trace_id),
                int.from_bytes(span_id),
                is_remote=each.kind == Span.SPAN_KIND_SERVER,
                trace_flags=TraceFlags(1),
                trace_state=state,
            )
            for span_id in (each.span_id, each.parent_span_id)
        )
        of_sdk.append(
            ReadableSpan(
                each.name,
                context,
                parent,
                Resource.get_empty(),
                attributes(each.attributes),
                kind=SpanKind.SERVER if each.kind == Span.SPAN_KIND_SERVER else SpanKind.CLIENT,
                status=SDKStatus(StatusCode.ERROR) if each.status.code else SDKStatus(),
                start_time=each.start_time_unix_nano,
                end_time=each.end_time_unix_nano,
                instrumentation_scope=InstrumentationScope("coregateway"),
            )
        )
    message: ExportTraceServiceRequest = encode_spans(of_sdk)
    theirs = list(message.resource_spans[0].scope_spans[0].spans)
    for each in (*ours, *theirs):
        if not each.status.code:
            each.ClearField("status")  # the SDK writes out what is not set
    assert ours == theirs


@pytest.mark.parametrize("method", ["get", "PURGE", "M-SEARCH", "X" * 5000])
def test_a_method_that_a_client_makes_up_names_nothing(method: str) -> None:
    server, client = spans(*exchange_of(method=method))
    assert (server.name, client.name) == ("HTTP /api/v1/coredinator", "HTTP")
    found = attributes(server.attributes)
    assert found["http.request.method"] == "_OTHER"
    assert found["http.request.method_original"] == method[:1024]


def test_what_a_client_chooses_is_bounded() -> None:
    found = attributes(span(path="/" + "p" * 5000).attributes)
    assert len(str(found["url.path"])) == 1024


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        (b"gw", "gw", 80),
        (b"gw:", "gw", 80),
        (b"10.0.0.1:81", "10.0.0.1", 81),
        (b"[::1]", "::1", 80),
        (b"[::1]:82", "::1", 82),
        (b"", None, None),
    ],
)
def test_the_server_is_what_the_client_called_it(host: bytes, address: str | None, port: int | None) -> None:
    found = attributes(span({b"host": host}).attributes)
    assert (found.get("server.address"), found.get("server.port")) == (address, port)


@pytest.mark.parametrize(
    ("status", "error", "shown", "kind", "failed"),
    [
        (200, None, 200, None, False),
        (404, None, 404, None, False),
        (404, "no_route", 404, "no_route", False),
        (408, "client_timeout", 408, "client_timeout", False),
        (500, None, 500, "500", True),
        (502, "connect_failed", 502, "connect_failed", True),
        (200, "upstream_closed", 200, "upstream_closed", True),
        (499, "client_closed", None, "client_closed", False),
    ],
)
def test_what_became_of_an_exchange(
    status: int, error: str | None, shown: int | None, kind: str | None, failed: bool
) -> None:
    made = span(status=status, error=error)
    found = attributes(made.attributes)
    assert (found.get("http.response.status_code"), found.get("error.type")) == (shown, kind)
    assert (made.status.code == Status.STATUS_CODE_ERROR) == failed


@pytest.mark.parametrize(("status", "kind"), [(200, None), (304, None), (404, "404"), (503, "503")])
def test_what_became_of_an_attempt_that_was_answered(status: int, kind: str | None) -> None:
    _, client = spans(*exchange_of(status=status, upstream_status=status))
    found = attributes(client.attributes)
    assert (found["http.response.status_code"], found.get("error.type")) == (status, kind)
    assert (client.status.code == Status.STATUS_CODE_ERROR) == (kind is not None)


def test_an_own_answer_is_one_span() -> None:
    exchange, trace = exchange_of(route="/health", upstream=None, upstream_started=0.0, upstream_ended=0.0)
    trace.attempts = ()
    (server,) = spans(exchange, trace)
    assert server.name == "GET /health"


def test_a_request_without_a_route_is_named_by_its_method() -> None:
    assert span(route=None).name == "GET"


def test_each_further_attempt_counts_its_resending() -> None:
    exchange, trace = exchange_of(upstream="b:2", upstream_started=10.9)
    trace.fail_attempt("a:1", None, "upstream_closed", 10.75)
    trace.begin_attempt(10.8)
    server, first, second = spans(exchange, trace)
    assert first.parent_span_id == second.parent_span_id == server.span_id
    assert first.end_time_unix_nano == EPOCH + int(1.075e10)
    assert second.end_time_unix_nano == EPOCH + int(1.15e10)
    assert attributes(first.attributes) == {
        "http.request.method": "GET",
        "error.type": "upstream_closed",
        "url.full": "http://a:1/api/agents",
        "server.address": "a",
        "server.port": 1,
        "network.protocol.version": "1.1",
    }
    assert attributes(second.attributes) == {
        "http.request.method": "GET",
        "http.request.resend_count": 1,
        "http.response.status_code": 200,
        "url.full": "http://b:2/api/agents",
        "server.address": "b",
        "server.port": 2,
        "network.protocol.version": "1.1",
    }
    assert [each.status.code for each in (server, first, second)] == [0, Status.STATUS_CODE_ERROR, 0]


def test_an_attempt_that_never_got_a_connection_is_for_nobody() -> None:
    exchange, trace = exchange_of(upstream="a:1", upstream_started=10.3, upstream_ended=10.4)
    trace.fail_attempt("a:1", None, "upstream_closed", 10.4)
    trace.begin_attempt(10.5)
    exchange.upstream_status, exchange.status, exchange.error = None, 503, "pool_timeout"
    waiting = spans(exchange, trace)[2]
    assert waiting.end_time_unix_nano == EPOCH + int(1.2e10)
    assert attributes(waiting.attributes) == {
        "http.request.method": "GET",
        "http.request.resend_count": 1,
        "error.type": "pool_timeout",
        "network.protocol.version": "1.1",
    }


def test_a_response_that_broke_off_fails_both_spans() -> None:
    exchange, trace = exchange_of(error="upstream_closed")
    trace.fail_attempt("localhost:7000", 200, "upstream_closed", 11.5)
    for each in spans(exchange, trace):
        found = attributes(each.attributes)
        assert (found["http.response.status_code"], found["error.type"]) == (200, "upstream_closed")
        assert each.status.code == Status.STATUS_CODE_ERROR


def test_a_client_that_leaves_during_the_response_is_no_fault_of_the_upstream() -> None:
    _, client = spans(*exchange_of(status=499, error="client_closed"))
    assert "error.type" not in attributes(client.attributes)


# ------------------------------------------------------------------ held against protobuf's own objects

times = st.floats(0, 1e9)
later = st.floats(1, 1e9)
texts = st.one_of(
    st.text("abcé☃/.-", max_size=40),
    st.sampled_from([100, 126, 127, 128, 129, 1000, 1023, 1024, 1025, 20_000]).map(
        lambda size: "/" + "p" * size
    ),
)
statuses = st.none() | st.integers(100, 999)
errors = st.sampled_from([None, "upstream_closed", "client_closed", "pool_timeout", "no_route"])
methods = st.none() | st.sampled_from(["GET", "POST", "PURGE", "get", "", "M" * 2000])
routes = st.sampled_from([None, "", "/", "/api/v1/coredinator", "/" + "r" * 200])
upstreams = st.sampled_from([None, "localhost:7000", "[::1]:7000", "a" * 130 + ":1", "b"])
hosts = st.sampled_from(
    [b"", b"gw", b"gw:", b"gw:8001", b"[::1]", b"[::1]:65535", b":80", b"h" * 300 + b":1"]
)
states = st.sampled_from([None, b"a=1", b"k=" + b"v" * 200])


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Exchange, Trace]:
    """Sampled ones, with all that an exchange can hold, and more."""
    noted = {b"host": draw(hosts)}
    if draw(st.booleans()):
        noted[b"traceparent"] = TRACEPARENT
        if state := draw(states):
            noted[b"tracestate"] = state
    exchange = Exchange(draw(times), draw(texts))
    exchange.trace = trace = Tracer(1.0).begin(noted)
    for last in draw(st.sampled_from([(), (False,), (True,), (True, False), (True, True, True)])):
        trace.begin_attempt(draw(times))
        if last:
            trace.fail_attempt(draw(upstreams), draw(statuses), draw(errors) or "x", draw(later))
    exchange.ended = draw(times)
    exchange.method = draw(methods)
    exchange.route = draw(routes)
    exchange.template = draw(routes)
    exchange.route_name = draw(st.sampled_from([None, "start-agent"]))
    exchange.path = draw(st.none() | texts)
    trace.path = draw(texts).encode()
    exchange.protocol = draw(st.sampled_from([None, "HTTP/1.0", "HTTP/1.1"]))
    exchange.upstream = draw(upstreams)
    exchange.status = draw(statuses)
    exchange.upstream_status = draw(statuses)
    exchange.upstream_started = draw(times)
    exchange.upstream_ended = draw(st.just(0.0) | times)
    exchange.error = draw(errors)
    return exchange, trace


def in_order(span: Span) -> Span:
    """With the attributes by their keys: none comes twice."""
    attributes(span.attributes)
    span.attributes.sort(key=lambda each: each.key)
    return span


@given(exchanges())
@settings(max_examples=300, deadline=None)
def test_whatever_an_exchange_holds_its_spans_are_those_that_protobuf_would_make(
    made: tuple[Exchange, Trace],
) -> None:
    expected = [in_order(each) for each in described(*made, EPOCH)]
    assert [in_order(each) for each in spans(*made)] == expected
    assert [in_order(each) for each in spans(*made)] == expected  # of what is kept now


# ------------------------------------------------------------------ what is kept

KEPT = (module._of_exchanges, module._of_attempts, module._of_hosts)  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
def _forgetful() -> None:  # pyright: ignore[reportUnusedFunction] -- by pytest
    for kept in KEPT:
        kept.clear()


@pytest.mark.usefixtures("_forgetful")
def test_what_exchanges_have_in_common_is_kept_and_bounded() -> None:
    for number in range(3 * module.REMEMBERED):
        spans(*exchange_of(path=f"/{number}", client=f"10.0.0.{number}"))
    assert [len(kept) for kept in KEPT] == [1, 1, 1]
    for number in range(3 * module.REMEMBERED):
        status = 100 + number
        spans(*exchange_of({b"host": b"%d" % number}, status=status, upstream_status=status))
        assert max(map(len, KEPT)) <= module.REMEMBERED


@pytest.mark.usefixtures("_forgetful")
def test_what_a_client_makes_up_at_length_is_not_kept() -> None:
    for size in range(1, 50):
        spans(*exchange_of({b"host": b"h" * (128 + size)}, method="M" * size))
    assert [len(kept) for kept in KEPT] == [0, 0, 0]
