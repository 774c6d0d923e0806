"""After the decision to close a client's connection nothing leaves that did not begin with its head.

A client that closes its sending side has left, and the gateway ends its connection; the answer may be
beginning at that moment. While the gateway's processes stand still, the answer and the client's end both
come, so that one turn of the loop meets with both. Bodies are below and above each size from which they take
another way through the gateway.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from coregateway.http1.reader import SPLIT
from coregateway.net.splice import LARGE_PIECE, PIECE, WORTH
from coregateway.testing import Filler, GatewayProcess, respond, wait
from tests.stage import PREFIX, Stage, request, resting

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZES = (100, SPLIT - 1, SPLIT + 1, PIECE, WORTH - 1, WORTH + 65_536, 2 * WORTH, 3 * LARGE_PIECE)
"""Bytes of a body. When its client leaves, any part of it may have come."""

HEAD = b"HTTP/1.1 200 OK\r\n"
SMALL = request("/livez")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage() as stage:
        yield stage


def plain(path: str) -> tuple[bytes, bytes]:
    return request(path), b""


def pipelined(path: str) -> tuple[bytes, bytes]:
    return request(path) + SMALL + request(path), b""


def whole_upload(path: str) -> tuple[bytes, bytes]:
    return request(path, method="POST", body=b"x" * 100), b""


def half_upload(path: str) -> tuple[bytes, bytes]:
    return request(path, "Content-Length: 200", method="POST") + b"x" * 100, b"x" * 50


def http_1_0(path: str) -> tuple[bytes, bytes]:
    return f"GET {path} HTTP/1.0\r\n\r\n".encode(), b""


REQUESTS = (plain, pipelined, whole_upload, half_upload, http_1_0)
"""What is sent before the processes rest, and what meanwhile, before the client's end."""


@pytest.mark.parametrize("made", REQUESTS)
@pytest.mark.parametrize("size", SIZES)
async def test_a_client_that_leaves_as_its_answer_begins_gets_no_body_without_the_head(
    stage: Stage, size: int, made: Callable[[str], tuple[bytes, bytes]]
) -> None:
    path, go = stage.path(), asyncio.Event()
    stage.backend.on(path, wait(go), respond(200, Filler(size)), early=True)
    before, meanwhile = made(PREFIX + path)
    async with stage.client(within=10) as client:
        await client.send(before)
        await stage.wait_seen(path)
        with resting(stage):
            go.set()
            await asyncio.sleep(0.02)  # as much of the answer as the kernel takes is here
            await client.send(meanwhile)
            client.half_close()
            await asyncio.sleep(0.01)
        received = await client.read_until_closed()
    assert received[: len(HEAD)] == HEAD[: len(received)]


async def test_of_many_who_leave_at_any_moment_none_gets_a_body_without_its_head(stage: Stage) -> None:
    path = stage.path()
    stage.backend.on(path, respond(200, Filler(3 * WORTH)))
    pauses = random.Random(1)

    async def leave(pause: float) -> bytes:
        async with stage.client(within=20) as client:
            await client.send(request(PREFIX + path))
            await asyncio.sleep(pause)
            client.half_close()
            return await client.read_until_closed()

    for _ in range(30):
        for received in await asyncio.gather(*(leave(pauses.uniform(0, 0.004)) for _ in range(10))):
            assert received[: len(HEAD)] == HEAD[: len(received)]


@pytest.mark.parametrize("size", [100, 3 * WORTH])
async def test_no_part_of_an_upload_reaches_a_backend_without_its_head(size: int) -> None:
    beginnings: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if begun := await reader.read(5):
            beginnings.append(begun)
        while await reader.read(1 << 20):
            pass
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    head = request(PREFIX, f"Content-Length: {size}", method="POST")
    async with server, GatewayProcess(backends={"coredinator": url}) as gateway:
        for number in range(100):
            _, writer = await asyncio.open_connection(*gateway.address)
            writer.write(head + bytes(size - number % 2))
            await asyncio.sleep(number % 5 / 2000)
            writer.write_eof()
            await asyncio.sleep(number % 3 / 2000)
            writer.close()
        assert await gateway.stop() == 0
    assert beginnings
    assert set(beginnings) == {b"POST "}
