"""A mirror's promises: it sends what it can, and whatever its backend does, it holds no more than it may."""

from asyncio import Event

import pytest

from coregateway.http1.request import RequestHead
from coregateway.model.exchange import Exchange
from coregateway.proxy.headers import Outbound
from coregateway.proxy.rewriting import Rewriting
from coregateway.testing import (
    Filler,
    ScriptedBackend,
    Step,
    close,
    hang,
    read_body,
    reset,
    respond,
    send,
    wait,
)
from coregateway.upstream.mirror import CONNECTIONS, DROPPED, FAILED, MAX_ANSWER, QUEUED, SENT, Copy, Mirror
from tests.upstream.pools import descriptors, descriptors_at_rest, pool_to
from tests.waiting import eventually


def copy(path: str = "/p/x", content: bytes = b"") -> Copy:
    fields = f"Content-Length: {len(content)}\r\n" if content else ""
    head = RequestHead(f"POST {path} HTTP/1.1\r\nHost: gw.test\r\n{fields}\r\n".encode())
    outbound = Outbound(Rewriting("/p"), host="backend")
    outgoing = outbound.render(head, Exchange(0.0, "192.0.2.7"), peer=b"192.0.2.7", trusted=False)
    return Copy(outgoing, content)


async def test_a_copy_arrives_whole(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url) as pool:
        mirror = Mirror(pool)
        mirror.offer(copy("/p/a?b=c", b"hello"))
        request = await backend.wait_for_request()
        assert (request.target, bytes(request.body)) == (b"/a?b=c", b"hello")
        assert request.header("host") == b"127.0.0.1:%d" % backend.port
        await eventually(lambda: mirror.counts[SENT] == 1)


async def test_what_waits_is_bounded_and_the_rest_is_dropped() -> None:
    let_go = Event()
    async with ScriptedBackend(wait(let_go), respond(200, b"ok")) as backend, pool_to(backend.url) as pool:
        mirror = Mirror(pool)
        for _ in range(CONNECTIONS + QUEUED + 7):
            mirror.offer(copy())
        # Nothing has begun yet: the loop has not turned.
        assert mirror.counts[DROPPED] == CONNECTIONS + 7
        await backend.wait_for_request(CONNECTIONS)
        assert len(backend.connections) == CONNECTIONS
        let_go.set()
        await eventually(lambda: mirror.counts[SENT] == QUEUED)
        assert len(backend.requests) == QUEUED
        assert len(backend.connections) == CONNECTIONS


@pytest.mark.parametrize(
    "steps",
    [
        (read_body(), close()),
        (read_body(), reset()),
        (read_body(), hang()),
        (send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), close()),
        (send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), hang()),
        (send(b"rubbish\r\n\r\n"), hang()),
        (send(b"HTTP/1.1 100 Continue\r\n\r\n"), hang()),
        (send(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000), hang()),
    ],
    ids=["closes", "resets", "says nothing", "is cut", "stalls", "rubbish", "only continues", "no end"],
)
async def test_a_copy_to_a_backend_that_misbehaves_fails_once_and_holds_nothing(
    steps: tuple[Step, ...],
) -> None:
    async with ScriptedBackend(*steps) as backend, pool_to(backend.url) as pool:
        mirror = Mirror(pool, seconds=0.2)
        mirror.offer(copy())
        await eventually(lambda: mirror.counts[FAILED] == 1)
        assert len(backend.requests) == 1
        await eventually(lambda: pool.is_empty)


async def test_an_answer_that_has_no_end_is_cut() -> None:
    async with (
        ScriptedBackend(respond(200, Filler(64 * MAX_ANSWER))) as backend,
        pool_to(backend.url) as pool,
    ):
        mirror = Mirror(pool)
        mirror.offer(copy())
        await eventually(lambda: mirror.counts[SENT] == 1)
        await eventually(lambda: pool.is_empty)


async def test_a_backend_that_is_not_there_costs_a_failure_for_each_copy(down: str) -> None:
    async with pool_to(down) as pool:
        mirror = Mirror(pool)
        for _ in range(QUEUED):
            mirror.offer(copy())
        await eventually(lambda: mirror.counts[FAILED] == QUEUED)
        mirror.offer(copy())
        await eventually(lambda: mirror.counts[FAILED] == QUEUED + 1)


async def test_a_mirror_that_is_closed_leaves_nothing() -> None:
    before = await descriptors_at_rest()
    async with ScriptedBackend(hang()) as backend, pool_to(backend.url) as pool:
        mirror = Mirror(pool)
        for _ in range(CONNECTIONS + 5):
            mirror.offer(copy())
        await backend.wait_for_request(CONNECTIONS)
        await mirror.close()
    await eventually(lambda: descriptors() == before)
