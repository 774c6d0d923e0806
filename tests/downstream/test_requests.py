"""What becomes of one request on a connection: its head, its body, and an answer in every case."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from coregateway.testing import (
    LAST_CHUNK,
    Exchange,
    Filler,
    chunk,
    hang,
    read_body,
    respond,
    wait,
)
from tests.stage import PREFIX, TRANSPORTS, Stage, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_BODY = 200_000
MAX_HEAD = 4096


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=TRANSPORTS)
async def stage(down: str, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    toml = f"""
        [timeouts]
        client = {5.0 if request.param == "tls" else 1.0}
        read = 1.0
        [limits.request]
        max_head = {MAX_HEAD}
        max_body = {MAX_BODY}
        [cors]
        origins = ["https://app.example"]
        credentials = true
        [backends.down]
        prefix = "/down"
        urls = ["{down}"]
    """
    async with Stage(toml=toml, tls=request.param == "tls") as stage:
        yield stage


# ------------------------------------------------------------------ Expect: 100-continue


async def test_a_client_that_waits_is_told_to_go_on_once(stage: Stage) -> None:
    path = stage.path()
    async with stage.client() as client:
        await client.send(request(PREFIX + path, "Expect: 100-continue", "Content-Length: 4", method="POST"))
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"bo")
        await client.expect_silence(0.05)
        await client.send(b"dy")
        answer = await client.read_response()
        assert (answer.status, answer.interim) == (200, [])
        await client.send(request(PREFIX + path))
        assert (await client.read_response()).status == 200
    assert stage.seen(path)[0].body == b"body"
    assert stage.seen(path)[0].values("expect") == []


async def test_a_client_that_does_not_wait_is_served_all_the_same(stage: Stage) -> None:
    path = stage.path()
    async with stage.client() as client:
        await client.send(request(PREFIX + path, "Expect: 100-continue", method="POST", body=b"body"))
        answer = await client.read_response()
        assert answer.status == 200
        assert len(answer.interim) <= 1
    assert stage.seen(path)[0].body == b"body"


@pytest.mark.parametrize(
    ("path", "fields", "method", "status"),
    [
        (PREFIX + "/x", ["Content-Length: 999999"], "POST", 413),
        (PREFIX + "/x", ["Content-Length: 5"], "TRACE", 405),
        ("/nowhere", ["Content-Length: 5"], "POST", 404),
        ("/livez", ["Content-Length: 5"], "POST", 405),
        ("/nowhere", ["Transfer-Encoding: chunked"], "PUT", 404),
        ("/docs", ["Content-Length: 5"], "GET", 200),
        ("/livez", ["Transfer-Encoding: chunked"], "GET", 200),
        (PREFIX + "/x", ["Content-Length: 999999", "Connection: close"], "PUT", 413),
        (PREFIX + "/x", ["Content-Length: 5", "Max-Forwards: 0"], "OPTIONS", 204),
        (
            PREFIX + "/x",
            ["Content-Length: 5", "Origin: https://app.example", "Access-Control-Request-Method: PUT"],
            "OPTIONS",
            204,
        ),
        (PREFIX + "/x", ["Content-Length: 5", "Content-Length: 5"], "POST", 400),
        (PREFIX + "/x", ["Content-Length: 5", "Transfer-Encoding: chunked"], "POST", 400),
        (PREFIX + "/x", ["Content-Length: 5", "No field"], "POST", 400),
        (PREFIX + "/x", ["Content-Length: 5", "X: " + "x" * MAX_HEAD], "POST", 431),
        (PREFIX + "/../x", ["Content-Length: 5"], "POST", 400),
    ],
)
async def test_a_client_is_not_asked_for_a_body_that_nobody_wants(
    stage: Stage, path: str, fields: list[str], method: str, status: int
) -> None:
    async with stage.client() as client:
        await client.send(request(path, "Expect: 100-continue", *fields, method=method))
        answer = await client.read_response()
        assert (answer.status, answer.interim) == (status, [])
        assert answer.header("connection") == b"close"
        await client.expect_closed()


@pytest.mark.parametrize("fields", [["Content-Length: 5"], ["Transfer-Encoding: chunked"]])
@pytest.mark.parametrize("behind", [False, True], ids=["alone", "pipelined"])
async def test_a_client_is_asked_for_its_body_before_a_connection_is_taken(
    fields: list[str], *, behind: bool
) -> None:
    async with Stage(toml="limits.max_connections = 1\ntimeouts.pool = 60.0") as narrow:
        path, held, go = narrow.path(), narrow.path(), asyncio.Event()
        narrow.backend.on(held, wait(go), respond(200))
        async with narrow.client(within=20) as holder, narrow.client(within=20) as client:
            await holder.send(request(PREFIX + held))
            await narrow.wait_seen(held)
            if behind:
                await client.send(request("/livez"))
            await client.send(request(PREFIX + path, "Expect: 100-continue", *fields, method="POST"))
            if behind:
                assert (await client.read_response()).status == 200
            assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert narrow.seen(path) == []
            await client.send(b"hello" if "Content" in fields[0] else chunk(b"hello") + LAST_CHUNK)
            go.set()
            answer = await client.read_response()
            assert (answer.status, answer.interim) == (200, [])
            assert (await holder.read_response()).status == 200
        assert narrow.seen(path)[0].body == b"hello"


async def test_a_failure_that_no_head_foretells_follows_the_interim_answer(stage: Stage) -> None:
    async with stage.client() as client:
        await client.send(request("/down/x", "Expect: 100-continue", "Content-Length: 5", method="POST"))
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hello")
        assert (await client.read_response()).status == 502


async def test_an_early_refusal_reaches_a_client_that_waits(stage: Stage) -> None:
    path = stage.path()
    stage.backend.on(path, respond(401, b"no"), hang(), early=True)
    async with stage.client() as client:
        await client.send(request(PREFIX + path, "Expect: 100-continue", "Content-Length: 9", method="POST"))
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"n")
        assert (await client.read_response()).status == 401
        await client.expect_closed()


# ------------------------------------------------------------------ limits


@pytest.mark.parametrize(
    ("size", "status"), [(MAX_HEAD, 200), (MAX_HEAD + 1, 431), (3 * MAX_HEAD, 431), (100_000, 431)]
)
@pytest.mark.parametrize("segments", [False, True])
async def test_the_limit_of_a_head_is_exact(stage: Stage, size: int, status: int, segments: bool) -> None:
    head = request(PREFIX + stage.path(), "X: ")
    head = head.replace(b"X: ", b"X: " + b"a" * (size - len(head)))
    assert len(head) == size
    async with stage.client() as client:
        sending = asyncio.create_task(
            client.send_segments(head, size=1500) if segments else client.send(head)
        )
        assert (await client.read_response()).status == status
        sending.cancel()
        await asyncio.wait([sending])


@pytest.mark.parametrize(("size", "status"), [(MAX_HEAD - 200, 200), (MAX_HEAD + 1, 414), (100_000, 414)])
async def test_a_request_line_that_is_too_long_has_its_own_status(
    stage: Stage, size: int, status: int
) -> None:
    async with stage.client() as client:
        await client.send(request(PREFIX + stage.path() + "?" + "a" * size))
        assert (await client.read_response()).status == status


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY, 200), (MAX_BODY + 1, 413)])
async def test_the_limit_of_a_declared_body_is_exact_and_told_at_once(
    stage: Stage, size: int, status: int
) -> None:
    path = stage.path()
    async with stage.client() as client:
        await client.send(request(PREFIX + path, f"Content-Length: {size}", method="POST"))
        if status == 200:
            await client.send(Filler(size))
        answer = await client.read_response()
    assert answer.status == status
    assert len(stage.seen(path)) == (status == 200)
    if status == 413:
        assert answer.header("x-coregateway-error") == b"body_too_large"


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY, 200), (MAX_BODY + 1, 413), (3 * MAX_BODY, 413)])
async def test_the_limit_of_a_chunked_body_is_exact(stage: Stage, size: int, status: int) -> None:
    path = stage.path()
    async with stage.client() as client:
        await client.send(request(PREFIX + path, "Transfer-Encoding: chunked", method="POST"))
        await client.send([*map(chunk, Filler(size)), LAST_CHUNK])
        answer = await client.read_response()
        assert answer.status == status
        if status == 413:
            assert answer.header("x-coregateway-error") == b"body_too_large"
            await client.expect_closed()
    seen = stage.seen(path)
    assert [request.complete for request in seen] == ([True] if status == 200 else [False] * len(seen))
    assert (await stage.line(path))["status"] == status


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"3\r\nabcX",
        b"3\nabc\r\n",
        b"-1\r\n",
        b"3\r\nabc\r\n0\r\nbad trailer\r\n\r\n",
        b"0x1\r\na\r\n",
    ],
)
@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["at once", "later"])
async def test_a_broken_chunk_of_a_client_never_completes_its_request(
    stage: Stage, data: bytes, pause: float
) -> None:
    path = stage.path()
    async with stage.client() as client:
        await client.send(
            request(PREFIX + path, "Transfer-Encoding: chunked", method="POST") + chunk(b"good")
        )
        await asyncio.sleep(pause)
        await client.send(data)
        answer = await client.read_response()
        assert (answer.status, answer.header("x-coregateway-error")) == (400, b"bad_request")
        await client.expect_closed()
    await asyncio.gather(*map(stage.upstream_ended, stage.seen(path)))
    assert not any(seen.complete for seen in stage.seen(path))
    line = await stage.line(path)
    assert (line["status"], line["error"]) == (400, "bad_request")


# ------------------------------------------------------------------ bodies


async def test_trailers_and_extensions_of_a_chunked_body_go_no_further(stage: Stage) -> None:
    path = stage.path()
    async with stage.client() as client:
        await client.send(
            request(PREFIX + path, "Transfer-Encoding: chunked", method="POST")
            + b"4;x=y\r\nbody\r\n0\r\nX-Trailer: evil\r\n\r\n"
        )
        assert (await client.read_response()).status == 200
    (seen,) = stage.seen(path)
    assert (seen.body, seen.content.extensions, seen.content.trailers) == (b"body", [], [])


async def test_a_body_that_comes_byte_by_byte_arrives_whole(stage: Stage) -> None:
    path = stage.path()
    raw = request(PREFIX + path, "Transfer-Encoding: chunked", method="POST") + chunk(b"bo") + chunk(b"dy")
    async with stage.client() as client:
        await client.send_segments(raw + LAST_CHUNK, size=1)
        assert (await client.read_response()).status == 200
    assert stage.seen(path)[0].body == b"body"


@pytest.mark.parametrize("path", ["/livez", "/nowhere", "/docs", PREFIX + "/not-read"])
async def test_a_body_that_was_not_wanted_is_not_taken_for_the_next_request(stage: Stage, path: str) -> None:
    stage.backend.on("/not-read", read_body(1), respond(200), early=True)
    smuggled = request(PREFIX + "/smuggled")
    async with stage.client() as client:
        await client.send(request(path, method="POST", body=smuggled) + request("/livez"))
        statuses = [(await client.read_response()).status]
        rest = await client.read_until_closed() if statuses[0] >= 500 else b""
        assert rest == b""
    assert stage.seen("/smuggled") == []


async def test_bodies_flow_both_ways_at_once(stage: Stage) -> None:
    path = stage.path()

    async def echo(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for size in range(1, 6):
            await exchange.read_body(size)
            await exchange.send(chunk(exchange.request.content.data[-1:]))
        await exchange.read_body()
        await exchange.send(LAST_CHUNK)

    stage.backend.on(path, echo, early=True)
    async with stage.client() as client:
        await client.send(request(PREFIX + path, "Transfer-Encoding: chunked", method="POST") + chunk(b"a"))
        await client.read_until(b"\r\n\r\n")
        for letter in (b"a", b"b", b"c", b"d", b"e"):
            if letter != b"a":
                await client.send(chunk(letter))
            assert await client.read_until(letter + b"\r\n") == b"1\r\n" + letter + b"\r\n"
        await client.send(LAST_CHUNK)
        assert await client.read_until(LAST_CHUNK) == LAST_CHUNK
    assert (await stage.line(path))["error"] is None


# ------------------------------------------------------------------ what any answer is like


@pytest.mark.parametrize(
    ("raw", "method", "path"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", None, None),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI", "*"),
        (b"GET / HTTP/3\r\n\r\n", "GET", "/"),
        (b"\0", None, None),
    ],
)
async def test_what_is_no_request_is_refused_and_has_its_line(
    stage: Stage, raw: bytes, method: str | None, path: str | None
) -> None:
    async with stage.client() as client:
        await client.send(raw)
        if b"\n" not in raw and b"\0" not in raw:
            client.half_close()
        answer = await client.read_response()
        await client.expect_closed()
    assert answer.status == 400
    problem = json.loads(answer.body)
    line = await stage.gateway.wait_for_line(event="request", request_id=problem["request_id"])
    assert (line["method"], line["path"]) == (method, path)
    unknown = ("protocol", "backend", "upstream", "upstream_status", "upstream_ms")
    assert [line[name] for name in unknown] == [None] * len(unknown)
    assert (line["status"], line["error"], line["attempts"]) == (400, "bad_request", 0)


@pytest.mark.parametrize("path", ["/livez", "/nowhere", "/docs", PREFIX + "/head", "/down/x"])
async def test_head_is_answered_as_get_but_for_the_body(stage: Stage, path: str) -> None:
    stage.backend.on("/head", respond(200, b"body"))
    get = await stage.ask_gateway(path)
    async with stage.client() as client:
        await client.send(request(path, method="HEAD") + request("/livez"))
        head = await client.read_response(to_head=True)
        assert (await client.read_response()).body == b'{"status":"alive"}'
    assert head.status == get.status
    assert head.header("content-length") == get.header("content-length")
    assert head.header("content-type") == get.header("content-type")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        pytest.param(b"HEAD /\0 HTTP/1.1\r\n\r\n", 400, id="a broken line"),
        pytest.param(b"HEAD / HTTP/1.1\r\n\r\n", 400, id="no Host"),
        pytest.param(b"\r\nHEAD  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="two spaces"),
        pytest.param(b"HEAD / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * MAX_HEAD, 431, id="too large"),
        pytest.param(b"HEAD /" + b"x" * MAX_HEAD, 414, id="a line without an end"),
        pytest.param(b"HEAD /%2e%2e/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="out of its prefix"),
        pytest.param(b"HEAD / HTTP/1.1\r\nHost:", 408, id="not complete in time"),
    ],
)
async def test_a_head_request_that_is_refused_gets_no_body(stage: Stage, raw: bytes, status: int) -> None:
    async with stage.client() as client:
        await client.send(raw)
        answer = await client.read_response(to_head=True)
        assert answer.status == status
        assert int(answer.header("content-length") or 0) > 0
        await client.expect_closed()


ALLOWED = "https://app.example"


@pytest.mark.parametrize("path", [PREFIX + "/cors", "/livez", "/nowhere", "/down/x", PREFIX + "/%2e%2e/x"])
@pytest.mark.parametrize("origin", [ALLOWED, "https://evil.example", None])
async def test_what_the_settings_say_of_an_origin_takes_the_place_of_what_the_backend_says(
    stage: Stage, path: str, origin: str | None
) -> None:
    theirs = [("Access-Control-Allow-Origin", "*"), ("access-control-allow-methods", "X"), ("Vary", "Accept")]
    stage.backend.on("/cors", respond(200, b"ok", theirs))
    answer = await stage.ask_gateway(path, *([f"Origin: {origin}"] if origin else []))
    allowed = [ALLOWED.encode()] if origin == ALLOWED else []
    assert answer.values("access-control-allow-origin") == allowed
    assert answer.values("access-control-allow-credentials") == [b"true"] * len(allowed)
    assert answer.values("access-control-allow-methods") == []
    vary = b", ".join(answer.values("vary")).split(b", ")
    assert b"Origin" in vary
    if path.endswith("cors"):
        assert b"Accept" in vary


@pytest.mark.parametrize("path", [PREFIX + "/preflight", "/livez"])
@pytest.mark.parametrize("origin", [ALLOWED, "https://evil.example"])
async def test_a_preflight_is_answered_here(stage: Stage, path: str, origin: str) -> None:
    answer = await stage.ask_gateway(
        path,
        f"Origin: {origin}",
        "Access-Control-Request-Method: PUT",
        "Access-Control-Request-Headers: X-A, X-B",
        method="OPTIONS",
    )
    assert (answer.status, answer.body) == (204, b"")
    granted = origin == ALLOWED
    assert answer.values("access-control-allow-origin") == ([ALLOWED.encode()] if granted else [])
    assert answer.values("access-control-allow-headers") == ([b"X-A, X-B"] if granted else [])
    assert bool(answer.values("access-control-allow-methods")) == granted
    assert stage.seen("/preflight") == []
    assert (await stage.gateway.wait_for_line(event="request", path=path, method="OPTIONS"))["status"] == 204


async def test_another_options_request_is_the_backends(stage: Stage) -> None:
    path = stage.path()
    stage.backend.on(path, respond(200, b"theirs", [("Allow", "GET")]))
    answer = await stage.ask(path, f"Origin: {ALLOWED}", method="OPTIONS")
    assert (answer.body, answer.header("allow")) == (b"theirs", b"GET")


@pytest.mark.parametrize(("given", "sent"), [("5", b"4"), ("1", b"0")])
async def test_max_forwards_counts_down(stage: Stage, given: str, sent: bytes) -> None:
    path = stage.path()
    await stage.ask(path, f"Max-Forwards: {given}", method="OPTIONS")
    assert stage.seen(path)[0].values("max-forwards") == [sent]


async def test_an_answer_leaves_in_one_piece_whatever_the_client_is(stage: Stage) -> None:
    async with stage.client() as client:
        for path in ("/livez", PREFIX + stage.path()):
            await client.send(request(path))
            before = len(client.arrivals)
            await client.read_response()
            assert len(client.arrivals) - before == 1


async def test_many_clients_at_once_each_get_their_own_answer(stage: Stage) -> None:
    async with Stage(tls=stage.is_secured) as patient:
        await ask_at_once(patient)


async def ask_at_once(stage: Stage) -> None:
    async def echo(exchange: Exchange) -> None:
        await exchange.play(respond(200, exchange.request.target))

    stage.backend.on("/own", echo)

    async def ask(client_number: int) -> None:
        async with stage.client(within=20) as client:
            for number in range(20):
                target = f"/own?{client_number}-{number}"
                await client.send(request(PREFIX + target))
                assert (await client.read_response()).body == target.encode()

    await asyncio.gather(*map(ask, range(60)))
