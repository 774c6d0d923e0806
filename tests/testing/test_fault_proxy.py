"""Each fault of the proxy is what it is called, and comes again by the same seed."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from time import monotonic

import pytest

from coregateway.testing import (
    EVERY,
    Bandwidth,
    BlackHole,
    CutBody,
    Fault,
    FaultProxy,
    Latency,
    RawClient,
    Refused,
    Reset,
    Response,
    ResponseCut,
    ScriptedBackend,
    SlowClose,
    close,
    respond,
    response,
    send,
)

BODY = bytes(range(256)) * 40
ASK = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(name="upstream")
async def fixture_upstream() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(respond(200, BODY)) as backend:
        yield backend


@pytest.fixture(name="proxy")
async def fixture_proxy(upstream: ScriptedBackend) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(upstream.address, seed=7) as proxy:
        yield proxy


async def ask(proxy: FaultProxy, *, within: float = 10.0) -> Response:
    async with RawClient(proxy.address, within=within) as client:
        await client.send(ASK)
        return await client.read_response()


async def hangs(proxy: FaultProxy) -> bool:
    """Whether a connection is neither taken nor refused; asked of the kernel, for half a second."""
    try:
        async with asyncio.timeout(0.5):
            with socket.socket() as probe:
                probe.setblocking(False)
                await asyncio.get_running_loop().sock_connect(probe, proxy.address)
    except TimeoutError:
        return True
    return False


async def refuses(proxy: FaultProxy) -> bool:
    try:
        async with RawClient(proxy.address):
            return False
    except ConnectionRefusedError:
        return True


async def test_without_a_fault_everything_passes_on_kept_connections(
    proxy: FaultProxy, upstream: ScriptedBackend
) -> None:
    async with RawClient(proxy.address) as client:
        for _ in range(3):
            await client.send(ASK)
            assert (await client.read_response()).body == BODY
    assert (proxy.passed, len(upstream.connections)) == (1, 1)


async def test_latency_delays_answers(proxy: FaultProxy) -> None:
    await proxy.suffer(Latency(0.3, 0.1))
    began = monotonic()
    assert (await ask(proxy)).body == BODY
    assert monotonic() - began >= 0.2


async def test_bandwidth_limits_the_rate_of_answers(proxy: FaultProxy) -> None:
    await proxy.suffer(Bandwidth(20_000))
    began = monotonic()
    assert (await ask(proxy)).body == BODY
    assert monotonic() - began >= len(BODY) / 20_000 * 0.9


async def test_reset_ends_a_connection_within_an_answer(proxy: FaultProxy) -> None:
    await proxy.suffer(Reset(10, 10))
    with pytest.raises((ConnectionResetError, ResponseCut)):
        await ask(proxy)
    await proxy.suffer(None)
    assert (await ask(proxy)).body == BODY


async def test_a_cut_body_ends_in_good_order_too_early(proxy: FaultProxy) -> None:
    await proxy.suffer(CutBody(2000, 3000))
    with pytest.raises(ResponseCut):
        await ask(proxy)


async def test_a_black_hole_takes_no_connection_and_lets_nothing_pass(proxy: FaultProxy) -> None:
    async with RawClient(proxy.address, within=0.3) as client:
        await client.send(ASK)
        assert (await client.read_response()).status == 200
        await proxy.suffer(BlackHole())
        assert await hangs(proxy)
        await client.send(ASK)
        with pytest.raises(TimeoutError):
            await client.read_response()
        await proxy.suffer(None)
        with pytest.raises((ConnectionResetError, ResponseCut)):
            await client.read_response()
    assert (await ask(proxy)).body == BODY


async def test_refused_is_refused_and_resets_what_is_there(proxy: FaultProxy) -> None:
    async with RawClient(proxy.address) as client:
        await client.send(ASK)
        await client.read_response()
        await proxy.suffer(Refused())
        assert await refuses(proxy)
        with pytest.raises((OSError, ResponseCut)):
            await client.read_response()
    await proxy.suffer(None)
    assert (await ask(proxy)).body == BODY


async def test_a_slow_close_tells_of_the_end_later(upstream: ScriptedBackend, proxy: FaultProxy) -> None:
    upstream.default(send(response(200, b"ok")), close())
    await proxy.suffer(SlowClose(0.3))
    async with RawClient(proxy.address) as client:
        await client.send(ASK)
        await client.read_response()
        began = monotonic()
        await client.expect_closed()
        assert monotonic() - began >= 0.2


async def test_an_upstream_that_is_gone_resets(upstream: ScriptedBackend) -> None:
    async with FaultProxy(("127.0.0.1", 1)) as proxy:
        with pytest.raises((ConnectionResetError, ResponseCut)):
            await ask(proxy)
    assert upstream.connections == []


async def cut_after(upstream: ScriptedBackend, seed: int, number: int) -> list[int]:
    """After how many bytes connections end, one after the other."""
    found: list[int] = []
    async with FaultProxy(upstream.address, seed=seed) as proxy:
        await proxy.suffer(CutBody(0, 9000))
        for _ in range(number):
            reader, writer = await asyncio.open_connection(*proxy.address)
            writer.write(ASK)
            found.append(len(await reader.read(-1)))
            writer.close()
    return found


async def test_the_same_seed_brings_the_same_faults(upstream: ScriptedBackend) -> None:
    first = await cut_after(upstream, 1, 5)
    assert first == await cut_after(upstream, 1, 5)
    assert first != await cut_after(upstream, 2, 5)
    assert len(set(first)) > 1


@pytest.mark.parametrize("faults", [EVERY, EVERY[::-1]], ids=["forwards", "backwards"])
async def test_after_every_fault_it_is_as_it_was(proxy: FaultProxy, faults: Sequence[Fault]) -> None:
    for fault in faults:
        await proxy.suffer(fault)
    await proxy.suffer(None)
    assert (await ask(proxy)).body == BODY
