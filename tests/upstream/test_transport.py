"""What httpx sees: its own vocabulary over the pool, and nothing of one caller's in another's exchange."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from coregateway.net.worker_io import WorkerIO
from coregateway.settings.model import BackendSettings, Settings
from coregateway.testing import (
    PATIENCE,
    Filler,
    ScriptedBackend,
    Step,
    close,
    delay,
    hang,
    interim,
    render_head,
    reset,
    respond,
    response,
    send,
)
from coregateway.upstream.backend import Backend
from coregateway.upstream.httpx_transport import PoolTransport
from coregateway.upstream.opening import open_backend
from coregateway.upstream.pool import Pool
from tests.upstream.pools import LATE, fetch, pool_to, state
from tests.waiting import eventually


def client_of(pool: Pool, **options: Any) -> httpx.AsyncClient:
    """A client over the pool; `pool_to` closes both."""
    return httpx.AsyncClient(
        transport=PoolTransport(pool),
        base_url="http://backend",
        trust_env=False,
        **options,
    )


@asynccontextmanager
async def backend_row(url: str) -> AsyncGenerator[Backend]:
    """A backend as the gateway makes it from its settings."""
    row = BackendSettings(prefix="/b", urls=(url,))
    io = WorkerIO(asyncio.get_running_loop())
    backend = open_backend(io, "b", row, Settings(backends={"b": row}).limits)
    try:
        yield backend
    finally:
        await backend.close()
        io.close()


# ------------------------------------------------------------------ requests and responses


async def test_a_request_goes_out_as_httpx_made_it(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url) as pool:
        answer = await client_of(pool).post(
            "/a%2Fb?x=1&x=2", content=b"body", headers=[("X-Twice", "1"), ("X-Twice", "2")]
        )
    assert answer.status_code == 200
    sent = backend.requests[0]
    assert (sent.method, sent.target, sent.body) == (b"POST", b"/a%2Fb?x=1&x=2", b"body")
    assert sent.values("x-twice") == [b"1", b"2"]
    assert sent.values("host") == [backend.url.removeprefix("http://").encode()]
    assert sent.framing == "length"


async def test_the_target_extension_goes_out_byte_for_byte(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url) as pool:
        request = client_of(pool).build_request("GET", "/", extensions={"target": b"/a/%2e%2E/{b}?|"})
        await client_of(pool).send(request)
    assert backend.requests[0].target == b"/a/%2e%2E/{b}?|"


async def test_a_streamed_body_goes_out_in_chunks(backend: ScriptedBackend) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b""
        yield b"two"

    async with pool_to(backend.url) as pool:
        await client_of(pool).put("/", content=pieces())
        assert state(pool).idle == 1
    assert (backend.requests[0].framing, backend.requests[0].body) == ("chunked", b"onetwo")


async def test_a_response_comes_back_as_the_backend_sent_it() -> None:
    fields = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Latin", "caf\xe9"), ("Empty", "")]
    async with (
        ScriptedBackend(respond(418, b"short", fields, reason="I am a teapot")) as backend,
        pool_to(backend.url) as pool,
    ):
        answer = await client_of(pool).get("/")
    assert (answer.status_code, answer.reason_phrase, answer.content) == (418, "I am a teapot", b"short")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert (b"Latin", b"caf\xe9") in answer.headers.raw
    assert answer.headers["empty"] == ""
    assert answer.http_version == "HTTP/1.1"


@pytest.mark.parametrize(
    ("method", "step", "status"),
    [("HEAD", respond(200, b"body"), 200), ("GET", respond(204), 204), ("GET", respond(304), 304)],
)
async def test_a_response_without_a_body_leaves_its_connection_usable(
    method: str, step: Step, status: int
) -> None:
    async with ScriptedBackend(step) as backend, pool_to(backend.url) as pool:
        for _ in range(3):
            answer = await client_of(pool).request(method, "/")
            assert (answer.status_code, answer.content) == (status, b"")
        assert len(backend.connections) == 1


async def test_a_redirect_is_not_followed() -> None:
    async with (
        ScriptedBackend(respond(307, headers=[("Location", "/x")])) as backend,
        backend_row(backend.url) as row,
    ):
        assert (await row.client.get("/")).status_code == 307
        assert len(backend.requests) == 1


async def test_a_body_streams() -> None:
    async with ScriptedBackend(respond(200, Filler(4 << 20))) as backend, pool_to(backend.url) as pool:
        async with client_of(pool).stream("GET", "/") as answer:
            assert state(pool).busy == 1
            size = 0
            async for piece in answer.aiter_raw():
                size += len(piece)
        assert size == 4 << 20
        assert state(pool) == (0, 0, 0, 1, 0, 50)


async def test_an_answer_that_is_left_unread_ends_its_connection() -> None:
    async with ScriptedBackend(respond(200, Filler(4 << 20))) as backend, pool_to(backend.url) as pool:
        async with client_of(pool).stream("GET", "/") as answer:
            await anext(answer.aiter_raw())
        await backend.connections[0].closed_by_peer.wait()
        assert state(pool) == (0, 0, 0, 0, 0, 50)


async def test_closing_a_response_twice_is_harmless(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url) as pool:
        async with client_of(pool).stream("GET", "/") as answer:
            await answer.aread()
            assert isinstance(answer.stream, httpx.AsyncByteStream)
            await answer.stream.aclose()
        await answer.aclose()
        assert state(pool) == (0, 0, 0, 1, 0, 50)
        assert await fetch(pool) == (200, b"ok")


async def test_an_early_answer_counts_although_the_request_was_not_taken() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for block in Filler(64 << 20):
            yield block

    steps = [respond(413, b"no"), delay(0.05), close()]
    async with ScriptedBackend(*steps, early=True) as backend, pool_to(backend.url) as pool:
        answer = await client_of(pool).post("/", content=endless())
        assert (answer.status_code, answer.content) == (413, b"no")
        assert state(pool) == (0, 0, 0, 0, 0, 50)


# ------------------------------------------------------------------ what must not leave


@pytest.mark.parametrize(
    ("headers", "extensions"),
    [
        pytest.param({"X": "a\r\nEvil: 1"}, {}, id="line end in a value"),
        pytest.param({"X": "a\nEvil: 1"}, {}, id="bare LF in a value"),
        pytest.param({"X\r\nEvil": "1"}, {}, id="line end in a name"),
        pytest.param({"X ": "1"}, {}, id="space in a name"),
        pytest.param({"X": "a\0"}, {}, id="NUL"),
        pytest.param({}, {"target": b"/ HTTP/1.1\r\nEvil: 1\r\n\r\n"}, id="line end in the target"),
        pytest.param({}, {"target": b"/a b"}, id="space in the target"),
    ],
)
async def test_what_would_break_the_request_is_refused_before_a_byte_is_sent(
    backend: ScriptedBackend, headers: dict[str, str], extensions: dict[str, bytes]
) -> None:
    async with pool_to(backend.url) as pool:
        with pytest.raises(httpx.LocalProtocolError):
            await client_of(pool).get("/", headers=headers, extensions=extensions)
        assert state(pool).at_rest
        assert await fetch(pool) == (200, b"ok")
    assert len(backend.requests) == 1


@pytest.mark.parametrize("content", [b"short", b"much longer than was declared"])
async def test_a_body_that_is_not_as_long_as_declared_never_counts(
    backend: ScriptedBackend, content: bytes
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(len(content)):
            yield content[at : at + 1]

    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        with pytest.raises(httpx.LocalProtocolError):
            await asyncio.wait_for(
                client_of(pool).post("/", content=pieces(), headers={"Content-Length": "10"}), PATIENCE
            )
        assert state(pool) == (0, 0, 0, 0, 0, 1)
        assert await fetch(pool) == (200, b"ok")


async def test_a_request_has_one_kind_of_framing(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url) as pool:
        request = httpx.Request(
            "POST",
            "http://backend/",
            content=b"body",
            headers={"Transfer-Encoding": "chunked", "Content-Length": "4"},
        )
        await client_of(pool).send(request)
    assert (backend.requests[0].framing, backend.requests[0].body) == ("chunked", b"body")


# ------------------------------------------------------------------ one caller and the next


async def test_a_cookie_set_for_one_caller_is_never_sent_for_another() -> None:
    # By name, not by number: cookie jars ignore addresses, which would hide what a name shows.
    set_cookie = [("Set-Cookie", "session=alice; Path=/"), ("Set-Cookie", "b=2; Domain=localhost")]
    async with ScriptedBackend(respond(200, b"ok", set_cookie)) as backend:
        async with backend_row(f"http://localhost:{backend.port}") as row:
            answer = await row.client.get("/alice")
            assert answer.headers.get_list("set-cookie") == [value for _, value in set_cookie]
            await asyncio.gather(*(row.client.get("/bob") for _ in range(5)))
            assert not list(row.client.cookies.jar)
        assert len(backend.requests) == 6
        assert all(request.values("cookie") == [] for request in backend.requests)


async def test_a_cookie_set_with_a_redirect_is_not_sent_either() -> None:
    async with ScriptedBackend(
        respond(302, headers=[("Location", "/next"), ("Set-Cookie", "session=alice")])
    ) as backend:
        async with backend_row(f"http://localhost:{backend.port}") as row:
            await row.client.get("/", follow_redirects=False)
            await row.client.get("/")
        assert all(request.values("cookie") == [] for request in backend.requests)


async def test_a_proxy_in_the_environment_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedBackend() as trap, ScriptedBackend() as backend:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, trap.url)
        async with backend_row(f"http://localhost:{backend.port}") as row:
            assert (await row.client.get("/")).status_code == 200
        assert trap.connections == []
        assert len(backend.requests) == 1


async def test_surplus_bytes_of_one_response_are_never_part_of_the_next() -> None:
    async with ScriptedBackend() as backend, pool_to(backend.url, limits={"max_connections": 1}) as pool:
        backend.on("/alice", send(response(200, b"alice") + response(200, b"poison")))
        backend.on("/bob", respond(200, b"bob"))
        client = client_of(pool)
        assert (await client.get("/alice")).content == b"alice"
        assert (await client.get("/bob")).content == b"bob"


# ------------------------------------------------------------------ errors and time

BRIEF = 0.2
"""Seconds; all other limits of a test are those of `LONG`."""
LONG = 60.0


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        pytest.param([hang()], httpx.ReadTimeout, id="silence"),
        pytest.param([interim(100), hang()], httpx.ReadTimeout, id="silence after 100"),
        pytest.param([close()], httpx.ReadError, id="FIN"),
        pytest.param([reset()], httpx.ReadError, id="RST"),
        pytest.param([send(b"garbage\r\n\r\n")], httpx.RemoteProtocolError, id="garbage"),
        pytest.param([send(render_head(101))], httpx.RemoteProtocolError, id="101 unasked"),
        pytest.param(
            [send(render_head(200, [("Content-Length", "9")]) + b"half"), close()],
            httpx.ReadError,
            id="short body",
        ),
        pytest.param(
            [send(render_head(200, [("Content-Length", "9")]) + b"half"), hang()],
            httpx.ReadTimeout,
            id="silence in the body",
        ),
        pytest.param(
            [send(render_head(200, [("Transfer-Encoding", "chunked")]) + b"x")],
            httpx.RemoteProtocolError,
            id="bad chunk",
        ),
    ],
)
async def test_what_goes_wrong_has_the_name_that_httpx_gives_it(
    steps: list[Step], error: type[httpx.TransportError]
) -> None:
    async with ScriptedBackend(*steps) as backend, pool_to(backend.url) as pool:
        limit = BRIEF if error is httpx.ReadTimeout else LONG
        client = client_of(pool, timeout=httpx.Timeout(LONG, read=limit))
        with pytest.raises(error) as raised:
            await client.get("/")
        assert type(raised.value) is error
        assert raised.value.request.url.path == "/"
        assert state(pool) == (0, 0, 0, 0, 0, 50)


async def test_a_refused_connection_is_a_connect_error() -> None:
    async with ScriptedBackend() as backend:
        url = backend.url
    async with pool_to(url) as pool:
        with pytest.raises(httpx.ConnectError):
            await client_of(pool).get("/")


async def test_each_part_of_a_timeout_is_honoured() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for block in Filler(64 << 20):
            yield block

    async def honours(part: str, error: type[Exception], url: str, *, most: int = 50) -> bool:
        async with pool_to(url, limits={"max_connections": most}) as pool:
            held = await pool.acquire_connection() if most == 1 else None
            started = time.monotonic()
            timeout = httpx.Timeout(LONG, **{part: BRIEF})
            with pytest.raises(error):
                await client_of(pool, timeout=timeout).post("/", content=endless())
            elapsed = time.monotonic() - started
            if held is not None:
                held.endpoint.release(held)
            assert state(pool).at_rest
            return BRIEF - 0.01 <= elapsed < LATE

    async with (
        ScriptedBackend(accepting=False) as deaf,
        ScriptedBackend(hang(), early=True, receive_buffer=4096) as full,
    ):
        assert await honours("connect", httpx.ConnectTimeout, deaf.url)
        assert await honours("write", httpx.WriteTimeout, full.url)
        assert await honours("pool", httpx.PoolTimeout, full.url, most=1)


async def test_no_timeout_means_none() -> None:
    async with (
        ScriptedBackend(delay(0.4), respond(200, b"late")) as backend,
        pool_to(backend.url, timeouts={"read": 0.1}) as pool,
    ):
        assert (await client_of(pool, timeout=None).get("/")).content == b"late"


async def test_the_limits_of_the_pool_are_those_of_its_clients(backend: ScriptedBackend) -> None:
    backend.default(delay(0.02), respond(200))
    async with pool_to(backend.url, limits={"max_connections": 2, "max_queued": 3}) as pool:
        client = client_of(pool)
        outcomes = await asyncio.gather(*(client.get("/") for _ in range(8)), return_exceptions=True)
        assert sum(isinstance(outcome, httpx.Response) for outcome in outcomes) == 5
        assert sum(isinstance(outcome, httpx.PoolTimeout) for outcome in outcomes) == 3
        assert len(backend.connections) == 2
        assert state(pool).at_rest


async def test_closing_the_client_closes_the_connections(backend: ScriptedBackend) -> None:
    async with backend_row(backend.url) as row:
        await row.client.get("/")
        pool = row.pool
    await backend.connections[0].closed_by_peer.wait()
    await eventually(lambda: "0 idle, 0 opening" in repr(pool))
