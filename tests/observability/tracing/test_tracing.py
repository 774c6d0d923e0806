"""Tracing from end to end: a client, a gateway process, a backend, and a collector."""

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from coregateway.testing import close, delay, hang, render_head, respond, send
from tests.observability.tracing.collector import Collector, attributes, until
from tests.stage import PREFIX, Stage, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
SAMPLED = f"traceparent: 00-{TRACE_ID}-{PARENT_ID}-01"
SECRET = "s3cr3t"  # noqa: S105 -- it guards nothing


class TracedStage(Stage):
    """A stage whose spans go to `collector`."""

    def __init__(self, collector: Collector, settings: str) -> None:
        super().__init__(toml=f'[tracing]\nenabled = true\nendpoint = "{collector.url}"\n{settings}')
        self.collector = collector

    async def spans(self, path: str, count: int) -> list[Span]:
        """The spans of the one request for a path of the backend, when so many have come."""
        return await self.collector.trace((await self.line(path))["trace_id"], count)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(down: str) -> AsyncIterator[TracedStage]:
    """All traces that begin here are sampled."""
    settings = f"""
        sample = 1.0
        [backends.hasty]
        prefix = "/hasty"
        urls = ["{{backend}}"]
        timeouts.read = 0.3
        [backends.down]
        prefix = "/down"
        urls = ["{down}"]
    """
    with Collector() as collector:
        async with TracedStage(collector, settings) as stage:
            yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sparing() -> AsyncIterator[TracedStage]:
    """None of the traces that begin here is sampled; clients are told the time."""
    with Collector() as collector:
        async with TracedStage(collector, "sample = 0.0\nserver_timing = true") as stage:
            yield stage


def told(stage: Stage, path: str, number: int = 0) -> tuple[str, str, str]:
    """Trace id, parent id and flags that the backend was told with a request for a path."""
    (value,) = stage.seen(path)[number].values("traceparent")
    version, trace_id, parent_id, flags = value.decode().split("-")
    assert version == "00"
    return trace_id, parent_id, flags


# ------------------------------------------------------------------ contexts


async def test_a_trace_that_comes_is_continued(stage: TracedStage) -> None:
    path = stage.path()
    await stage.ask(path, SAMPLED, "TraceState: a=1", "tracestate: b=2")
    trace_id, parent_id, flags = told(stage, path)
    assert (trace_id, flags) == (TRACE_ID, "01")
    assert stage.seen(path)[0].values("tracestate") == [b"a=1, b=2"]
    line = await stage.line(path)
    assert line["trace_id"] == TRACE_ID
    server, client = await stage.collector.trace(TRACE_ID, 2)
    assert server.parent_span_id.hex() == PARENT_ID
    assert server.span_id.hex() == line["span_id"]
    assert client.parent_span_id == server.span_id
    assert client.span_id.hex() == parent_id
    assert server.trace_state == client.trace_state == "a=1, b=2"


async def test_a_trace_begins_where_none_came(stage: TracedStage) -> None:
    path = stage.path()
    await stage.ask(path, "tracestate: a=1")
    trace_id, parent_id, flags = told(stage, path)
    assert flags == "01"
    assert stage.seen(path)[0].values("tracestate") == []
    server, client = await stage.spans(path, 2)
    assert server.trace_id.hex() == trace_id
    assert server.parent_span_id == b""
    assert client.span_id.hex() == parent_id


@pytest.mark.parametrize("given", ["00-xyz", f"00-{TRACE_ID}-{PARENT_ID}-1", f"00-{'0' * 32}-{PARENT_ID}-01"])
async def test_a_broken_one_and_its_state_are_replaced(stage: TracedStage, given: str) -> None:
    path = stage.path()
    await stage.ask(path, f"traceparent: {given}", "tracestate: a=1")
    trace_id, _, flags = told(stage, path)
    assert (trace_id != TRACE_ID, flags) == (True, "01")
    assert stage.seen(path)[0].values("tracestate") == []


async def test_naming_them_in_connection_keeps_none_from_the_backend(stage: TracedStage) -> None:
    path = stage.path()
    await stage.ask(path, f"traceparent: 00-{'1' * 32}-{PARENT_ID}-01", "Connection: traceparent")
    assert told(stage, path)[0] == "1" * 32


async def test_a_caller_that_does_not_sample_is_followed(stage: TracedStage) -> None:
    path = stage.path()
    trace_id = "2" * 32
    await stage.ask(path, f"traceparent: 00-{trace_id}-{PARENT_ID}-00", "tracestate: a=1")
    passed_id, parent_id, flags = told(stage, path)
    assert (passed_id, parent_id != PARENT_ID, flags) == (trace_id, True, "00")
    assert stage.seen(path)[0].values("tracestate") == [b"a=1"]
    later = stage.path()
    await stage.ask(later)
    await stage.spans(later, 2)  # went the same way behind it
    assert [span for span in stage.collector.spans if span.trace_id.hex() == trace_id] == []


async def test_what_is_not_sampled_goes_on_and_is_named_in_its_line(sparing: TracedStage) -> None:
    path = sparing.path()
    await sparing.ask(path)
    trace_id, parent_id, flags = told(sparing, path)
    line = await sparing.line(path)
    assert (line["trace_id"], flags) == (trace_id, "00")
    assert line["span_id"] == parent_id
    sampled = sparing.path()
    await sparing.ask(sampled, SAMPLED)
    await sparing.spans(sampled, 2)
    assert len(sparing.collector.spans) == 2


# ------------------------------------------------------------------ spans


async def test_spans_tell_of_the_exchange_and_nothing_secret(stage: TracedStage) -> None:
    path = stage.path()
    stage.backend.on(path, respond(201, SECRET.encode(), [("X-Secret", SECRET)]))
    await stage.ask(
        f"{path}?token={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"Cookie: id={SECRET}",
        method="POST",
        body=SECRET.encode(),
    )
    server, client = await stage.spans(path, 2)
    host, port = stage.backend.address
    assert (server.kind, server.name) == (Span.SPAN_KIND_SERVER, f"POST {PREFIX}")
    assert (client.kind, client.name) == (Span.SPAN_KIND_CLIENT, "POST")
    assert attributes(server.attributes) == {
        "http.request.method": "POST",
        "http.route": PREFIX,
        "http.response.status_code": 201,
        "url.path": PREFIX + path,
        "url.scheme": "http",
        "server.address": "gw",
        "server.port": 80,
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
    }
    assert attributes(client.attributes) == {
        "http.request.method": "POST",
        "http.response.status_code": 201,
        "url.full": f"http://{host}:{port}{path}",
        "server.address": host,
        "server.port": port,
        "network.protocol.version": "1.1",
    }
    assert SECRET not in str(stage.collector.messages)
    times = [
        server.start_time_unix_nano,
        client.start_time_unix_nano,
        client.end_time_unix_nano,
        server.end_time_unix_nano,
    ]
    assert times == sorted(times)
    assert abs(times[-1] / 1e9 - time.time()) < 10


async def test_a_retry_gives_a_client_span_for_each_attempt(stage: TracedStage) -> None:
    path = stage.path()
    stage.backend.on(path, close(if_reused=True), respond(200, b"ok"))
    await stage.backend.close_idle()
    await stage.ask(stage.path())  # leaves a connection that the next request finds
    await stage.ask(path)
    server, first, second = await stage.spans(path, 3)
    assert [first.parent_span_id, second.parent_span_id] == [server.span_id] * 2
    assert [first.span_id.hex(), second.span_id.hex()] == [told(stage, path, n)[1] for n in (0, 1)]
    assert [span.status.code for span in (server, first, second)] == [0, Status.STATUS_CODE_ERROR, 0]
    assert attributes(first.attributes)["error.type"] == "upstream_closed"
    assert "http.request.resend_count" not in attributes(first.attributes)
    assert attributes(second.attributes)["http.request.resend_count"] == 1
    assert attributes(first.attributes)["url.full"] == attributes(second.attributes)["url.full"]


async def test_a_backend_that_is_down_fails_each_attempt(stage: TracedStage) -> None:
    assert (await stage.ask_gateway("/down/x")).status == 502
    line = await stage.gateway_line("/down/x")
    server, *tries = await stage.collector.trace(line["trace_id"], 4)
    assert attributes(server.attributes)["http.response.status_code"] == 502
    assert server.status.code == Status.STATUS_CODE_ERROR
    for number, span in enumerate(tries):
        found = attributes(span.attributes)
        assert (found["error.type"], span.status.code) == ("connect_failed", Status.STATUS_CODE_ERROR)
        assert found.get("http.request.resend_count", 0) == number
        assert found["server.address"] == "127.0.0.1"


async def test_a_backend_that_is_silent_fails_the_exchange(stage: TracedStage) -> None:
    path = stage.path()
    stage.backend.on(path, hang())
    await stage.ask_gateway(f"/hasty{path}")
    line = await stage.gateway_line(f"/hasty{path}")
    spans = await stage.collector.trace(line["trace_id"], 2)
    for span, status in zip(spans, (504, None), strict=True):
        found = attributes(span.attributes)
        assert (found["error.type"], found.get("http.response.status_code")) == ("read_timeout", status)
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert span.end_time_unix_nano - span.start_time_unix_nano > 250_000_000


async def test_a_client_that_leaves_fails_nobody_but_ends_the_attempt(stage: TracedStage) -> None:
    path = stage.path()
    stage.backend.on(path, send(render_head(200, [("Content-Length", "10")]) + b"half"), hang())
    async with stage.client() as client:
        await client.send(request(PREFIX + path))
        await client.read_head()
    server, client_span = await stage.spans(path, 2)
    assert attributes(server.attributes)["error.type"] == "client_closed"
    assert attributes(client_span.attributes)["http.response.status_code"] == 200
    assert [server.status.code, client_span.status.code] == [0, 0]


async def test_own_answers_are_one_span(stage: TracedStage) -> None:
    await stage.ask_gateway("/livez", f"traceparent: 00-{'3' * 32}-{PARENT_ID}-01")
    await stage.ask_gateway("/nowhere", f"traceparent: 00-{'4' * 32}-{PARENT_ID}-01")
    (own,) = await stage.collector.trace("3" * 32, 1)
    (lost,) = await stage.collector.trace("4" * 32, 1)
    assert (own.name, attributes(own.attributes)["http.route"]) == ("GET /livez", "/livez")
    assert (lost.name, attributes(lost.attributes)["error.type"]) == ("GET", "no_route")


async def test_a_head_that_cannot_be_read_is_of_no_trace(stage: TracedStage) -> None:
    async with stage.client() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: gw\r\nbad header: 1\r\n\r\n")
        answer = await client.read_response()
    line = await stage.gateway.wait_for_line(request_id=(answer.header("x-request-id") or b"").decode())
    assert (line["status"], line["trace_id"], line["span_id"]) == (400, None, None)


# ------------------------------------------------------------------ Server-Timing


def timing(value: bytes | None) -> dict[str, float]:
    """The durations of a Server-Timing field, in milliseconds."""
    assert value is not None
    parts = (part.strip().partition(";dur=") for part in value.decode().split(","))
    return {name: float(duration) for name, _, duration in parts}


async def test_a_client_is_told_the_time_here_and_there(sparing: TracedStage) -> None:
    path = sparing.path()
    sparing.backend.on(path, delay(0.1), respond(200, b"ok", [("Server-Timing", "db;dur=5")]))
    begun = time.monotonic()
    answer = await sparing.ask(path)
    took = (time.monotonic() - begun) * 1000
    theirs, ours = answer.values("server-timing")
    assert theirs == b"db;dur=5"
    durations = timing(ours)
    assert list(durations) == ["gateway", "upstream"]
    assert durations["upstream"] >= 100
    assert 0 < durations["gateway"] < took - 100
    assert answer.header("timing-allow-origin") is None


@pytest.mark.parametrize(
    ("path", "method"), [("/livez", "GET"), ("/nowhere", "GET"), (PREFIX, "PURGE"), (PREFIX, "OPTIONS")]
)
async def test_own_answers_tell_it_too(sparing: TracedStage, path: str, method: str) -> None:
    fields = ["Origin: http://o.test", "Access-Control-Request-Method: GET"] if method == "OPTIONS" else []
    answer = await sparing.ask_gateway(path, *fields, method=method)
    assert list(timing(answer.header("server-timing"))) == ["gateway"]


async def test_nobody_is_told_unless_it_is_set(stage: TracedStage) -> None:
    assert (await stage.ask(stage.path())).header("server-timing") is None
    assert (await stage.ask_gateway("/livez")).header("server-timing") is None
    assert (await stage.ask_gateway("/nowhere")).header("server-timing") is None


# ------------------------------------------------------------------ the ends


async def test_a_collector_that_is_down_disturbs_nobody() -> None:
    with Collector() as collector:
        pass
    async with TracedStage(collector, "sample = 1.0") as stage:
        for _ in range(3):
            assert (await stage.ask(stage.path())).status == 200
        line = await stage.gateway.wait_for_line(event="tracing.failing")
        assert (line["level"], line["endpoint"]) == ("WARNING", collector.url)
        assert "exception" not in line
        for _ in range(3):
            assert (await stage.ask(stage.path())).status == 200
        begun = time.monotonic()
        assert await stage.gateway.stop() == 0
        assert time.monotonic() - begun < 10  # of the 15 that requests would be given
        assert len(stage.gateway.log_lines(event="tracing.failing")) == 1


async def test_what_waits_is_sent_when_the_gateway_stops() -> None:
    with Collector() as collector:
        async with TracedStage(collector, "sample = 0.0") as stage:
            await until(lambda: stage.gateway.log_lines(event="gateway.starting") != [])
            await stage.ask(stage.path(), SAMPLED)
            assert await stage.gateway.stop() == 0
        assert len(collector.spans) == 2


async def test_without_tracing_a_sound_context_passes_untouched() -> None:
    async with Stage() as stage:
        path = stage.path()
        await stage.ask(path, SAMPLED, "tracestate: a=1", "TraceState: a=1")
        seen = stage.seen(path)[0]
        assert seen.values("traceparent") == [SAMPLED.partition(": ")[2].encode()]
        assert seen.values("tracestate") == [b"a=1", b"a=1"]
        assert {"trace_id", "span_id"} & (await stage.line(path)).keys() == set()
