"""WebSockets on own routes are as on plain Sanic: each conversation is held with both."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from coregateway import __version__
from coregateway.testing import RawClient
from tests.sanic_app.serving import Served
from tests.stage import request
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("parity")]

WITHIN = 20.0
UPGRADE = (
    "GET /all/echo HTTP/1.1\r\nHost: ws\r\nX-Request-ID: {id}\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain() -> AsyncIterator[Served]:
    async with Served("tests.sanic_app.plain_app:app") as plain:
        yield plain


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Served]:
    async with Served("tests.sanic_app.gateway_app:app") as gateway:
        yield gateway


@dataclass
class Told:
    """What the client has seen of a conversation."""

    messages: list[str | bytes]
    subprotocol: str | None
    code: int | None = None
    reason: str | None = None


async def talk(server: Served, path: str, says: Sequence[str | bytes], **options: Any) -> Told:
    """Say something, hear an answer to each, and then close, unless the other side does."""
    try:
        return await _talk(server, path, says, **options)
    except InvalidStatus as error:
        return Told([], None, error.response.status_code)


async def _talk(server: Served, path: str, says: Sequence[str | bytes], **options: Any) -> Told:
    url = f"ws://127.0.0.1:{server.port}{path}"
    async with connect(url, proxy=None, compression=None, max_size=None, **options) as websocket:
        told = Told([], websocket.subprotocol)
        try:
            for message in says:
                await websocket.send(message)
                told.messages.append(await asyncio.wait_for(websocket.recv(), WITHIN))
            await websocket.close(4000, "enough")
        except ConnectionClosed:
            pass
        await asyncio.wait_for(websocket.wait_closed(), WITHIN)
        told.code, told.reason = websocket.close_code, websocket.close_reason
        return told


TALKS = [
    pytest.param("/all/echo", ["a", "ü" * 1000, b"\0\xff", ""], {}, id="texts and bytes"),
    pytest.param("/all/echo", ["x" * 1_000_000, b"y" * 1_000_000], {}, id="large"),
    pytest.param("/all/echo", ["x" * 2_000_000], {}, id="too large"),
    pytest.param("/all/chat", ["who"], {"subprotocols": [Subprotocol("other")]}, id="a subprotocol"),
    pytest.param("/all/chat", ["who"], {"subprotocols": [Subprotocol("none")]}, id="another subprotocol"),
    pytest.param("/all/chat", ["who"], {}, id="no subprotocol"),
    pytest.param("/all/text", ["who"], {}, id="no WebSocket"),
    pytest.param("/all/echo", [], {}, id="nothing said"),
    pytest.param("/all/echo", ["a", "close", "b"], {}, id="the handler ends"),
    pytest.param("/all/echo", ["a", "fail", "b"], {}, id="the handler fails"),
    pytest.param("/all/closes", ["a"], {}, id="the handler closes"),
    pytest.param("/all/greets/agent", ["a"], {}, id="the server speaks first"),
]


@pytest.mark.parametrize(("path", "says", "options"), TALKS)
async def test_a_conversation_is_as_with_plain_sanic(
    plain: Served, gateway: Served, path: str, says: list[str | bytes], options: dict[str, Any]
) -> None:
    assert await talk(gateway, path, says, **options) == await talk(plain, path, says, **options)


async def test_pings_are_answered_and_messages_wait_their_turn(gateway: Served) -> None:
    async with connect(f"ws://127.0.0.1:{gateway.port}/all/echo", proxy=None) as websocket:
        await asyncio.wait_for(await websocket.ping(), WITHIN)
        for number in range(500):
            await websocket.send(str(number))
        heard = [await asyncio.wait_for(websocket.recv(), WITHIN) for _ in range(500)]
    assert heard == [str(number) for number in range(500)]


async def test_a_message_that_comes_with_the_handshake_is_heard(gateway: Served) -> None:
    frame = b"\x81\x85\0\0\0\0hello"
    async with RawClient(gateway.address) as client:
        await client.send(UPGRADE.format(id="at-once").encode() + frame)
        head = await client.read_head()
        assert head.status == 101
        assert head.header("x-corerl-version") == __version__.encode()
        assert head.header("x-request-id") == b"at-once"
        assert await client.read_until(b"hello") == b"\x81\x05hello"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param(b"\x81\x01a", 1002, id="without a mask"),
        pytest.param(b"\xf1\x81\0\0\0\0a", 1002, id="with reserved bits"),
        pytest.param(b"\x89\xfe\0\x80\0\0\0\0" + bytes(128), 1002, id="a long ping"),
        pytest.param(b"\x81\xff\0\0\0\7\0\0\0\0\0\0\0\0", 1009, id="too long"),
        pytest.param(b"\x81\x82\0\0\0\0\xff\xfe", 1007, id="no UTF-8"),
        pytest.param(b"\x01\x81\0\0\0\0\xc3\x80\x81\0\0\0\0a", 1007, id="no UTF-8 in two frames"),
        pytest.param(b"\x01\x81\0\0\0\0\xc3\x80\x80\0\0\0\0", 1007, id="half a letter"),
    ],
)
async def test_what_is_no_sound_frame_ends_the_websocket(gateway: Served, frame: bytes, code: int) -> None:
    async with RawClient(gateway.address) as client:
        await client.send(UPGRADE.format(id="unsound").encode())
        assert (await client.read_head()).status == 101
        await client.send(frame)
        told = await client.read_until_closed()
    assert (told[:1], told[2:4]) == (b"\x88", code.to_bytes(2))


async def test_messages_that_nobody_reads_go_with_their_websocket() -> None:
    """Each read of a client's bytes is a task, which waits for the handler. It is a ping that meets the loss:
    a client whose messages wait is not read."""

    async def tasks() -> int:
        async with RawClient(gateway.address) as client:
            await client.send(request("/all/tasks"))
            return int((await client.read_response()).body)

    pinging = {"SANIC_WEBSOCKET_PING_INTERVAL": "0.2"}
    async with Served("tests.sanic_app.gateway_app:app", env=pinging) as gateway:
        before = await tasks()
        async with RawClient(gateway.address) as client:
            await client.send(UPGRADE.replace("/echo", "/deaf").format(id="deaf").encode())
            assert (await client.read_head()).status == 101
            await client.send(2 * b"\x81\x81\0\0\0\0a")
            async with asyncio.timeout(WITHIN):
                while await tasks() <= before:
                    pass
            client.reset()
        async with asyncio.timeout(WITHIN):
            while await tasks() > before:
                pass


async def leave(websocket: ClientConnection) -> None:
    websocket.transport.abort()


async def close(websocket: ClientConnection) -> None:
    await websocket.close()


async def end_handler(websocket: ClientConnection) -> None:
    await websocket.send("close")
    await websocket.wait_closed()


@pytest.mark.parametrize("end", [leave, close, end_handler])
async def test_a_websocket_has_one_line_when_it_ends(gateway: Served, end: Any) -> None:
    name = f"ends-{end.__name__}"
    url = f"ws://127.0.0.1:{gateway.port}/all/echo"
    async with connect(url, proxy=None, additional_headers={"X-Request-ID": name}) as websocket:
        await websocket.send("12345")
        await asyncio.wait_for(websocket.recv(), WITHIN)
        assert gateway.log_lines(event="request", request_id=name) == []
        await end(websocket)
    line = await gateway.wait_for_line(event="request", request_id=name)
    assert (line["status"], line["error"], line["backend"]) == (101, None, None)
    assert min(line["bytes_in"], line["bytes_out"]) >= 5
    assert len(gateway.log_lines(event="request", request_id=name)) == 1


async def test_a_handler_that_fails_is_logged(gateway: Served) -> None:
    before = len(gateway.log_lines(event="request.failed"))
    async with connect(f"ws://127.0.0.1:{gateway.port}/all/echo", proxy=None) as websocket:
        await websocket.send("fail")
        await asyncio.wait_for(websocket.wait_closed(), WITHIN)
    await eventually(lambda: len(gateway.log_lines(event="request.failed")) > before)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_stop_ends_websockets_and_the_gateway(workers: int) -> None:
    gateway = Served("tests.sanic_app.gateway_app:app", workers=workers)
    async with gateway, connect(f"ws://127.0.0.1:{gateway.port}/all/echo", proxy=None) as websocket:
        await websocket.send("a")
        await asyncio.wait_for(websocket.recv(), WITHIN)
        assert await gateway.stop() == 0
        await asyncio.wait_for(websocket.wait_closed(), WITHIN)
        assert websocket.close_code == 1000
        lines = gateway.log_lines(event="request", path="/all/echo")
        assert [line["status"] for line in lines] == [101]
