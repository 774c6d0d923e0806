"""Three nodes behind a balancer that reads `/readyz`: what is done to one after the other is not noticed."""

import asyncio
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import pytest
import pytest_asyncio

from coregateway import __version__
from coregateway.testing import GatewayProcess, RawClient, free_port
from tests.deployment.balancer import Balancer
from tests.deployment.load import Clients, serving_backend
from tests.node.running_node import ROOT
from tests.redis_server import RedisServer, needs_redis

pytestmark = pytest.mark.asyncio(loop_scope="module")

NODES = ("one", "two", "three")
RATE = 300.0
"""Requests a second, through all nodes."""
NEXT = "0.3.0"
TOML = """
metrics.on_main_port = true
timeouts.read = {read}
[shutdown]
delay = 1.5
[backends.coredinator]
enabled = false
[backends.coretelemetry]
enabled = false
[backends.to]
prefix = "/to"
urls = ["{backend}"]
[store]
url = "{store}"
timeout = 1.0
[rates.few]
key = ""
rate = "1/h"
burst = 40
[routes.few]
path = "/few"
respond.status = 200
rates = ["few"]
"""


class Node(GatewayProcess):
    """At a port that stays over restarts, from this or another directory."""

    def __init__(self, port: int, toml: str, sources: Path) -> None:
        super().__init__("--port", str(port), toml=toml, env={"PYTHONPATH": str(sources)})
        self.port = port


class Cluster:
    def __init__(self, backend: str, store: str) -> None:
        self._backend = backend
        self._store = store
        self._sources = ROOT
        self._read = 30.0
        self.ports = {name: free_port() for name in NODES}
        self.nodes: dict[str, Node] = {}
        self._running = AsyncExitStack()
        self.balancer = Balancer({name: ("127.0.0.1", port) for name, port in self.ports.items()})
        self.clients = Clients(self.balancer, RATE)

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(self.start(name) for name in NODES))
        await self._running.enter_async_context(self.balancer.looking())
        for name in NODES:
            await self.until(name, ready=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    @property
    def toml(self) -> str:
        return TOML.format(backend=self._backend, store=self._store, read=self._read)

    async def start(self, name: str) -> None:
        node = Node(self.ports[name], self.toml, self._sources)
        self.nodes[name] = await self._running.enter_async_context(node)

    async def replace(self, name: str) -> None:
        """Stop a node, as a service manager does, and start it again; `/readyz` alone tells the balancer."""
        before = self.balancer.asked[name]
        assert await self.nodes[name].stop() == 0
        assert self.nodes[name].stderr == ""
        await self.start(name)
        await self.until(name, ready=True)
        await self.clients.some()
        assert self.balancer.asked[name] > before

    async def reload(self, name: str) -> None:
        """Let a node run with the settings as they are now."""
        before = await self.hash(name)
        self.nodes[name].rewrite(self.toml)
        self.nodes[name].signal(signal.SIGHUP)
        await self.nodes[name].wait_for_line(event="settings.reloaded")
        assert await self.hash(name) != before
        await self.clients.some()

    def upgrade(self, sources: Path) -> None:
        """What nodes are started from and with, from now on."""
        self._sources = sources
        self.change()

    def change(self) -> None:
        self._read += 1.0

    async def until(self, name: str, *, ready: bool) -> None:
        async with asyncio.timeout(60.0):
            while (name in self.balancer.ready) != ready:  # noqa: ASYNC110 -- the balancer sets no event
                await asyncio.sleep(0.02)

    async def hash(self, name: str) -> bytes:
        """Of the settings that a node runs with, as its metrics tell it."""
        metrics = await self.ask(name, "/metrics")
        [value] = re.findall(rb"^coregateway_settings_hash (\S+)$", metrics, re.MULTILINE)
        return value

    async def hashes(self) -> set[bytes]:
        return {await self.hash(name) for name in NODES}

    async def ask(self, name: str, path: str) -> bytes:
        async with RawClient(self.nodes[name].address) as client:
            await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            return (await client.read_response()).body


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="cluster")
async def fixture_cluster() -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as running:
        backend = await running.enter_async_context(serving_backend())
        redis = await running.enter_async_context(RedisServer()) if shutil.which("redis-server") else None
        yield await running.enter_async_context(Cluster(backend, redis.url if redis else ""))


@pytest.fixture(scope="module", name="next_version")
def fixture_next_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package as a later version has it."""
    directory = tmp_path_factory.mktemp("next")
    package = directory / "coregateway"
    shutil.copytree(ROOT / "coregateway", package)
    file = package / "__init__.py"
    text = file.read_text("utf-8")
    assert f'__version__ = "{__version__}"' in text
    file.write_text(text.replace(f'__version__ = "{__version__}"', f'__version__ = "{NEXT}"'), "utf-8")
    return directory


async def test_a_rolling_reload_costs_no_request_and_the_hash_shows_the_drift(cluster: Cluster) -> None:
    async with cluster.clients.asking():
        cluster.change()
        seen: list[int] = []
        for name in NODES:
            await cluster.reload(name)
            seen.append(len(await cluster.hashes()))
    assert cluster.clients.failures == []
    assert cluster.clients.pace >= 0.95 * RATE or cluster.clients.was_machine_busy
    assert seen == [2, 2, 1]


async def test_a_rolling_restart_into_another_version_costs_no_request(
    cluster: Cluster, next_version: Path
) -> None:
    """With other settings, too: a restart with the same ones is less."""
    before = await cluster.hashes()
    cluster.clients.answered.clear()
    cluster.upgrade(next_version)
    async with cluster.clients.asking():
        await cluster.clients.some()
        for name in NODES:
            await cluster.replace(name)
    assert cluster.clients.failures == []
    assert cluster.clients.pace >= 0.95 * RATE or cluster.clients.was_machine_busy
    assert cluster.clients.answered.keys() == {__version__, NEXT}
    after = await cluster.hashes()
    assert len(after) == 1
    assert after != before


@needs_redis
async def test_one_rate_holds_for_all_nodes_together(cluster: Cluster) -> None:
    async with asyncio.timeout(60.0):
        for name in NODES:
            while b"\ncoregateway_rate_store_up 1.0" not in await cluster.ask(name, "/metrics"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    raw = b"GET /few HTTP/1.1\r\nHost: localhost\r\n\r\n"
    statuses = [(await cluster.balancer.ask(raw)).status for _ in range(60)]
    assert statuses == [200] * 40 + [429] * 20
