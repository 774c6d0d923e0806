"""Upstreams are processes: one is killed, one stands still, one takes no connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from coregateway.testing import Response, ScriptedBackend
from tests.node.reloadable import Reloadable
from tests.proxy.callers import ask_in_turn, statuses
from tests.proxy.upstream_process import UpstreamProcess
from tests.waiting import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("real_upstreams"),  # one gateway for all of them
]

READ = 2.0
"""Seconds; `LONG` is more than a test takes."""
LONG = 60.0

TOML = """
[timeouts]
connect = {long}
read = {read}
[retries]
backoff = 0.0
[ejection]
failures = 3
duration = {long}
[backends.killed]
prefix = "/killed"
urls = [{killed}]
timeouts.read = {long}
[backends.stopped]
prefix = "/stopped"
urls = [{stopped}]
[backends.crowded]
prefix = "/crowded"
urls = [{crowded}]
timeouts.read = {long}
ejection.enabled = false
[backends.holed]
prefix = "/holed"
urls = [{holed}]
timeouts.read = {long}
"""


@dataclass
class Stage:
    node: Reloadable
    pairs: dict[str, tuple[UpstreamProcess, UpstreamProcess]]

    async def ask(self, path: str, method: str = "GET") -> Response:
        return await self.node.ask(path, method=method)

    async def ask_in_turn(self, path: str, callers: int, times: int, method: str = "GET") -> list[Response]:
        return await ask_in_turn(self.node.gateway.address, path, callers, times, method)

    def lines(self, path: str) -> list[dict[str, Any]]:
        return self.node.gateway.log_lines(event="request", path=path)

    async def upstream(self, backend: str, url: str) -> dict[str, Any]:
        upstreams = (await self.node.status())["backends"][backend]["upstreams"]
        return next(each for each in upstreams if each["url"] == url)

    async def both_used(self, backend: str) -> None:
        """Wait until either upstream has answered a request, on a connection that stays."""
        bodies = {each.body for each in self.pairs[backend]}
        while bodies:
            bodies.discard((await self.ask(f"/{backend}/warm")).body)


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as running:
        pairs = {
            name: (
                running.enter_context(UpstreamProcess()),
                running.enter_context(UpstreamProcess()),
            )
            for name in ("killed", "stopped", "crowded")
        }
        hole = await running.enter_async_context(ScriptedBackend(accepting=False))
        beside = await running.enter_async_context(ScriptedBackend())
        urls = {name: f'"{one.url}", "{other.url}"' for name, (one, other) in pairs.items()}
        urls |= {"holed": f'"{hole.url}", "{beside.url}"'}
        toml = TOML.format(read=READ, long=LONG, **urls)
        node = await running.enter_async_context(Reloadable(toml, workers=2))
        yield Stage(node, pairs)
        assert node.gateway.stderr == ""


async def test_a_killed_one_ends_what_it_had_in_hand_and_no_request_fails_after_it(stage: Stage) -> None:
    dying, other = stage.pairs["killed"]
    await stage.both_used("killed")
    held = [asyncio.create_task(stage.ask("/killed/hold", "POST")) for _ in range(6)]
    await stage.node.until(
        lambda state: sum(each["in_flight"] for each in state["backends"]["killed"]["upstreams"]) == 6,
        "six are in hand",
    )
    in_hand = (await stage.upstream("killed", dying.url))["in_flight"]
    assert 1 <= in_hand <= 5
    dying.kill()
    await eventually(lambda: sum(task.done() for task in held) == in_hand)
    ended = [task.result() for task in held if task.done()]
    assert {(each.status, each.header("x-coregateway-error")) for each in ended} == {
        (502, b"upstream_closed")
    }
    for method in ("GET", "POST"):
        answers = await stage.ask_in_turn("/killed/after", 4, 10, method)
        assert {(each.status, each.body) for each in answers} == {(200, other.body)}
    for task in held:
        task.cancel()
    await asyncio.wait(held)


async def test_a_stopped_one_keeps_what_it_has_for_the_read_limit_and_is_ejected(stage: Stage) -> None:
    still, other = stage.pairs["stopped"]
    await stage.both_used("stopped")
    still.stop()
    answers = await stage.ask_in_turn("/stopped/x", 8, 12)
    found = statuses(answers)
    assert found.keys() == {200, 504}
    # Three failures are enough, and each caller may have sent one there before, and one beside them.
    assert 3 <= found[504] <= 16
    for line in stage.lines("/stopped/x"):
        kept = line["upstream"] == still.url.removeprefix("http://")
        assert (line["status"], line["error"]) == ((504, "read_timeout") if kept else (200, None))
        assert not kept or line["duration_ms"] >= READ * 990
    told = await stage.upstream("stopped", still.url)
    assert told["state"] == "ejected"
    assert told["reason"].startswith("no answer in time (read_timeout): no requests for ")
    found = set[tuple[int, bytes]]()
    async with asyncio.timeout(LONG):
        while found != {(200, other.body)}:  # until both workers have heard of it
            answers = await stage.ask_in_turn("/stopped/later", 4, 10, "POST")
            found = {(each.status, each.body) for each in answers}
    still.go_on()


async def test_a_stopped_one_gets_little_though_nothing_says_that_it_fails(stage: Stage) -> None:
    still, other = stage.pairs["crowded"]
    await stage.both_used("crowded")
    still.stop()
    tasks = [asyncio.create_task(stage.ask_in_turn("/crowded/x", 1, 25)) for _ in range(12)]
    # What it has in hand weighs: it gets half of each worker's callers at most, and then none.
    await eventually(lambda: sum(task.done() for task in tasks) >= 5)
    kept = (await stage.upstream("crowded", still.url))["in_flight"]
    assert kept <= 7
    still.go_on()
    answers = [answer for found in await asyncio.gather(*tasks) for answer in found]
    assert statuses(answers) == {200: 300}, "what it has kept is answered when it goes on"
    assert other.body in {answer.body for answer in answers}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_one_that_takes_no_connections_costs_no_request_its_answer(stage: Stage, method: str) -> None:
    answers = await stage.ask_in_turn(f"/holed/{method}", 8, 12, method)
    assert statuses(answers) == {200: 96}
    slow = [line for line in stage.lines(f"/holed/{method}") if line["duration_ms"] >= 250.0]
    assert len(slow) <= 16, "those of the first moments were begun there"
