"""WebSocket through the gateway: a real library on both ends, and raw bytes where that is too polite."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.frames import CloseCode
from websockets.typing import Subprotocol

from coregateway import __version__
from coregateway.testing import (
    PATIENCE,
    Exchange,
    Filler,
    GatewayProcess,
    RawClient,
    Step,
    close,
    delay,
    hang,
    render_head,
    reset,
    respond,
    send,
    until_taken,
    wait,
)
from tests import certificates
from tests.stage import PREFIX, TRANSPORTS, Stage, request
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

UPGRADE = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: WebSocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
SWITCHED = render_head(
    101,
    [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ],
)
IDLE = 3.0
"""Seconds that end a tunnel behind the impatient gateway, whose other limits are a part of them."""
LIMIT = 0.9
"""Those, in which a tunnel opens on a busy machine, too."""


async def converse(websocket: ServerConnection) -> None:
    """Echo; some messages are orders."""
    assert websocket.request is not None
    async for message in websocket:
        if message == "close":
            await websocket.close(4321, "as told")
        elif message == "die":
            websocket.transport.abort()
        elif message == "path":
            await websocket.send(websocket.request.path)
        elif message == "headers":
            headers = websocket.request.headers.raw_items()
            await websocket.send("\n".join(f"{name}: {value}" for name, value in headers))
        else:
            await websocket.send(message)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Server]:
    def choose(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return offered[-1] if offered else None

    async with serve(converse, "127.0.0.1", 0, select_subprotocol=choose, max_size=None) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=TRANSPORTS)
async def stage(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    toml = f"""
        [backends.chat]
        prefix = "/chat"
        urls = ["{url_of(server)}"]
    """
    async with Stage(toml=toml, tls=request.param == "tls") as stage:
        yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def impatient() -> AsyncIterator[Stage]:
    """A gateway that gives up soon what falls silent."""
    async with Stage(toml=f"[timeouts]\nclient = {LIMIT}\nread = {LIMIT}\nidle = {IDLE}\n") as stage:
        yield stage


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


def talk(stage: Stage, path: str = "", prefix: str = "/chat", **options: object) -> connect:
    if stage.is_secured:
        options["ssl"] = certificates.trusting()
    url = f"{'wss' if stage.is_secured else 'ws'}://localhost:{stage.gateway.port}{prefix}{path}"
    return connect(url, proxy=None, max_size=None, **options)  # pyright: ignore[reportArgumentType] -- passed on


async def upgraded(client: RawClient, path: str) -> None:
    """Ask for a WebSocket and get it."""
    await client.send(request(PREFIX + path, *UPGRADE))
    answer = await client.read_head()
    assert answer.status == 101


# ------------------------------------------------------------------ a conversation


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 3_000_000])
async def test_messages_of_any_size_pass_both_ways(stage: Stage, size: int) -> None:
    async with talk(stage) as websocket:
        for message in (os.urandom(size), "é" * (size // 2)):
            await websocket.send(message)
            assert await asyncio.wait_for(websocket.recv(), PATIENCE) == message


async def test_many_messages_keep_their_order(stage: Stage) -> None:
    async with talk(stage) as websocket:
        for number in range(500):
            await websocket.send(str(number))
        assert [await websocket.recv() for _ in range(500)] == [str(number) for number in range(500)]


async def test_pings_are_answered_by_the_other_end(stage: Stage) -> None:
    async with talk(stage) as websocket:
        pong = await websocket.ping(b"payload")
        await asyncio.wait_for(pong, PATIENCE)


async def test_a_fragmented_message_passes(stage: Stage) -> None:
    async def pieces() -> AsyncIterator[str]:
        for piece in ("one", "two", "three"):
            yield piece

    async with talk(stage) as websocket:
        await websocket.send(pieces())
        assert await websocket.recv() == "onetwothree"


async def test_the_subprotocol_is_agreed_between_the_ends(stage: Stage) -> None:
    offered = [Subprotocol("chat.v1"), Subprotocol("chat.v2")]
    async with talk(stage, subprotocols=offered) as websocket:
        assert websocket.subprotocol == "chat.v2"


async def test_extensions_are_agreed_between_the_ends(stage: Stage) -> None:
    async with talk(stage) as websocket:
        assert websocket.response is not None
        assert "permessage-deflate" in websocket.response.headers["Sec-WebSocket-Extensions"]
    async with talk(stage, compression=None) as websocket:
        assert websocket.response is not None
        assert "Sec-WebSocket-Extensions" not in websocket.response.headers


async def test_the_backend_sees_the_path_and_who_asks(stage: Stage) -> None:
    async with talk(stage, "/a%2Fb?x=1", additional_headers={"Cookie": "a=1"}) as websocket:
        await websocket.send("path")
        assert await websocket.recv() == "/a%2Fb?x=1"
        await websocket.send("headers")
        headers = str(await websocket.recv()).lower().split("\n")
    assert "connection: upgrade" in headers
    assert "upgrade: websocket" in headers
    assert "cookie: a=1" in headers
    assert "x-forwarded-prefix: /chat" in headers
    assert f"x-forwarded-host: localhost:{stage.gateway.port}" in headers


async def test_the_answer_to_the_upgrade_carries_what_every_answer_does(stage: Stage) -> None:
    async with talk(stage, additional_headers={"X-Request-ID": "ws-1"}) as websocket:
        assert websocket.response is not None
        assert websocket.response.headers.get_all("X-CoreRL-Version") == [__version__]
        assert websocket.response.headers.get_all("X-Request-ID") == ["ws-1"]


# ------------------------------------------------------------------ the end of a conversation


async def test_a_close_of_the_client_reaches_the_backend_and_comes_back(stage: Stage) -> None:
    async with talk(stage, "/closed-by-client") as websocket:
        await websocket.send("x")
        await websocket.recv()
        await websocket.close(4000, "enough")
        assert (websocket.close_code, websocket.close_reason) == (4000, "enough")
    line = await stage.gateway_line("/chat/closed-by-client")
    assert (line["status"], line["upstream_status"], line["error"]) == (101, 101, None)
    assert line["bytes_in"] > 0
    assert line["bytes_out"] > 0


async def test_a_close_of_the_backend_reaches_the_client(stage: Stage) -> None:
    async with talk(stage, "/closed-by-backend") as websocket:
        await websocket.send("close")
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(websocket.recv(), PATIENCE)
        assert (websocket.close_code, websocket.close_reason) == (4321, "as told")
    line = await stage.gateway_line("/chat/closed-by-backend")
    assert (line["status"], line["error"]) == (101, None)


async def test_the_abrupt_death_of_the_backend_reaches_the_client(stage: Stage) -> None:
    async with talk(stage, "/death-of-backend") as websocket:
        await websocket.send("die")
        with pytest.raises(ConnectionClosedError):
            await asyncio.wait_for(websocket.recv(), PATIENCE)
        assert websocket.close_code == CloseCode.ABNORMAL_CLOSURE
    assert (await stage.gateway_line("/chat/death-of-backend"))["status"] == 101


async def test_the_abrupt_death_of_the_client_reaches_the_backend(stage: Stage, server: Server) -> None:
    def websockets() -> int:
        return len(server.connections)

    before = websockets()
    websocket: ClientConnection = await talk(stage, "/death-of-client")
    await websocket.send("x")
    await websocket.recv()
    assert websockets() == before + 1
    websocket.transport.abort()
    await eventually(lambda: websockets() == before)
    line = await stage.gateway_line("/chat/death-of-client")
    assert line["status"] in (101, 499)
    with suppress(ConnectionClosed):
        await websocket.close()


@pytest.mark.parametrize("ending", [close(), reset()], ids=["FIN", "RST"])
async def test_what_a_dying_backend_has_sent_still_arrives(stage: Stage, ending: Step) -> None:
    path = stage.path()
    steps = [send(SWITCHED), send(b"x" * 200_000), until_taken(), ending]
    stage.backend.on(path, *steps)
    async with stage.client() as client:
        await upgraded(client, path)
        assert await client.read_until_closed() == b"x" * 200_000
    assert (await stage.line(path))["bytes_out"] == 200_000


async def test_half_closing_leaves_the_other_direction_open(stage: Stage) -> None:
    path = stage.path()

    async def answer_after_the_end(exchange: Exchange) -> None:
        await exchange.send(SWITCHED)
        exchange.connection.half_close()
        await asyncio.sleep(0.1)
        await exchange.closed_by_peer.wait()

    stage.backend.on(path, answer_after_the_end)
    async with stage.client() as client:
        await upgraded(client, path)
        assert await client.receive() == b""
        await client.send(b"still listening?")
        await asyncio.sleep(0.1)
        client.half_close()
        await stage.upstream_ended(stage.seen(path)[0])
    line = await stage.line(path)
    assert (line["bytes_in"], line["error"]) == (16, None)


async def test_a_client_that_half_closes_still_gets_what_the_backend_says(stage: Stage) -> None:
    path = stage.path()

    async def talk_on(exchange: Exchange) -> None:
        await exchange.send(SWITCHED)
        await exchange.closed_by_peer.wait()
        await exchange.send(b"last words")
        exchange.close()

    stage.backend.on(path, talk_on)
    async with stage.client() as client:
        await upgraded(client, path)
        client.half_close()
        assert await client.read_until_closed() == b"last words"


async def test_large_last_words_reach_a_slow_reader_after_the_backend_has_gone(stage: Stage) -> None:
    path = stage.path()
    size = 2 << 20
    stage.backend.on(path, send(SWITCHED), send(b"x" * size), close())
    async with stage.client(receive_buffer=8192) as client:
        await upgraded(client, path)
        await asyncio.sleep(0.3)
        assert len(await client.read_until_closed()) == size


async def test_large_last_words_reach_a_slow_backend_after_the_client_has_gone(stage: Stage) -> None:
    path = stage.path()
    size = 2 << 20
    got: list[int] = []

    async def read_slowly(exchange: Exchange) -> None:
        await exchange.send(SWITCHED)
        exchange.connection.half_close()
        await asyncio.sleep(0.3)
        total = 0
        while data := await exchange.connection._receive():  # pyright: ignore[reportPrivateUsage] -- a tunnel's bytes are no body
            total += len(data)
        got.append(total)
        exchange.close()

    stage.backend.on(path, read_slowly)
    async with stage.client() as client:
        await upgraded(client, path)
        await client.send(b"x" * size)
        client.half_close()
        await client.expect_closed()
        await stage.upstream_ended(stage.seen(path)[0])
    await eventually(lambda: got)
    assert got == [size]


async def test_a_tunnel_that_falls_silent_ends_in_time(impatient: Stage) -> None:
    path = impatient.path()
    impatient.backend.on(path, send(SWITCHED), delay(LIMIT + 0.1), send(b"x"), hang())
    async with impatient.client() as client:
        await upgraded(client, path)
        assert await client.receive() == b"x"  # later than any limit of an exchange allows
        await client.expect_closed()
    await impatient.upstream_ended(impatient.seen(path)[0])
    assert (await impatient.line(path))["duration_ms"] / 1000 >= LIMIT + 0.1 + IDLE


async def test_a_client_that_takes_no_bytes_pauses_the_backend_and_is_given_up(impatient: Stage) -> None:
    stage, path = impatient, impatient.path()

    async def flood(exchange: Exchange) -> None:
        await exchange.send(SWITCHED)
        await exchange.send(Filler(256 << 20))

    stage.backend.on(path, flood)
    async with stage.client(receive_buffer=4096) as client:
        await upgraded(client, path)
        await asyncio.sleep(0.5)
        seen = stage.seen(path)[0]
        assert stage.connection_of(seen).sent < 24 << 20
        await stage.upstream_ended(seen)
    await stage.line(path)


async def test_a_client_that_takes_no_last_words_is_given_up(impatient: Stage) -> None:
    """They fit into the gateway's buffer, so no limit of a running tunnel notices."""
    stage, path = impatient, impatient.path()
    stage.backend.on(path, send(SWITCHED), send(b"x" * 40_000), close())
    async with stage.client(receive_buffer=4096) as client:
        client._sock.setsockopt(6, 10, 1024)  # pyright: ignore[reportPrivateUsage] -- TCP_WINDOW_CLAMP
        await upgraded(client, path)
        await stage.line(path)


# ------------------------------------------------------------------ before there is a tunnel


async def test_no_101_before_that_of_the_backend(stage: Stage) -> None:
    path = stage.path()
    gate = asyncio.Event()
    stage.backend.on(path, wait(gate), send(SWITCHED + b"hello"), hang())
    async with stage.client() as client:
        await client.send(request(PREFIX + path, *UPGRADE) + b"early frame")
        await client.expect_silence(0.2)
        gate.set()
        answer = await client.read_head()
        assert answer.status == 101
        assert answer.header("upgrade") == b"websocket"
        assert await client.read_until(b"hello") == b"hello"
    await stage.upstream_ended(stage.seen(path)[0])
    assert b"early frame" in [seen.raw_head for seen in stage.backend.requests]


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"plain"), (401, b"who?"), (403, b""), (404, b"no"), (426, b"upgrade"), (500, b"!")],
)
async def test_another_answer_is_relayed_as_it_is(stage: Stage, status: int, body: bytes) -> None:
    path = stage.path()
    stage.backend.on(path, respond(status, body, [("WWW-Authenticate", "Basic")]))
    async with stage.client() as client:
        await client.send(request(PREFIX + path, *UPGRADE))
        answer = await client.read_response()
        assert (answer.status, answer.body) == (status, body)
        assert answer.header("www-authenticate") == b"Basic"
        await client.send(request(PREFIX + stage.path()))
        assert (await client.read_response()).body == b"ok"
    assert (await stage.line(path))["status"] == status


async def test_a_library_learns_of_the_refusal(stage: Stage) -> None:
    with pytest.raises(InvalidStatus) as raised:
        async with talk(stage, stage.path(), PREFIX):
            pass
    assert raised.value.response.status_code == 200


@pytest.mark.parametrize(
    ("fields", "method"),
    [
        pytest.param(["Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: x"], "GET", id="h2c"),
        pytest.param(["Connection: Upgrade", "Upgrade: other"], "GET", id="other protocol"),
        pytest.param(["Upgrade: websocket"], "GET", id="not in Connection"),
        pytest.param(["Connection: Upgrade", "Upgrade: websocket"], "GET", id="no key"),
        pytest.param(list(UPGRADE), "POST", id="POST"),
        pytest.param([*UPGRADE[:1], "Upgrade: websocket, h2c", *UPGRADE[2:]], "GET", id="two protocols"),
    ],
)
async def test_no_other_upgrade_passes(stage: Stage, fields: list[str], method: str) -> None:
    path = stage.path()
    stage.backend.on(path, send(SWITCHED), hang())
    answer = await stage.ask(path, *fields, method=method)
    assert (answer.status, answer.header("x-coregateway-error")) == (502, b"upstream_protocol")
    seen = stage.seen(path)[0]
    assert seen.values("upgrade") == seen.values("connection") == []


@pytest.mark.parametrize("leave", [RawClient.close, RawClient.reset], ids=["FIN", "RST"])
async def test_a_client_that_leaves_before_the_101_is_noticed(
    stage: Stage, leave: Callable[[RawClient], None]
) -> None:
    path = stage.path()
    stage.backend.on(path, hang())
    async with stage.client() as client:
        await client.send(request(PREFIX + path, *UPGRADE))
        await stage.wait_seen(path)
        leave(client)
        await stage.upstream_ended(stage.seen(path)[0])
    assert (await stage.line(path))["error"] == "client_closed"


# ------------------------------------------------------------------ many, and the end of all


async def test_tunnels_that_have_ended_give_their_slots_back(stage: Stage) -> None:
    for _ in range(3):  # 60 at a time would not fit, nor would what the rounds before have left
        websockets = await asyncio.gather(*(talk(stage).__aenter__() for _ in range(40)))
        for websocket in websockets:
            await websocket.send("x")
        assert [await websocket.recv() for websocket in websockets] == ["x"] * 40
        for number, websocket in enumerate(websockets):
            if number % 2:
                websocket.transport.abort()
        await asyncio.gather(*(websocket.close() for websocket in websockets[::2]))
        await asyncio.sleep(0.1)


async def test_a_tunnel_is_ended_when_the_grace_of_a_shutdown_is_over(stage: Stage) -> None:
    path = stage.path()
    stage.backend.on(path, send(SWITCHED), hang())
    toml = "[shutdown]\ndelay = 0.1\ngrace = 0.5\n"
    backends = {"coredinator": stage.backend.url}
    async with GatewayProcess(backends=backends, toml=toml, env=stage.trust) as gateway:
        async with RawClient(gateway.address) as client:
            await upgraded(client, path)
            gateway.signal(signal.SIGTERM)
            await client.send(b"still there")
            await client.read_until_closed()
        assert await gateway.wait() == 0
        (line,) = gateway.log_lines(event="request", path=PREFIX + path)
        assert (line["status"], line["error"], line["bytes_in"]) == (101, "draining", 11)
        assert gateway.stderr == ""
