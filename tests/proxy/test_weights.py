"""Weights over all workers of a node, in so many requests that a share is a figure."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import override

import pytest
import pytest_asyncio

from coregateway.testing import GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKERS, CONNECTIONS, REQUESTS = 4, 40, 10_000

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"


class Counting(asyncio.Protocol):
    """Of an upstream that counts the requests of all its connections, and does nothing else."""

    def __init__(self, upstream: "Upstream") -> None:
        self._upstream = upstream
        self._transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        assert data.endswith(b"\r\n\r\n"), "a request without a body comes whole"
        self._upstream.requests += 1
        self._transport.write(ANSWER)


class Upstream:
    def __init__(self) -> None:
        self.requests = 0
        self.url = ""

    async def start(self, running: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Counting(self), "127.0.0.1", 0)
        running.callback(server.close)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


class Stage:
    def __init__(self, gateway: GatewayProcess, heavy: Upstream, light: Upstream) -> None:
        self._gateway = gateway
        self._heavy = heavy
        self._light = light

    async def light_share(self, path: str) -> float:
        """Per cent of the requests that the light one gets, on pipelines of many clients."""
        before = self._heavy.requests, self._light.requests
        each = REQUESTS // CONNECTIONS
        head = f"GET {path} HTTP/1.1\r\nHost: gw\r\n\r\n".encode()

        async def call() -> None:
            reader, writer = await asyncio.open_connection(*self._gateway.address)
            writer.write(head * each)
            for _ in range(each):
                await reader.readuntil(b"whole")
            writer.close()

        await asyncio.gather(*(call() for _ in range(CONNECTIONS)))
        heavy, light = self._heavy.requests - before[0], self._light.requests - before[1]
        assert heavy + light == REQUESTS
        return 100.0 * light / REQUESTS


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as running:
        heavy, light = Upstream(), Upstream()
        for upstream in (heavy, light):
            await upstream.start(running)
        toml = "".join(
            f'[backends.{balance}]\nprefix = "/{balance}"\nbalance = "{balance}"\n'
            f'urls = [{{ url = "{heavy.url}", weight = 90 }}, {{ url = "{light.url}", weight = 10 }}]\n'
            for balance in ("round_robin", "p2c")
        )
        gateway = await running.enter_async_context(GatewayProcess(toml=toml, workers=WORKERS))
        yield Stage(gateway, heavy, light)


@pytest.mark.parametrize(("balance", "points"), [("round_robin", 1.5), ("p2c", 2.5)])
async def test_weights_hold_over_all_workers(stage: Stage, balance: str, points: float) -> None:
    """No chance is in it: turns are exact in each worker (`tests/upstream/test_balancer.py`), and of two
    upstreams `p2c` looks at both."""
    share = await stage.light_share(f"/{balance}/x")
    assert 10.0 - points <= share <= 10.0 + points, share
