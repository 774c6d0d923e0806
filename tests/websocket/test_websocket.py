"""WebSocket through the gateway is as it is without: every conversation is held twice, and compared.

Of a raw conversation every byte that the client gets counts, and all that the server's library has seen; of
one between two libraries, what both have agreed on and received. The server is the echo of `websockets`.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Close, Opcode

from coregateway.testing import RawClient
from tests.stage import Stage
from tests.websocket.cases import CASES, MIB, Case

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("websocket"),  # one gateway for all of them
]

UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: ws\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
WITHIN = 20.0

_numbers = count(1)


@dataclass
class Seen:
    """What the server's library has seen of a conversation."""

    messages: list[str | bytes] = field(default_factory=list[str | bytes])
    extensions: str = ""
    code: int | None = None
    reason: str | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event, compare=False)


class Echo:
    """The server, and what it has seen by path. `addresses`: itself, and the gateway in front of it."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}
        self.addresses: dict[str, tuple[str, int]] = {}

    async def serve(self, websocket: ServerConnection) -> None:
        assert websocket.request is not None
        seen = self.seen.setdefault(websocket.request.path, Seen())
        seen.extensions = repr(websocket.protocol.extensions)
        try:
            async for message in websocket:
                seen.messages.append(message)
                await websocket.send(message)
        except ConnectionClosed:
            pass
        finally:
            seen.code, seen.reason = websocket.close_code, websocket.close_reason
            seen.over.set()

    async def saw(self, path: str) -> Seen:
        """What it has seen of the conversation at a path, when that is over."""
        seen = self.seen.setdefault(path, Seen())
        async with asyncio.timeout(WITHIN):
            await seen.over.wait()
        return seen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    # Without a bound of its queue: a server that has stopped reading would not see the client's end in time.
    serving = serve(echo.serve, "127.0.0.1", 0, max_size=None, max_queue=None, ping_interval=None)
    async with serving as server:
        direct = _address(server)
        toml = f'[backends.echo]\nprefix = "/echo"\nurls = ["http://{direct[0]}:{direct[1]}"]\n'
        async with Stage(toml=toml) as stage:
            echo.addresses = {"": direct, "/echo": stage.gateway.address}
            yield echo


def _address(server: Server) -> tuple[str, int]:
    host, port = next(iter(server.sockets)).getsockname()
    return host, port


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_both_ends_see_what_they_would_see_without_the_gateway(echo: Echo, case: Case) -> None:
    direct = await raw_conversation(echo, "", case)
    through = await raw_conversation(echo, "/echo", case)
    assert through == direct
    assert code_in(direct[0]) == case.code


async def raw_conversation(echo: Echo, prefix: str, case: Case) -> tuple[bytes, Seen]:
    """Every byte behind the server's 101, and what the server has seen."""
    path = f"/{next(_numbers)}"
    async with RawClient(echo.addresses[prefix], within=WITHIN) as client:
        await client.send(UPGRADE.format(path=prefix + path).encode())
        assert (await client.read_head()).status == 101

        async def send() -> None:
            for data in case.writes():
                await client.send(data)

        sending = asyncio.create_task(send())
        got = b""
        while messages_in(got) < case.messages:
            data = await client.receive()
            assert data, f"the end after {got[-200:]!r}"
            got += data
        await sending
        await client.send(case.end)
        got += await client.read_until_closed()
    return got, await echo.saw(path)


def messages_in(got: bytes) -> int:
    """How many messages a server has sent whole; it sends each in one frame."""
    found = at = 0
    while at + 2 <= len(got):
        size, start = got[at + 1], at + 2
        if size >= 126:
            start += 2 if size == 126 else 8
            size = int.from_bytes(got[at + 2 : start])
        found += got[at] in (0x80 | Opcode.TEXT, 0x80 | Opcode.BINARY) and start + size <= len(got)
        at = start + size
    return found


def code_in(got: bytes) -> int:
    """The code of the close frame at the end of what a server has sent."""
    at = got.rfind(bytes([0x80 | Opcode.CLOSE]))
    assert at + 2 + got[at + 1] == len(got), f"{got[-200:]!r} does not end with a close frame"
    return Close.parse(got[at + 2 :]).code


@pytest.mark.parametrize(
    "offer",
    [
        pytest.param(None, id="not offered"),
        pytest.param({}, id="as it comes"),
        pytest.param({"client_no_context_takeover": True}, id="client forgets"),
        pytest.param({"server_no_context_takeover": True}, id="server forgets"),
        pytest.param({"client_max_window_bits": 9, "server_max_window_bits": 9}, id="small windows"),
    ],
)
async def test_compression_is_agreed_between_the_ends(echo: Echo, offer: dict[str, int] | None) -> None:
    messages = ["", "a", "repeated " * 5000, b"\0" * 200_000, "repeated " * 5000, os.urandom(70_000)]
    direct = await conversation(echo, "", messages, offer)
    through = await conversation(echo, "/echo", messages, offer)
    assert through == direct
    assert ("PerMessageDeflate" in direct[1].extensions) is (offer is not None)


async def test_large_messages_pass_between_two_libraries(echo: Echo) -> None:
    messages = [os.urandom(16 * MIB), "é" * (2 * MIB)]
    assert await conversation(echo, "/echo", messages, None) == await conversation(echo, "", messages, None)


async def conversation(
    echo: Echo, prefix: str, messages: list[str | bytes], offer: dict[str, int] | None
) -> tuple[tuple[object, ...], Seen]:
    """What the client's library has agreed on and received, and what the server has seen."""
    host, port = echo.addresses[prefix]
    path = f"/{next(_numbers)}"
    extensions = None if offer is None else [ClientPerMessageDeflateFactory(**offer)]  # pyright: ignore[reportArgumentType] -- flags and numbers
    async with connect(
        f"ws://{host}:{port}{prefix}{path}",
        proxy=None,
        max_size=None,
        ping_interval=None,
        compression=None,
        extensions=extensions,
    ) as websocket:
        answers: list[str | bytes] = []
        for message in messages:
            await websocket.send(message)
            answers.append(await asyncio.wait_for(websocket.recv(), WITHIN))
        await websocket.close(4000, "enough")
        agreed = repr(websocket.protocol.extensions)
    assert answers == messages
    return (answers, agreed, websocket.close_code, websocket.close_reason), await echo.saw(path)
