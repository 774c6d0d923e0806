"""What is limited for the node is so over its workers, and one that is killed gives back what it held."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio

from coregateway.testing import (
    PATIENCE,
    Exchange,
    RawClient,
    Response,
    ScriptedBackend,
    Step,
    hang,
    respond,
)
from tests.node.reloadable import Reloadable

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("limits_of_a_node"),  # one gateway for all of them
]

LIMIT = 3
TOML = """
[timeouts]
pool = 60.0
read = 60.0
[retries]
backoff = 0.0
budget = 0.0
budget_minimum = 1
[concurrency.one]
key = "header:X-Key"
max = 1
[backends.lone]
prefix = "/lone"
urls = ["{lone}"]
[backends.lone.breaker]
enabled = true
minimum = 4
open = 0.5
[backends.counted]
prefix = "/counted"
urls = ["{counted}"]
retries.statuses = [503]
[backends.limited]
prefix = "/limited"
urls = ["{plain}"]
max_in_flight = {limit}
[backends.keyed]
prefix = "/keyed"
urls = ["{plain}"]
concurrency = ["one"]
"""


@dataclass
class Stage:
    node: Reloadable
    lone: ScriptedBackend
    counted: ScriptedBackend
    plain: ScriptedBackend

    async def at_worker(self, running: AsyncExitStack, worker: str) -> RawClient:
        """A connection of a client to this worker; the kernel deals connections out at random."""
        while True:
            client = await running.enter_async_context(RawClient(self.node.gateway.address))
            name = f"/where-{client.local_address[1]}-{monotonic()}"
            await ask(client, name)
            if (await self.node.gateway.wait_for_line(event="request", path=name))["worker"] == worker:
                return client
            client.close()


async def begin(client: RawClient, path: str, *fields: str) -> None:
    await client.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: gw", *fields, "", ""]).encode())


async def ask(client: RawClient, path: str, *fields: str) -> Response:
    await begin(client, path, *fields)
    return await client.read_response()


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    """Ask until it holds: a process that gives something back tells no other one."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110 - it asks, too
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as running:
        lone, counted, plain = [await running.enter_async_context(ScriptedBackend()) for _ in range(3)]
        toml = TOML.format(lone=lone.url, counted=counted.url, plain=plain.url, limit=LIMIT)
        node = await running.enter_async_context(Reloadable(toml, workers=2))
        yield Stage(node, lone, counted, plain)
        assert node.gateway.stderr == ""


def counting(most: list[int]) -> Step:
    """Answers after a moment, and notes how many did at once."""
    under_way = 0

    async def step(exchange: Exchange) -> None:
        nonlocal under_way
        under_way += 1
        most.append(under_way)
        await asyncio.sleep(0.002)
        under_way -= 1
        await exchange.send([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])

    return step


async def test_max_in_flight_holds_for_all_workers(stage: Stage) -> None:
    most: list[int] = []
    stage.plain.on("/many", counting(most))
    answers = await asyncio.gather(*(stage.node.ask("/limited/many") for _ in range(40)))
    assert {answer.status for answer in answers} == {200}
    assert max(most) == LIMIT


async def test_what_a_killed_worker_held_is_free_for_the_others(stage: Stage) -> None:
    """Its requests in flight, its places by `max_in_flight` and by the limit of a key, the one repetition
    that the budget allows, and the breaker's one probe."""
    counted, lone, plain = stage.counted, stage.lone, stage.plain
    counted.on("/sick", respond(503))
    lone.default(respond(500))
    plain.on("/held", hang())
    dying, living = (await stage.node.status())["workers"]
    async with AsyncExitStack() as running:
        repeating, probing, keyed, *limited = [
            await stage.at_worker(running, dying["name"]) for _ in range(3 + LIMIT)
        ]
        other, waiting = [await stage.at_worker(running, living["name"]) for _ in range(2)]

        async def attempts() -> int:
            before = len(counted.requests)
            assert (await ask(other, "/counted/sick")).status == 503
            return len(counted.requests) - before

        async def is_free() -> bool:
            return (await ask(other, "/keyed/free", "X-Key: a")).status == 200

        before = len(plain.requests)
        await begin(keyed, "/keyed/held", "X-Key: a")
        for client in limited:
            await begin(client, "/limited/held")
        await plain.wait_for_request(before + 1 + LIMIT)
        assert not await is_free()
        await begin(waiting, "/limited/free")
        await stage.node.until(lambda state: state["backends"]["limited"]["queued"] == 1, "it waits")

        assert await attempts() == 3
        counted.once(respond(503))
        counted.once(hang())
        before = len(counted.requests)
        await begin(repeating, "/counted/repeated")
        await counted.wait_for_request(before + 2)
        assert await attempts() == 1

        for _ in range(4):
            assert (await ask(other, "/lone/x")).status == 500
        await stage.node.until(lambda state: breaker(state) == "half_open", "it lets one try")
        lone.default(hang())
        before = len(lone.requests)
        await begin(probing, "/lone/probe")
        await lone.wait_for_request(before + 1)
        refused = await ask(other, "/lone/refused")
        assert refused.header("x-coregateway-error") == b"breaker_open"
        await stage.node.until(lambda state: under_way(state) == 2 + 1 + LIMIT + 1, "all are counted")

        lone.default(respond(200))
        os.kill(dying["pid"], signal.SIGKILL)
        assert (await waiting.read_response()).status == 200, "it waited for a place"
        await until(is_free)
        state = await stage.node.until(lambda state: under_way(state) == 0, "they are given back")
        for name in ("counted", "lone", "limited", "keyed"):
            assert state["backends"][name]["connections"]["active"] == 0
            assert state["backends"][name]["upstreams"][0]["in_flight"] == 0

        async def are_repeated() -> bool:
            return await attempts() == 3

        async def is_answered() -> bool:
            return (await ask(other, "/lone/again")).status == 200

        await until(are_repeated)
        await until(is_answered)
        assert breaker(await stage.node.status()) == "closed"
        assert [request.path for request in lone.requests].count(b"/again") == 1, "the one that closed it"


def breaker(state: dict[str, Any]) -> str:
    return state["backends"]["lone"]["breaker"]


def under_way(state: dict[str, Any]) -> int:
    return sum(state["backends"][name]["in_flight"] for name in ("counted", "lone", "limited", "keyed"))
