"""What checks do for the requests of a real node, and what operators see of it."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from coregateway.testing import GatewayProcess, RawClient, ScriptedBackend, free_port, refusing, respond
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

INTERVAL = 0.2

TOML = """
[admin]
address = "127.0.0.1:{admin}"
[backends.coredinator]
enabled = false
[backends.coretelemetry]
enabled = false
[backends.three]
prefix = "/three"
urls = [{three}]
[backends.pair]
prefix = "/pair"
urls = [{pair}]
[backends.three.health]
path = "/health"
[backends.pair.health]
path = "/health"
interval = {interval}
unhealthy_interval = {interval}
fall = 2
rise = 2
"""


class Stage(NamedTuple):
    one: ScriptedBackend
    two: ScriptedBackend
    dead: str
    admin: int
    gateway: GatewayProcess

    async def statuses(self, path: str, times: int) -> set[int]:
        """Of so many requests, each on a connection of its own, so that every worker serves some."""
        found: set[int] = set()
        for _ in range(times):
            async with RawClient(self.gateway.address) as client:
                await client.send(f"GET {path} HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n".encode())
                found.add((await client.read_response()).status)
        return found

    async def operators(self, path: str) -> str:
        async with RawClient(("127.0.0.1", self.admin)) as client:
            await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            return (await client.read_response()).body.decode()

    async def upstream(self, backend: str, url: str) -> dict[str, Any]:
        status = json.loads(await self.operators("/status"))
        [found] = [each for each in status["backends"][backend]["upstreams"] if each["url"] == url]
        return found

    def prober(self) -> int:
        """The process that is neither the main one nor a worker, and was spawned."""
        found = [pid for pid in self.gateway.processes()[1:] if is_prober(pid)]
        return found[0] if found else 0


def is_prober(pid: int) -> bool:
    with suppress(OSError):
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes() and b"SANIC_WORKER" not in environ
    return False


def asked(backend: ScriptedBackend, path: str) -> int:
    return sum(request.path == path.encode() for request in backend.requests)


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as running:
        one, two = [await running.enter_async_context(ScriptedBackend()) for _ in range(2)]
        dead = running.enter_context(refusing())
        admin = free_port()
        three, pair = ('", "'.join(urls) for urls in ((one.url, two.url, dead), (one.url, two.url)))
        toml = TOML.format(admin=admin, three=f'"{three}"', pair=f'"{pair}"', interval=INTERVAL)
        gateway = await running.enter_async_context(GatewayProcess(toml=toml, workers=2))
        yield Stage(one, two, dead, admin, gateway)


async def test_a_node_that_starts_beside_a_dead_upstream_knows_it_when_it_is_ready(stage: Stage) -> None:
    assert await stage.statuses("/three/a", 12) == {200}
    lines = await stage.gateway.wait_for_lines(12, event="request", path="/three/a")
    assert {line["attempts"] for line in lines} == {1}
    found = await stage.upstream("three", stage.dead)
    assert found["state"] == "down"
    assert "the connection is refused" in found["reason"]
    await stage.gateway.wait_for_line(event="upstream.down", upstream=stage.dead, worker="prober")


async def test_an_upstream_whose_checks_fail_gets_no_requests_until_they_pass(stage: Stage) -> None:
    stage.one.on("/health", respond(503, b""))
    await stage.gateway.wait_for_line(event="upstream.down", upstream=stage.one.url, backend="pair")
    async with asyncio.timeout(30):  # until both workers know it, which takes a tenth of a second
        before = -1
        while before != asked(stage.one, "/out"):
            before = asked(stage.one, "/out")
            assert await stage.statuses("/pair/out", 16) == {200}
    found = await stage.upstream("pair", stage.one.url)
    assert (found["state"], found["check"]["reason"]) == ("down", "status 503, expected 200-399")
    stage.one.on("/health", respond(200, b"ok"))
    await stage.gateway.wait_for_line(event="upstream.up", upstream=stage.one.url, backend="pair")
    async with asyncio.timeout(30):
        while not asked(stage.one, "/in"):
            await stage.statuses("/pair/in", 8)
    assert (await stage.upstream("pair", stage.one.url))["state"] == "up"


async def test_a_killed_prober_is_replaced_and_checks_go_on(stage: Stage) -> None:
    first = stage.prober()
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: stage.prober() not in (0, first))
    before = asked(stage.two, "/health")
    await eventually(lambda: asked(stage.two, "/health") > before + 1)
    assert await stage.statuses("/three/b", 12) == {200}
    assert (await stage.upstream("three", stage.dead))["state"] == "down"


async def test_checks_are_the_nodes_and_counted(stage: Stage) -> None:
    """Each upstream is asked once an interval, though there are two workers and two backends there."""
    before, began = asked(stage.two, "/health"), asyncio.get_running_loop().time()
    await eventually(lambda: asked(stage.two, "/health") >= before + 12)
    took = asyncio.get_running_loop().time() - began
    # As they came: on a busy machine the first may come late. Asked twice an interval, they would need 5.5.
    assert took > 11 * INTERVAL * 0.8 * 0.8
    metrics = await stage.operators("/metrics")
    labels = f'backend="three",outcome="failed",upstream="{stage.dead}"'
    assert f"coregateway_upstream_checks_total{{{labels}}}" in metrics
