"""A process that rested (by Ctrl-Z, in a container that is frozen, on a machine that sleeps) blames nobody.

All that came in time, and all that would have been taken in time, was: the kernel knows. A loop runs its
timers before it reads, so that each of these was late once by its limit.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from coregateway.net.epoll import MOST
from coregateway.testing import (
    Filler,
    Response,
    Step,
    close,
    hang,
    read_body,
    render_head,
    respond,
    send,
    wait,
)
from tests.stage import PREFIX, TRANSPORTS, Stage, request, resting

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 1.2
REST = 1.3 * LIMIT
SIZE = 3_000_000
SWITCHED = send(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: a")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=TRANSPORTS)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    toml = f"[timeouts]\nclient = {LIMIT}\nidle = {LIMIT}\nread = {LIMIT}\nwrite = {LIMIT}"
    async with Stage(toml=toml, tls=request.param == "tls") as stage:
        yield stage


async def test_requests_that_came_meanwhile_are_answered_however_many(stage: Stage) -> None:
    number = 8 if stage.is_secured else 4 * MOST  # handshakes must be over within the limit
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(stage.client()) for _ in range(number)]
        await clients[-1].send(request(PREFIX + stage.path()))
        assert (await clients[-1].read_response()).status == 200  # all are let in by now
        with resting(stage):
            for client in clients:
                await client.send(request(PREFIX + stage.path()))
            await asyncio.sleep(REST)
        for client in clients:
            assert (await client.read_response()).status == 200


async def answer_after_rest(stage: Stage, before: bytes, *meanwhile: Step) -> Response:
    """Of a backend that sends `before`, and does the rest while the gateway rests."""
    path, go = stage.path(), asyncio.Event()
    stage.backend.on(path, send(before), wait(go), *meanwhile)
    asked = asyncio.create_task(stage.ask(path))
    await stage.wait_seen(path)
    with resting(stage):
        go.set()
        await asyncio.sleep(REST)
    return await asked


async def test_an_answer_that_came_meanwhile_is_passed_on(stage: Stage) -> None:
    assert (await answer_after_rest(stage, b"", respond(200, b"in time"))).body == b"in time"


@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-", b"Length: 7\r\n\r\nin time"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nin time"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nin time"),
    ],
)
async def test_an_answer_whose_head_was_complete_meanwhile_is_passed_on(
    before: bytes, meanwhile: bytes, stage: Stage
) -> None:
    assert (await answer_after_rest(stage, before, send(meanwhile))).body == b"in time"


async def test_a_large_body_that_came_meanwhile_is_passed_on(stage: Stage) -> None:
    path, go = stage.path(), asyncio.Event()
    body = b"".join(Filler(SIZE))
    head = render_head(200, [("Content-Length", str(2 * SIZE))])
    stage.backend.on(path, send(head, body), wait(go), send(body))
    async with stage.client() as client:
        await client.send(request(PREFIX + path))
        answer = await client.read_head()
        came = 0
        while came < SIZE:
            came += len(await client.receive())
        with resting(stage):
            go.set()
            await asyncio.sleep(REST)
        while data := await client.receive():
            came += len(data)
            if came == 2 * SIZE:
                break
    assert (answer.status, came) == (200, 2 * SIZE)


async def test_an_upload_that_would_have_been_taken_meanwhile_goes_on(stage: Stage) -> None:
    path, go = stage.path(), asyncio.Event()
    size = 16_000_000  # more than the kernel takes while nobody reads
    stage.backend.on(path, wait(go), read_body(), respond(200), early=True)
    async with stage.client() as client:
        await client.send(request(PREFIX + path, f"Content-Length: {size}", method="POST"))
        sending = asyncio.create_task(client.send(Filler(size)))
        await stage.wait_seen(path)
        await asyncio.sleep(LIMIT / 4)  # the kernel is full, and the gateway has seen that once
        with resting(stage):
            go.set()
            await asyncio.sleep(REST)
        assert (await client.read_response()).status == 200
        await sending


async def test_a_tunnel_in_which_something_came_meanwhile_stays(stage: Stage) -> None:
    """From either side."""
    path, first, second = stage.path(), asyncio.Event(), asyncio.Event()
    stage.backend.on(path, SWITCHED, wait(first), send(b"1"), wait(second), send(b"2"), hang())
    async with stage.client() as client:
        await client.send(request(PREFIX + path, *UPGRADE))
        assert (await client.read_head()).status == 101
        with resting(stage):
            first.set()
            await asyncio.sleep(REST)
        assert await client.receive() == b"1"
        with resting(stage):
            await client.send(b"x")
            await asyncio.sleep(REST)
        await asyncio.sleep(LIMIT / 4)
        second.set()
        assert await client.receive() == b"2"


@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-", b""),
        (b"HTTP/1.1 200 OK\r\nContent-", b"Length: 7\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
)
async def test_a_backend_that_ended_within_its_head_meanwhile_is_no_silent_one(
    before: bytes, meanwhile: bytes, stage: Stage
) -> None:
    answer = await answer_after_rest(stage, before, send(meanwhile), close())
    assert (answer.status, answer.header("x-coregateway-error")) == (502, b"upstream_closed")


async def test_a_backend_that_is_silent_is_late_all_the_same(stage: Stage) -> None:
    path = stage.path()
    stage.backend.on(path, hang())
    asked = asyncio.create_task(stage.ask(path))
    await stage.wait_seen(path)
    with resting(stage):
        await asyncio.sleep(REST)
    assert (await asked).header("x-coregateway-error") == b"read_timeout"
