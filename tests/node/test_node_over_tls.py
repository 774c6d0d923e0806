"""A node whose clients come over TLS: a reload turns nothing off; a stop cuts nothing, and tells each end."""

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from coregateway.testing import LAST_CHUNK, Exchange, chunk, render_head, respond, send
from tests.stage import PREFIX, Stage, request
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = 'timeouts.client = 20.0\n[response]\nset = {{ X-Set = "{}" }}\n'
EVENTS = render_head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: a")
SWITCHED = b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage(toml=SETTINGS.format("before"), workers=2, tls=True) as stage:
        yield stage


class Ticking:
    """A stream of events, each of which is sent when it is told."""

    def __init__(self, stage: Stage, path: str) -> None:
        self._next = asyncio.Event()
        self._ends = False
        stage.backend.on(path, self._serve)

    async def _serve(self, exchange: Exchange) -> None:
        await exchange.send(EVENTS)
        while True:
            await self._next.wait()
            self._next.clear()
            await exchange.send(LAST_CHUNK if self._ends else chunk(b"data: x\n\n"))
            if self._ends:
                return

    def tick(self, *, last: bool = False) -> None:
        self._ends = last
        self._next.set()


async def test_a_reload_turns_nothing_off(stage: Stage) -> None:
    """A stream and a WebSocket that are under way go on; connections that rest serve by the new settings."""
    path, tunnel = stage.path(), stage.path()
    ticking = Ticking(stage, path)

    stage.backend.on(tunnel, send(SWITCHED), early=True)
    async with stage.client() as kept, stage.client() as streaming, stage.client() as tunnelled:
        await kept.send(request(PREFIX + stage.path()))
        assert (await kept.read_response()).values("x-set") == [b"before"]
        await streaming.send(request(PREFIX + path))
        await streaming.read_head()
        await tunnelled.send(request(PREFIX + tunnel, *UPGRADE))
        assert (await tunnelled.read_head()).status == 101
        toml = stage.gateway.file.read_text().replace("before", "after")
        stage.gateway.rewrite(toml)
        stage.gateway.signal(signal.SIGHUP)
        await stage.gateway.wait_for_line(event="settings.reloaded")

        async def set_to() -> list[bytes]:
            await kept.send(request(PREFIX + stage.path()))
            return (await kept.read_response()).values("x-set")

        async with asyncio.timeout(20):
            while await set_to() != [b"after"]:
                pass
        ticking.tick()
        assert await streaming.read_until(b"data: x\n\n")
        await tunnelled.send(b"still there")
        switched = stage.connection_of(stage.seen(tunnel)[0])
        await eventually(lambda: switched.unread.endswith(b"still there"))
        ticking.tick(last=True)
        await streaming.read_until(b"0\r\n\r\n")


async def test_a_client_that_sends_close_notify_has_left(stage: Stage) -> None:
    path = stage.path()
    Ticking(stage, path)
    async with stage.client() as client:
        await client.send(request(PREFIX + path))
        seen = await stage.wait_seen(path)
        client.half_close()
        await stage.upstream_ended(seen)
    assert (await stage.line(path))["error"] == "client_closed"


async def test_many_handshakes_at_once_all_come_to_their_end(stage: Stage) -> None:
    async def ask() -> int:
        async with stage.client(within=60.0) as client:
            await client.send(request("/livez"))
            return (await client.read_response()).status

    assert {*await asyncio.gather(*(ask() for _ in range(150)))} == {200}


async def test_a_stop_serves_what_is_under_way_and_tells_the_end() -> None:
    async with Stage(toml="shutdown.delay = 0.0", tls=True) as stage:
        path = stage.path()
        release = asyncio.Event()

        async def serve(exchange: Exchange) -> None:
            await release.wait()
            await exchange.play(respond(200, b"served"))

        stage.backend.on(path, serve)
        async with stage.client() as idle, stage.client() as busy:
            await idle.send(request("/livez"))
            assert (await idle.read_response()).status == 200
            await busy.send(request(PREFIX + path))
            await stage.wait_seen(path)
            stage.gateway.signal(signal.SIGTERM)
            await idle.expect_closed()
            assert not idle.reset_by_peer  # but told by close_notify
            release.set()
            assert (await busy.read_response()).body == b"served"
            await busy.expect_closed()
            assert not busy.reset_by_peer
        assert await stage.gateway.wait() == 0
        with pytest.raises((OSError, ssl.SSLError)):
            async with stage.client():
                pass
        await eventually(lambda: stage.gateway.processes() == [])
