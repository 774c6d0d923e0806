"""What the gateway promises of a request that it forwards, seen from both ends of the wire."""

import asyncio
import gzip
import json
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from operator import itemgetter, methodcaller

import pytest
import pytest_asyncio

from coregateway import __version__
from coregateway.testing import (
    LAST_CHUNK,
    PATIENCE,
    Exchange,
    Filler,
    RawClient,
    Response,
    ResponseCut,
    ScriptedBackend,
    Step,
    chunk,
    close,
    delay,
    drip,
    hang,
    interim,
    read_body,
    render_head,
    reset,
    respond,
    response,
    send,
    until_taken,
    wait,
)
from coregateway.testing.messages import Framing
from tests.stage import PREFIX, TRANSPORTS, Stage, request
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIELDS = {
    "time", "level", "event", "worker", "request_id", "client", "method", "path", "protocol", "backend",
    "upstream", "status", "upstream_status", "duration_ms", "upstream_ms", "overhead_ms", "attempts",
    "bytes_in", "bytes_out", "error",
}  # fmt: skip

HURRIED = "/hurried"
"""Leads to the same backend as `PREFIX`, with little time for it to answer."""
SPILLING = "/spilling"
"""Leads there, too, for what sends too much: for a while after that, connections are used once."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other() -> AsyncIterator[ScriptedBackend]:
    """The backend of the third row."""
    async with ScriptedBackend() as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stages(other: ScriptedBackend, down: str) -> AsyncIterator[dict[str, Stage]]:
    """By how they speak to clients, and to their backend."""
    async with ScriptedBackend(accepting=False) as deaf, ScriptedBackend(receive_buffer=4096) as small:
        toml = f"""
            [timeouts]
            client = 2.5
            [limits.request]
            max_head = 4096
            max_body = 4000000
            [backends.billing]
            prefix = "/billing"
            urls = ["{other.url}"]
            methods = ["GET", "POST"]
            [backends.down]
            prefix = "/down"
            urls = ["{down}"]
            [backends.deaf]
            prefix = "/deaf"
            urls = ["{deaf.url}"]
            timeouts.connect = 0.4
            [backends.small]
            prefix = "/small"
            urls = ["{small.url}"]
            timeouts.write = 0.3
            [backends.far]
            prefix = "/far"
            urls = ["{deaf.url}"]
            [backends.hurried]
            prefix = "{HURRIED}"
            urls = ["{{backend}}"]
            timeouts.read = 0.5
        """
        small.default(hang(), early=True)
        async with Stage(toml=toml) as clear, Stage(toml=toml, tls=True) as secured:
            yield {"clear": clear, "tls": secured}


@pytest.fixture
def stage(stages: dict[str, Stage], request: pytest.FixtureRequest) -> Stage:
    return stages[getattr(request, "param", "clear")]


both_ways = pytest.mark.parametrize("stage", TRANSPORTS, indirect=True)
"""In the clear, and over TLS on both sides."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def narrow() -> AsyncIterator[Stage]:
    """A gateway with one connection to its backend, and room for one request that waits for it."""
    toml = f"""
        [limits]
        max_connections = 1
        max_queued = 1
        [cors]
        origins = ["https://a.example"]
        [backends.hurried]
        prefix = "{HURRIED}"
        urls = ["{{backend}}"]
        timeouts.pool = 1.0
        [backends.spilling]
        prefix = "{SPILLING}"
        urls = ["{{backend}}"]
    """
    async with Stage(toml=toml) as stage:
        yield stage


# ------------------------------------------------------------------ what crosses, byte for byte


@pytest.mark.parametrize(
    "suffix",
    [
        "?a=1&a=2&b=%20+&c",
        "?",
        "?q=http://x/../y%2e%2e",
        "/a%2Fb//c;v=1/%25/%c3%a9",
        "/a//",
        "/%7Euser/~user",
        "/.../..a/a..",
        '/{x}|^`"<>',
        "/a/./b/.",
        "?a#b"[:2] + "[]=1&b[]=2",
    ],
)
async def test_path_and_query_arrive_byte_for_byte(stage: Stage, suffix: str) -> None:
    path = stage.path()
    assert (await stage.ask(path + suffix)).status == 200
    (seen,) = [request for request in stage.backend.requests if request.target.startswith(path.encode())]
    assert seen.target == (path + suffix).encode()


@pytest.mark.parametrize(
    ("path", "target"), [(PREFIX, b"/"), (PREFIX + "/", b"/"), (PREFIX + "?a=b", b"/?a=b")]
)
async def test_the_prefix_alone_is_the_root_of_the_backend(stage: Stage, path: str, target: bytes) -> None:
    before = len(stage.backend.requests)
    assert (await stage.ask_gateway(path)).status == 200
    assert [request.target for request in stage.backend.requests[before:]] == [target]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/coredinatorx",
        "/api/v1/Coredinator/a",
        "/api/v1/coredinato",
        "/API/V1/COREDINATOR/a",
        "/x",
    ],
)
async def test_a_prefix_matches_by_whole_segments_and_by_case(stage: Stage, path: str) -> None:
    answer = await stage.ask_gateway(path)
    assert_problem(answer, 404, "no_route")
    assert (await stage.gateway_line(path))["backend"] is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("body", [b"", b"the body"])
async def test_every_method_passes_with_and_without_a_body(stage: Stage, method: str, body: bytes) -> None:
    path = stage.path()
    answer = await stage.ask(path, method=method, body=body)
    assert answer.status == 200
    assert answer.body == (b"" if method == "HEAD" else b"ok")
    (seen,) = stage.seen(path)
    assert (seen.method, seen.body, seen.framing) == (method.encode(), body, "length" if body else "none")
    line = await stage.line(path)
    assert (line["method"], line["bytes_in"]) == (method, len(body))


@pytest.mark.parametrize("method", ["TRACE", "PURGE", "get", "PROPFIND", "M-SEARCH"])
async def test_a_method_that_a_backend_does_not_list_is_refused_with_those_it_does(
    stage: Stage, method: str
) -> None:
    path = stage.path()
    answer = await stage.ask(path, method=method)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.header("allow") == b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
    assert stage.seen(path) == []


async def test_a_row_of_the_settings_is_a_backend(stage: Stage, other: ScriptedBackend) -> None:
    answer = await stage.ask_gateway("/billing/a%2Fb?c", method="POST", body=b"x")
    assert (answer.status, answer.body) == (200, b"ok")
    (seen,) = other.requests
    assert (seen.target, seen.body) == (b"/a%2Fb?c", b"x")
    assert seen.header("x-forwarded-prefix") == b"/billing"
    line = await stage.gateway_line("/billing/a%2Fb")
    assert (line["backend"], line["upstream"]) == ("billing", f"127.0.0.1:{other.port}")
    refused = await stage.ask_gateway("/billing/a", method="DELETE")
    assert (refused.status, refused.header("allow")) == (405, b"GET, POST")
    health = json.loads((await stage.ask_gateway("/health")).body)
    assert health["services"]["billing"] == "healthy"
    assert b'"/billing/' in (await stage.ask_gateway("/openapi.json")).body


async def test_nothing_is_added_to_a_request_but_what_the_contract_names(stage: Stage) -> None:
    path = stage.path()
    await stage.ask(path, "X-Own: 1")
    (seen,) = stage.seen(path)
    assert [name for name, _ in seen.headers] == [
        b"Host", b"X-Own", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host",
        b"X-Forwarded-Prefix", b"Via", b"X-Request-ID",
    ]  # fmt: skip
    assert seen.header("host") == stage.backend.url.removeprefix("http://").encode()
    assert seen.header("x-forwarded-for") == b"127.0.0.1"
    assert seen.header("x-forwarded-proto") == b"http"
    assert seen.header("x-forwarded-host") == b"gw"
    assert seen.header("x-forwarded-prefix") == PREFIX.encode()
    assert seen.header("via") == b"1.1 coregateway"


async def test_what_a_stranger_says_about_itself_is_replaced(stage: Stage) -> None:
    path = stage.path()
    await stage.ask(
        path,
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Prefix: /evil",
        "X-Real-IP: 6.6.6.6",
        "Forwarded: for=6.6.6.6",
        "X_Forwarded_For: 6.6.6.6",
        "Via: 1.0 before",
        "Connection: X-Secret, close",
        "X-Secret: 1",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Proxy-Authorization: Basic x",
    )
    (seen,) = stage.seen(path)
    assert b"6.6.6.6" not in seen.raw_head
    assert b"evil" not in seen.raw_head
    assert seen.values("via") == [b"1.0 before, 1.1 coregateway"]
    for name in (
        "x-secret",
        "keep-alive",
        "te",
        "proxy-authorization",
        "connection",
        "x-real-ip",
        "forwarded",
    ):
        assert seen.values(name) == [], name


async def test_header_lines_of_a_response_keep_their_number_order_and_bytes(stage: Stage) -> None:
    path = stage.path()
    fields = [
        ("Set-Cookie", "a=1; Path=/"),
        ("X-Case", "Caf\xe9  two  spaces"),
        ("Set-Cookie", "b=2"),
        ("set-cookie", "a=3"),
        ("X-Empty", ""),
        ("WWW-Authenticate", 'Basic realm="x"'),
        ("WWW-Authenticate", "Bearer"),
    ]
    stage.backend.on(path, respond(401, b"who?", fields, reason="Who are you"))
    answer = await stage.ask(path)
    assert (answer.status, answer.reason, answer.body) == (401, b"Who are you", b"who?")
    sent = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    assert [field for field in answer.headers if field in sent] == sent
    assert answer.values("set-cookie") == [b"a=1; Path=/", b"b=2", b"a=3"]


async def test_hop_by_hop_fields_of_a_response_stay_behind(stage: Stage) -> None:
    path = stage.path()
    fields = [
        ("Connection", "X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=9"),
        ("Proxy-Authenticate", "x"),
    ]
    stage.backend.on(path, respond(200, b"ok", fields))
    answer = await stage.ask(path)
    for name in ("connection", "x-hop", "keep-alive", "proxy-authenticate"):
        assert answer.values(name) == [], name


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "mapped"),
    [
        ("http://{authority}/a?b#c", PREFIX + "/a?b#c"),
        ("http://{AUTHORITY}", PREFIX + "/"),
        ("//{authority}/a", PREFIX + "/a"),
        ("/a/b", PREFIX + "/a/b"),
        (PREFIX + "/a", PREFIX + "/a"),
        ("relative?x", "relative?x"),
        ("http://elsewhere.example/a", "http://elsewhere.example/a"),
    ],
)
async def test_a_redirect_is_passed_on_and_points_back_through_the_gateway(
    stage: Stage, status: int, location: str, mapped: str
) -> None:
    path = stage.path()
    authority = f"127.0.0.1:{stage.backend.port}"
    location = location.format(authority=authority, AUTHORITY=authority.upper())
    stage.backend.on(path, respond(status, headers=[("Location", location), ("Content-Location", location)]))
    answer = await stage.ask(path)
    assert answer.status == status
    assert answer.values("location") == [mapped.encode()]
    assert answer.values("content-location") == [mapped.encode()]
    assert len(stage.seen(path)) == 1


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_compressed_body_passes_bit_for_bit(stage: Stage, framing: Framing) -> None:
    path = stage.path()
    packed = gzip.compress(b"a long text " * 10_000)
    fields = [("Content-Encoding", "gzip"), ("ETag", '"x"'), ("Vary", "Accept-Encoding")]
    stage.backend.on(path, respond(200, packed, fields, framing=framing))
    answer = await stage.ask(path)
    assert answer.body == packed
    assert answer.header("content-encoding") == b"gzip"
    assert answer.header("etag") == b'"x"'
    assert answer.content.framing == ("length" if framing == "length" else "chunked")


@pytest.mark.parametrize(
    ("method", "steps", "status", "length"),
    [
        pytest.param("HEAD", [respond(200, b"body")], 200, b"4", id="HEAD"),
        pytest.param("HEAD", [respond(200, b"body", framing="chunked")], 200, None, id="HEAD chunked"),
        pytest.param("GET", [respond(204)], 204, None, id="204"),
        pytest.param(
            "GET", [respond(204, headers=[("Content-Length", "0")])], 204, None, id="204 with a length"
        ),
        pytest.param("GET", [respond(304, headers=[("ETag", '"x"')])], 304, None, id="304"),
        pytest.param(
            "GET", [respond(304, headers=[("Content-Length", "7")])], 304, b"7", id="304 with a length"
        ),
        pytest.param("GET", [respond(200)], 200, b"0", id="empty"),
    ],
)
async def test_a_response_without_a_body_leaves_both_connections_usable(
    stage: Stage, method: str, steps: list[Step], status: int, length: bytes | None
) -> None:
    path = stage.path()
    stage.backend.on(path, *steps)
    async with stage.client() as client:
        for _ in range(2):
            await client.send(request(PREFIX + path, method=method))
            answer = await client.read_response(to_head=method == "HEAD")
            assert (answer.status, answer.header("content-length"), answer.body) == (status, length, b"")
            assert answer.values("transfer-encoding") == []
        await client.send(request(PREFIX + stage.path()))
        assert (await client.read_response()).body == b"ok"
    assert len({seen.connection for seen in stage.seen(path)}) == 1


async def test_interim_responses_are_not_taken_for_the_answer(stage: Stage) -> None:
    path = stage.path()
    stage.backend.on(path, interim(103, [("Link", "</a>")], times=3), respond(200, b"ok"))
    answer = await stage.ask(path)
    assert (answer.status, answer.body) == (200, b"ok")


@pytest.mark.parametrize("status", [200, 201, 226, 299, 400, 404, 418, 429, 451, 500, 502, 503, 599])
async def test_a_status_of_the_backend_is_passed_on_without_a_cause_of_ours(
    stage: Stage, status: int
) -> None:
    path = stage.path()
    fields = [("X-CoreGateway-Error", "faked"), ("Retry-After", "7")]
    stage.backend.on(path, respond(status, b"theirs", fields, reason="Theirs"))
    answer = await stage.ask(path)
    assert (answer.status, answer.reason, answer.body) == (status, b"Theirs", b"theirs")
    assert answer.values("x-coregateway-error") == []
    assert answer.header("retry-after") == b"7"
    line = await stage.line(path)
    assert (line["status"], line["upstream_status"], line["error"]) == (status, status, None)


# ------------------------------------------------------------------ ids and versions


@pytest.mark.parametrize("given", ["a", "A-Z_a.z~0-9", "x" * 128])
async def test_a_request_id_that_is_fit_is_kept_everywhere(stage: Stage, given: str) -> None:
    given = (given + stage.new_id())[-128:]
    path = stage.path()
    stage.backend.on(path, send(b"garbage\r\n\r\n"))
    answer = await stage.ask(path, f"X-Request-ID: {given}")
    assert answer.header("x-request-id") == given.encode()
    assert json.loads(answer.body)["request_id"] == given
    assert stage.seen(path)[0].header("x-request-id") == given.encode()
    assert (await stage.line(path))["request_id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a,b", "a/b", "\xe4", "<script>", 'a"b'])
async def test_any_other_request_id_is_replaced_everywhere(stage: Stage, given: str) -> None:
    path = stage.path()
    async with stage.client() as client:
        await client.send(request(PREFIX + path, "X-Request-ID: ?").replace(b"?", given.encode("latin-1")))
        answer = await client.read_response()
    made = answer.header("x-request-id")
    assert made
    assert len(made) >= 16
    assert made != given.encode("latin-1")
    assert stage.seen(path)[0].values("x-request-id") == [made]
    assert (await stage.line(path))["request_id"] == made.decode()


async def test_the_ids_and_the_version_of_a_backend_do_not_pass_for_ours(stage: Stage) -> None:
    path = stage.path()
    stage.backend.on(path, respond(200, headers=[("X-Request-ID", "theirs"), ("X-CoreRL-Version", "9.9.9")]))
    answer = await stage.ask(path, "X-Request-ID: mine-1")
    assert answer.values("x-request-id") == [b"mine-1"]
    assert answer.values("x-corerl-version") == [__version__.encode()]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("/"), 307),
        (request("/docs"), 200),
        (request("/openapi.json"), 200),
        (request("/health"), 503),
        (request("/livez"), 200),
        (request("/livez", method="HEAD"), 200),
        (request("/readyz"), 200),
        (request("/nowhere"), 404),
        (request("/nowhere", method="HEAD"), 404),
        (request("/livez", method="POST"), 405),
        (request("/livez", "Origin: http://a", "Access-Control-Request-Method: GET", method="OPTIONS"), 204),
        (request(PREFIX + "/v"), 200),
        (request(PREFIX + "/v", method="HEAD"), 200),
        (request(PREFIX + "/v", method="TRACE"), 405),
        (
            request(
                PREFIX + "/v", "Origin: http://a", "Access-Control-Request-Method: GET", method="OPTIONS"
            ),
            204,
        ),
        (request(PREFIX + "/v", "Max-Forwards: 0", method="OPTIONS"), 204),
        (request(PREFIX + "/%2e%2e/v"), 400),
        (request(PREFIX + "/304"), 304),
        (request(PREFIX + "/204"), 204),
        (request(PREFIX + "/garbage"), 502),
        (request("/down/v"), 502),
        (request("/deaf/v"), 504),
        (b"garbage\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n", 413),
        (b"GET /" + b"a" * 5000, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 5000, 431),
        (b"GET / HTTP/1.1\r\nHos", 408),
        (request("/livez", "Expect: 100-continue", "Content-Length: 3", method="POST"), 405),
    ],
)
async def test_every_response_carries_the_version_and_a_request_id(
    stage: Stage, raw: bytes, status: int
) -> None:
    stage.backend.on("/304", respond(304))
    stage.backend.on("/204", respond(204))
    stage.backend.on("/garbage", send(b"garbage\r\n\r\n"))
    async with stage.client() as client:
        await client.send(raw)
        answer = await client.read_response(to_head=raw.startswith(b"HEAD"))
    assert answer.status == status
    assert answer.interim == []
    assert answer.values("x-corerl-version") == [__version__.encode()]
    assert len(answer.header("x-request-id") or b"") == 32


# ------------------------------------------------------------------ errors


def assert_problem(answer: Response, status: int, cause: str) -> None:
    assert answer.status == status
    assert answer.header("x-coregateway-error") == cause.encode()
    assert answer.header("content-type") == b"application/problem+json"
    assert answer.header("x-corerl-version") == __version__.encode()
    problem = json.loads(answer.body)
    assert set(problem) == {"type", "title", "status", "detail", "request_id"}
    assert problem["status"] == status
    assert problem["request_id"].encode() == answer.header("x-request-id")
    assert problem["title"]
    assert problem["detail"]
    for secret in (b"127.0.0.1", b"localhost", b"Traceback", b"coregateway", b"Error(", b".py"):
        assert secret not in answer.body
    assert (answer.header("retry-after") is not None) == (status == 503)


@pytest.mark.parametrize(
    ("raw", "status", "cause"),
    [
        (b"garbage\r\n\r\n", 400, "bad_request"),
        (request(PREFIX + "/a", "Host: b"), 400, "bad_request"),
        (request(PREFIX + "/a", "Content-Length: 1", "Transfer-Encoding: chunked"), 400, "bad_request"),
        (request(PREFIX + "/../a"), 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHos", 408, "client_timeout"),
        (request(PREFIX + "/a", "Content-Length: 5", method="POST") + b"123", 408, "client_timeout"),
        (request(PREFIX + "/a", "Content-Length: 4000001", method="POST"), 413, "body_too_large"),
        (b"GET /" + b"a" * 5000, 414, "uri_too_long"),
        (request(PREFIX + "/a", "X: " + "a" * 5000), 431, "head_too_large"),
        (request(PREFIX + "/a", *["X: y"] * 200), 431, "head_too_large"),
    ],
)
async def test_what_a_client_does_wrong_is_told_and_ends_its_connection(
    stage: Stage, raw: bytes, status: int, cause: str
) -> None:
    async with stage.client() as client:
        await client.send(raw)
        answer = await client.read_response()
        assert_problem(answer, status, cause)
        assert answer.header("connection") == b"close"
        await client.expect_closed()
    own = (answer.header("x-request-id") or b"").decode()
    line = await stage.gateway.wait_for_line(event="request", request_id=own)
    assert set(line) == FIELDS | {"reason"}
    assert (line["status"], line["error"], line["upstream_status"]) == (status, cause, None)


SILENCE: list[Step] = [hang()]
HALF = render_head(200, [("Content-Length", "9")]) + b"half"


@both_ways
@pytest.mark.parametrize(
    ("path", "steps", "status", "cause"),
    [
        ("/down", [], 502, "connect_failed"),
        ("/deaf", [], 504, "connect_timeout"),
        (PREFIX, [close()], 502, "upstream_closed"),
        (PREFIX, [reset()], 502, "upstream_closed"),
        (PREFIX, [send(b"HTTP/1.1 200 OK\r\nContent-"), close()], 502, "upstream_closed"),
        (PREFIX, [send(b"garbage\r\n\r\n")], 502, "upstream_protocol"),
        (PREFIX, [send(render_head(101))], 502, "upstream_protocol"),
        (PREFIX, [interim(103, times=1000), respond(200)], 502, "upstream_protocol"),
        (PREFIX, [send(render_head(200, [("Content-Length", "1")] * 2))], 502, "upstream_protocol"),
        (PREFIX, [send(render_head(200, [("A", "a" * 100_000)]))], 502, "upstream_protocol"),
        (HURRIED, [hang()], 504, "read_timeout"),
        (HURRIED, [send(b"HTTP/1.1 200 OK\r\n"), hang()], 504, "read_timeout"),
        (HURRIED, [drip(b"HTTP/1.1 200 OK\r\n", every=0.1), hang()], 504, "read_timeout"),
    ],
)
async def test_what_a_backend_does_wrong_has_its_own_status_and_cause(
    stage: Stage, path: str, steps: list[Step], status: int, cause: str
) -> None:
    own = stage.path()
    stage.backend.on(own, *steps)
    async with stage.client() as client:
        await client.send(request(path + own, method="POST"))  # not sent again, whatever happens
        assert_problem(await client.read_response(), status, cause)
        # The client's connection is as good as before.
        await client.send(request(PREFIX + stage.path()))
        assert (await client.read_response()).body == b"ok"
    line = await stage.gateway_line(path + own)
    assert (line["status"], line["error"], line["upstream_status"]) == (status, cause, None)
    assert line["upstream"].startswith("127.0.0.1:")
    assert line["attempts"] == (3 if cause == "connect_failed" else 1)


async def test_a_backend_that_is_down_is_told_before_any_limit_passes(stage: Stage) -> None:
    started = time.monotonic()
    assert (await stage.ask_gateway("/down" + stage.path())).status == 502
    assert time.monotonic() - started < 4.0  # `timeouts.connect` is 5


async def test_a_backend_that_takes_no_bytes_is_a_write_timeout(stage: Stage) -> None:
    path = "/small" + stage.path()
    async with stage.client() as client:
        await client.send(request(path, "Content-Length: 3999999", method="POST"))
        sending = asyncio.create_task(client.send(Filler(3_999_999)))
        started = time.monotonic()
        assert_problem(await client.read_response(), 504, "write_timeout")
        assert 0.29 < time.monotonic() - started < 4.0  # without limits of its own it would have 10
        sending.cancel()
        await asyncio.wait([sending])
        await client.expect_closed()
    assert (await stage.gateway_line(path))["error"] == "write_timeout"


async def test_a_full_pool_and_a_full_queue_are_told_apart(narrow: Stage) -> None:
    path, others = narrow.path(), [narrow.path(), narrow.path()]
    gate = asyncio.Event()
    narrow.backend.on(path, wait(gate), respond(200, b"late"))
    first = asyncio.create_task(narrow.ask_gateway(HURRIED + path))
    await narrow.wait_seen(path)
    answers = await asyncio.gather(*(narrow.ask_gateway(HURRIED + other) for other in others))
    gate.set()
    assert (await first).body == b"late"
    lines = [await narrow.gateway_line(HURRIED + other) for other in others]
    for answer, line in zip(answers, lines, strict=True):
        assert_problem(answer, 503, line["error"])
        assert (line["status"], line["attempts"]) == (503, 1)
    refused, waited = sorted(lines, key=itemgetter("error"))  # whichever came first may wait
    assert (refused["error"], waited["error"]) == ("overloaded", "pool_timeout")
    assert refused["duration_ms"] < waited["duration_ms"]
    assert 990 <= waited["duration_ms"] < 4000  # of 1, and without a limit of its own it would have 5 s
    assert [narrow.seen(other) for other in others] == [[], []]
    assert (await narrow.ask_gateway(HURRIED + narrow.path())).body == b"ok"


@both_ways
@pytest.mark.parametrize(
    ("ending", "cause"),
    [(close(), "upstream_closed"), (reset(), "upstream_closed"), (hang(), "read_timeout")],
    ids=["FIN", "RST", "silence"],
)
@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(HALF, id="length"),
        pytest.param(render_head(200, [("Transfer-Encoding", "chunked")]) + chunk(b"half"), id="chunked"),
        pytest.param(render_head(200, [("Transfer-Encoding", "chunked")]) + b"9\r\nhalf", id="in a chunk"),
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_body_that_is_cut_never_looks_complete(
    stage: Stage, begun: bytes, ending: Step, cause: str, version: str
) -> None:
    path, prefix = stage.path(), HURRIED if cause == "read_timeout" else PREFIX
    stage.backend.on(path, send(begun), until_taken(), ending)
    async with stage.client() as client:
        await client.send(request(prefix + path).replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        answer = await client.read_head()
        assert answer.status == 200
        if answer.content.framing == "close":  # HTTP/1.0 has nothing but the way in which the connection ends
            await client.read_until_closed()
            assert client.reset_by_peer
        else:
            with pytest.raises(ResponseCut):
                await client.read_body(answer)
            assert answer.body in (b"half", b"")
    line = await stage.gateway_line(prefix + path)
    assert (line["status"], line["upstream_status"], line["error"]) == (200, 200, cause)


@both_ways
async def test_a_broken_chunk_of_the_backend_breaks_the_body_of_the_client(stage: Stage) -> None:
    path = stage.path()
    head = render_head(200, [("Transfer-Encoding", "chunked")])
    stage.backend.on(path, send(head + chunk(b"half")), delay(0.02), send(b"x\r\n"), hang())
    async with stage.client() as client:
        await client.send(request(PREFIX + path))
        with pytest.raises(ResponseCut):
            await client.read_response()
    assert (await stage.line(path))["error"] == "upstream_protocol"


# ------------------------------------------------------------------ tries


async def unrested(stage: Stage) -> None:
    """Leave no idle connection to the backend."""
    await stage.backend.close_idle()
    await asyncio.sleep(0.02)


async def rested(stage: Stage, prefix: str = PREFIX) -> None:
    """Leave exactly one idle connection, which has served before."""
    await unrested(stage)
    # The time of the hurried ones is short for a busy machine.
    while (await stage.ask_gateway(prefix + stage.path())).status != 200:
        await unrested(stage)


@both_ways
@pytest.mark.parametrize("ending", [close(if_reused=True), reset(if_reused=True)], ids=["FIN", "RST"])
@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("GET", b"", 200),
        ("HEAD", b"", 200),
        ("PUT", b"small", 200),
        ("DELETE", b"", 200),
        ("OPTIONS", b"", 200),
        ("POST", b"", 502),
        ("POST", b"small", 502),
        ("PATCH", b"small", 502),
        ("PUT", b"x" * 200_000, 502),
    ],
)
async def test_only_what_is_provably_harmless_is_sent_again(
    stage: Stage, method: str, body: bytes, status: int, ending: Step
) -> None:
    path = stage.path()
    stage.backend.on(path, ending, respond(200, b"ok"))
    await rested(stage)
    answer = await stage.ask(path, method=method, body=body)
    assert answer.status == status
    if status == 502:
        assert_problem(answer, 502, "upstream_closed")
    assert len(stage.seen(path)) == (2 if status == 200 else 1)
    line = await stage.line(path)
    assert (line["attempts"], line["status"]) == (len(stage.seen(path)), status)
    assert all(seen.body == body for seen in stage.seen(path))


@both_ways
async def test_a_second_try_is_not_spent_on_another_idle_connection(stage: Stage) -> None:
    busy, path = stage.path(), stage.path()
    await unrested(stage)
    stage.backend.on(busy, delay(0.2), respond(200))
    stage.backend.on(path, close(if_reused=True), respond(200, b"ok"))
    await asyncio.gather(*(stage.ask(busy) for _ in range(5)))  # so many idle connections
    answer = await stage.ask(path)
    assert answer.status == 200
    assert len(stage.seen(path)) == 2


@both_ways
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("steps", "reused"),
    [
        pytest.param([close()], False, id="new connection"),
        pytest.param(
            [interim(103), close(if_reused=True), respond(200)], True, id="after an interim response"
        ),
        pytest.param([send(b"HTTP/1.1 200"), close()], True, id="after the first byte"),
        pytest.param(SILENCE, True, id="silence"),
        pytest.param([respond(500)], True, id="500"),
        pytest.param([respond(503)], True, id="503"),
    ],
)
async def test_what_may_have_been_processed_is_never_sent_again(
    stage: Stage, method: str, steps: list[Step], reused: bool
) -> None:
    path, prefix = stage.path(), HURRIED if steps is SILENCE else PREFIX
    stage.backend.on(path, *steps)
    await (rested(stage, prefix) if reused else unrested(stage))
    answer = await stage.ask_gateway(prefix + path, method=method)
    assert answer.status >= 500
    assert len(stage.seen(path)) == 1
    assert (await stage.gateway_line(prefix + path))["attempts"] == 1


@both_ways
async def test_a_post_goes_out_on_a_new_connection_when_the_idle_one_is_old(stage: Stage) -> None:
    first, second, third = stage.path(), stage.path(), stage.path()
    await stage.backend.close_idle()
    await stage.ask(first)
    await asyncio.sleep(2.1)
    await stage.ask(second, method="POST")
    await stage.ask(third, method="POST")
    assert stage.seen(second)[0].connection > stage.seen(first)[0].connection
    assert stage.seen(third)[0].connection == stage.seen(second)[0].connection


# ------------------------------------------------------------------ streams


@both_ways
async def test_the_first_bytes_of_an_upload_arrive_while_the_client_holds_the_rest(stage: Stage) -> None:
    path = stage.path()
    got_some = asyncio.Event()

    def tell(_: Exchange) -> None:
        got_some.set()

    stage.backend.on(path, read_body(5), tell, read_body(), respond(201, b"ok"), early=True)
    async with stage.client() as client:
        await client.send(request(PREFIX + path, "Content-Length: 10", method="POST") + b"first")
        await asyncio.wait_for(got_some.wait(), PATIENCE)
        await client.send(b"second"[:5])
        assert (await client.read_response()).status == 201
    assert stage.seen(path)[0].body == b"firstsecon"


@both_ways
@pytest.mark.parametrize("size", [0, 1, 65_536, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_of_any_size_arrive_whole_both_ways(stage: Stage, size: int, chunked: bool) -> None:
    path = stage.path()

    async def echo(exchange: Exchange) -> None:
        fields = [("X-Hash", exchange.request.content.sha256)]
        framing = "chunked" if chunked else "length"
        await exchange.play(respond(200, Filler(size), fields, framing=framing))

    stage.backend.on(path, echo)
    async with stage.client() as client:
        if chunked:
            await client.send(request(PREFIX + path, "Transfer-Encoding: chunked", method="POST"))
            await client.send(chunk(piece) for piece in Filler(size))
            await client.send(LAST_CHUNK)
        else:
            await client.send(request(PREFIX + path, f"Content-Length: {size}", method="POST"))
            await client.send(Filler(size))
        answer = await client.read_response()
        await client.send(request(PREFIX + stage.path()))
        assert (await client.read_response()).body == b"ok"
    assert (answer.header("x-hash") or b"").decode() == Filler(size).sha256
    assert (answer.content.size, answer.content.sha256) == (size, Filler(size).sha256)
    line = await stage.line(path)
    assert (line["bytes_in"], line["bytes_out"]) == (size, size)


@both_ways
async def test_an_answer_that_begins_early_does_not_cost_the_upload_a_byte(stage: Stage) -> None:
    """The backend begins to answer in the middle of the upload, and ends with the hash of all of it."""
    path = stage.path()
    size = 3_000_000

    async def answer_while_reading(exchange: Exchange) -> None:
        await exchange.read_body(100_000)
        await asyncio.sleep(0.1)  # meanwhile every buffer on the way fills up
        await exchange.send(render_head(200, [("Transfer-Encoding", "chunked")]))
        await asyncio.sleep(0.1)
        await exchange.read_body()
        await exchange.send(chunk(exchange.request.content.sha256.encode()) + LAST_CHUNK)

    stage.backend.on(path, answer_while_reading, early=True)
    async with stage.client() as client:
        await client.send(request(PREFIX + path, f"Content-Length: {size}", method="POST"))
        await client.send(Filler(size))
        answer = await client.read_response()
    assert answer.body.decode() == Filler(size).sha256
    assert (await stage.line(path))["error"] is None


@both_ways
@pytest.mark.parametrize("status", [401, 413])
@pytest.mark.parametrize("steps", [[], [close()], [reset()], [hang()]], ids=["reads", "FIN", "RST", "silent"])
@pytest.mark.parametrize("unread", [0, 1_000_000])
async def test_an_early_answer_to_an_unfinished_upload_is_relayed(
    stage: Stage, status: int, steps: list[Step], unread: int
) -> None:
    path = stage.path()
    stage.backend.on(path, read_body(1000), respond(status, b"no"), until_taken(), *steps, early=True)
    async with stage.client() as client:
        await client.send(request(PREFIX + path, "Content-Length: 3000000", method="POST") + b"x" * 2000)
        sending = asyncio.create_task(client.send(b"x" * unread))
        answer = await client.read_response()
        assert (answer.status, answer.body) == (status, b"no")
        assert answer.header("connection") == b"close"
        await asyncio.wait([sending])
        await client.expect_closed()
    await stage.upstream_ended(stage.seen(path)[0])
    line = await stage.line(path)
    assert (line["status"], line["error"]) == (status, None)


@both_ways
async def test_events_arrive_one_by_one_as_they_are_written(stage: Stage) -> None:
    """Each has arrived before the backend writes the next."""
    path, pieces = stage.path(), [b"data: one\n\n", b"data: two\n\n", b"data: three\n\n"]
    arrived = [asyncio.Event() for _ in range(1 + len(pieces))]
    fields = [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")]
    steps = [send(render_head(200, fields)), wait(arrived[0])]
    for piece, gate in zip(pieces, arrived[1:], strict=True):
        steps += [send(chunk(piece)), wait(gate)]
    stage.backend.on(path, *steps, send(LAST_CHUNK))
    async with stage.client() as client:
        await client.send(request(PREFIX + path, "Accept: text/event-stream"))
        answer = await client.read_head()
        arrived[0].set()
        for number, gate in enumerate(arrived[1:], 1):
            while answer.content.size < len(b"".join(pieces[:number])):
                answer.content.feed(await client.receive())
            gate.set()
        await client.read_body(answer)
    assert answer.body == b"".join(pieces)


@both_ways
async def test_a_slow_reader_pauses_the_backend(stage: Stage) -> None:
    path = stage.path()
    stage.backend.on(path, respond(200, Filler(64 << 20)))
    before = sum(stage.gateway.resident_memory().values())
    async with stage.client(receive_buffer=8192) as client:
        await client.send(request(PREFIX + path))
        await client.read_head()
        connection = stage.connection_of(stage.seen(path)[0])
        sent = -1
        while sent != connection.sent:
            sent = connection.sent
            await asyncio.sleep(0.1)
        assert sent < 24 << 20  # what the kernel holds in four socket buffers …
        assert sum(stage.gateway.resident_memory().values()) - before < 4 << 20  # … and little in the gateway


@both_ways
async def test_a_slow_reader_gets_all_of_it_in_the_end(stage: Stage) -> None:
    path = stage.path()
    stage.backend.on(path, respond(200, Filler(2 << 20)))
    async with stage.client(receive_buffer=8192) as client:
        await client.send(request(PREFIX + path))
        answer = await client.read_head()
        for _ in range(10):
            answer.content.feed(await client.receive(4096))
            await asyncio.sleep(0.05)
        await client.read_body(answer)
    assert answer.content.sha256 == Filler(2 << 20).sha256


# ------------------------------------------------------------------ a client that leaves


async def gone(stage: Stage, path: str) -> None:
    """The upstream side has ended, and the line says why."""
    for seen in stage.seen(path):
        await stage.upstream_ended(seen)
    line = await stage.line(path)
    assert (line["error"], line["status"]) == ("client_closed", 499)
    assert set(line) == FIELDS


@both_ways
@pytest.mark.parametrize("leave", [methodcaller("close"), methodcaller("reset")], ids=["FIN", "RST"])
@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([hang()], id="waiting for the head"),
        pytest.param([send(HALF), hang()], id="within the body"),
        pytest.param([respond(200, Filler(256 << 20))], id="within a large body"),
        pytest.param(
            [send(render_head(200, [("Transfer-Encoding", "chunked")]) + chunk(b"data: 1\n\n")), hang()],
            id="in an idle stream",
        ),
    ],
)
async def test_when_the_client_leaves_the_upstream_side_ends(
    stage: Stage, steps: list[Step], leave: Callable[[RawClient], None]
) -> None:
    path = stage.path()
    stage.backend.on(path, *steps)
    async with stage.client() as client:
        await client.send(request(PREFIX + path))
        await stage.wait_seen(path)
        await asyncio.sleep(0.05)
        leave(client)
        await gone(stage, path)


@both_ways
@pytest.mark.parametrize("early", [False, True], ids=["taken", "not taken"])
@pytest.mark.parametrize("size", [10, 60_000, 3_000_000])
async def test_when_the_client_leaves_within_its_upload_the_upstream_side_ends(
    stage: Stage, size: int, early: bool
) -> None:
    path = stage.path()
    stage.backend.on(path, hang(), early=early)
    async with stage.client() as client:
        await client.send(request(PREFIX + path, "Content-Length: 3999999", method="POST"))
        sending = asyncio.create_task(client.send(b"x" * size))
        await stage.wait_seen(path)
        await asyncio.wait([sending], timeout=0.1)
        client.reset()
        await gone(stage, path)
        sending.cancel()
        await asyncio.wait([sending])


async def test_when_the_client_leaves_while_it_is_connected_for_the_attempt_ends(stage: Stage) -> None:
    path = "/far" + stage.path()
    async with stage.client() as client:
        await client.send(request(path))
        await client.until_taken()
        client.close()
    line = await stage.gateway_line(path)
    assert (line["error"], line["status"], line["attempts"]) == ("client_closed", 499, 1)
    assert line["duration_ms"] < 4000  # of the 5 s that connecting may take


@pytest.mark.parametrize("kept", [True, False], ids=["it gets the connection", "it opens one"])
@pytest.mark.parametrize("body", [b"", b"x" * 10, b"x" * 200_000])
async def test_who_waits_in_line_is_served_when_its_turn_comes(
    narrow: Stage, body: bytes, *, kept: bool
) -> None:
    path, queued = narrow.path(), narrow.path()
    gate = asyncio.Event()
    narrow.backend.on(path, wait(gate), respond(200, b"first", [] if kept else [("Connection", "close")]))
    narrow.backend.on(queued, respond(200, b"second"))
    first = asyncio.create_task(narrow.ask(path))
    before = await narrow.wait_seen(path)
    second = asyncio.create_task(narrow.ask(queued, method="POST", body=body))
    await asyncio.sleep(0.1)
    assert narrow.seen(queued) == []
    gate.set()
    assert ((await first).body, (await second).body) == (b"first", b"second")
    (after,) = narrow.seen(queued)
    assert (after.body, after.connection == before.connection) == (body, kept)
    line = await narrow.line(queued)
    assert (line["status"], line["attempts"], line["error"]) == (200, 1, None)


async def test_what_has_waited_in_line_is_the_same_at_each_attempt_and_gets_an_answer_for_its_origin(
    narrow: Stage,
) -> None:
    path, queued = narrow.path(), narrow.path()
    gate = asyncio.Event()
    narrow.backend.on(path, wait(gate), respond(200))
    narrow.backend.on(queued, close(if_reused=True), respond(200, b"second"))
    first = asyncio.create_task(narrow.ask(path))
    await narrow.wait_seen(path)
    fields = ["Origin: https://a.example", "Accept: a/b", "Connection: x-hop", "X-Hop: 1", "X-Last: z"]
    second = asyncio.create_task(narrow.ask(queued, *fields))
    await asyncio.sleep(0.1)
    gate.set()
    await first
    answer = await second
    assert (answer.status, answer.body) == (200, b"second")
    assert answer.header("access-control-allow-origin") == b"https://a.example"
    once, again = narrow.seen(queued)
    assert once.headers == again.headers
    own = [
        value for name, value in once.headers if name.lower() in (b"origin", b"accept", b"x-last", b"x-hop")
    ]
    assert own == [b"https://a.example", b"a/b", b"z"]


# At most: the gateway reads 128 KiB ahead, and the end is behind what the kernel has room for.
@pytest.mark.parametrize("body", [0, 10, 150_000])
async def test_when_the_client_leaves_the_queue_its_request_is_never_sent(narrow: Stage, body: int) -> None:
    path, queued = narrow.path(), narrow.path()
    gate = asyncio.Event()
    narrow.backend.on(path, wait(gate), respond(200, b"late"))
    first = asyncio.create_task(narrow.ask(path))
    await narrow.wait_seen(path)
    async with narrow.client() as client:
        await client.send(request(PREFIX + queued, f"Content-Length: {body}", method="POST") + b"x" * body)
        await asyncio.sleep(0.1)
        client.close()
    line = await narrow.line(queued)
    assert (line["error"], line["status"]) == ("client_closed", 499)
    assert line["duration_ms"] < 4000  # of the 5 s for which it would have been in line
    gate.set()
    assert (await first).body == b"late"
    assert narrow.seen(queued) == []
    assert (await narrow.ask(narrow.path())).body == b"ok"


async def test_a_storm_of_clients_that_leave_costs_no_slot_and_no_descriptor(narrow: Stage) -> None:
    path = narrow.path()

    async def answer(exchange: Exchange) -> None:
        await asyncio.sleep(random.random() * 0.003)
        await exchange.send(HALF)
        await asyncio.sleep(random.random() * 0.003)
        await exchange.send(b"other")

    def descriptors() -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in narrow.gateway.processes())

    async def leave_at_random() -> None:
        ask = request(PREFIX + path)
        upload = request(PREFIX + path, "Content-Length: 500000", method="POST") + b"x" * 100_000
        async with narrow.client() as client:
            await client.send(random.choice((ask, ask * 20, upload)))
            await asyncio.sleep(random.random() * 0.02)
            random.choice((RawClient.close, RawClient.reset, RawClient.half_close))(client)

    narrow.backend.on(path, answer)
    assert (await narrow.ask(narrow.path())).body == b"ok"
    before = descriptors()
    for _ in range(20):
        await asyncio.gather(*(leave_at_random() for _ in range(30)))
    for _ in range(10):
        async with asyncio.timeout(PATIENCE):
            while (last := await narrow.ask(narrow.path())).status == 503:
                pass  # those before us in the queue have not been noticed to have left
        assert last.body == b"ok"
    await eventually(lambda: descriptors() <= before)


async def test_what_a_backend_sends_too_much_reaches_no_other_client(narrow: Stage) -> None:
    path = narrow.path()
    narrow.backend.on(path, send(response(200, b"alice") + response(200, b"poison")))
    async with narrow.client() as alice, narrow.client() as bob:
        for _ in range(5):
            await alice.send(request(SPILLING + path))
            await bob.send(request(SPILLING + narrow.path()))
            assert (await alice.read_response()).body == b"alice"
            assert (await bob.read_response()).body == b"ok"


# ------------------------------------------------------------------ the log


@both_ways
async def test_a_line_tells_all_there_is_to_tell(stage: Stage) -> None:
    path = stage.path()
    stage.backend.on(path, delay(0.05), respond(201, b"answer"))
    await stage.ask(
        path + "?secret=1", "X-Request-ID: line-1", "Cookie: secret=2", method="PUT", body=b"secret"
    )
    line = await stage.line(path)
    assert set(line) == FIELDS
    assert line | {"time": 0, "worker": 0, "duration_ms": 0, "upstream_ms": 0, "overhead_ms": 0} == {
        "time": 0, "level": "INFO", "event": "request", "worker": 0, "request_id": "line-1",
        "client": "127.0.0.1", "method": "PUT", "path": PREFIX + path, "protocol": "HTTP/1.1",
        "backend": "coredinator", "upstream": f"127.0.0.1:{stage.backend.port}", "status": 201,
        "upstream_status": 201, "duration_ms": 0, "upstream_ms": 0, "overhead_ms": 0, "attempts": 1,
        "bytes_in": 6, "bytes_out": 6, "error": None,
    }  # fmt: skip
    assert 45 < line["upstream_ms"] <= line["duration_ms"]
    assert abs(line["duration_ms"] - line["upstream_ms"] - line["overhead_ms"]) < 0.01
    assert "secret" not in stage.gateway.stdout


@both_ways
async def test_every_request_on_a_connection_has_one_line(stage: Stage) -> None:
    paths = [stage.path() for _ in range(20)]
    async with stage.client() as client:
        for path in paths:
            await client.send(request(PREFIX + path))
            await client.read_response()
    assert [(await stage.line(path))["status"] for path in paths] == [200] * 20
