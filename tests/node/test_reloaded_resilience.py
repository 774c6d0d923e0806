"""Rules of ejection and of the breaker change while an upstream is ejected and while a breaker is open."""

from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio

from coregateway.testing import PATIENCE, ScriptedBackend, close, respond
from tests.node.reloadable import Reloadable

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("reloaded_resilience"),  # one gateway for all of them
]

LONG = 600.0


class Stage:
    def __init__(self, bad: ScriptedBackend, good: ScriptedBackend) -> None:
        self.bad = bad
        self.good = good
        self.node = Reloadable(self.toml(), workers=2)

    def toml(self, *, ejection: str = "", breaker: str = "", lone: bool = False) -> str:
        urls = f'"{self.bad.url}"' if lone else f'"{self.bad.url}", "{self.good.url}"'
        ejects = (
            ejection if "duration" in ejection else f"duration = {LONG}\nmax_duration = {LONG}\n{ejection}"
        )
        return (
            f'[backends.two]\nprefix = "/two"\nurls = [{urls}]\n'
            f"[ejection]\n{ejects}\n[breaker]\nopen = {LONG}\n{breaker}\n"
        )

    async def upstream(self) -> dict[str, Any]:
        """The bad one."""
        return (await self.node.status())["backends"]["two"]["upstreams"][0]

    async def eject(self, rules: str) -> None:
        """Let the bad one, which is not, fail until it is ejected."""
        await self.node.reload(self.toml(ejection="enabled = false"))
        await self.node.reload(self.toml(ejection=rules))
        self.bad.default(close())
        end = monotonic() + PATIENCE
        while (await self.upstream())["state"] != "ejected":
            await self.node.ask("/two/x", method="POST")
            assert monotonic() < end

    async def gets_requests(self) -> None:
        """Wait until the bad one gets one."""
        before = len(self.bad.requests)
        end = monotonic() + PATIENCE
        while len(self.bad.requests) == before:
            await self.node.ask("/two/x")
            assert monotonic() < end


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    async with ScriptedBackend() as bad, ScriptedBackend() as good:
        stage = Stage(bad, good)
        async with stage.node:
            yield stage
            assert stage.node.gateway.stderr == ""


async def test_so_many_failures_as_are_said_now_eject(stage: Stage) -> None:
    await stage.node.reload(stage.toml(ejection="enabled = false"))
    await stage.node.reload(stage.toml(ejection="failures = 1000"))
    stage.bad.default(close())
    for _ in range(12):
        await stage.node.ask("/two/x", method="POST")
    assert (await stage.upstream())["state"] != "ejected"
    await stage.eject("failures = 2")


async def test_what_is_ejected_is_used_and_told_as_it_is_once_nothing_ejects(stage: Stage) -> None:
    await stage.eject("failures = 1")
    await stage.node.reload(stage.toml(ejection="enabled = false"))
    assert (await stage.upstream())["state"] != "ejected"
    metrics = (await stage.node.ask("/metrics", address=stage.node.admin)).body
    assert f'state="ejected",upstream="{stage.bad.url}"}} 0.0'.encode() in metrics
    stage.bad.default(respond(200, b"well"))
    await stage.gets_requests()


async def test_one_that_has_become_the_only_one_is_told_as_it_is(stage: Stage) -> None:
    await stage.eject("failures = 1")
    stage.bad.default(respond(200, b"well"))
    await stage.node.reload(stage.toml(ejection="failures = 1", lone=True))
    assert (await stage.node.ask("/two/x")).status == 200
    await stage.node.until(
        lambda state: state["backends"]["two"]["upstreams"][0]["state"] == "up", "it is up"
    )


async def test_ejections_end_with_their_rules_and_a_shorter_one_is_shorter(stage: Stage) -> None:
    await stage.eject("failures = 1")
    await stage.node.reload(stage.toml(ejection="enabled = false"))
    await stage.node.reload(stage.toml(ejection="failures = 1000"))
    assert (await stage.upstream())["state"] != "ejected"
    await stage.eject("failures = 1\nduration = 0.2\nmax_duration = 0.2")
    stage.bad.default(respond(200, b"well"))
    await stage.gets_requests()


async def test_a_breaker_comes_goes_and_has_other_rules(stage: Stage) -> None:
    def state(told: dict[str, Any]) -> str:
        return told["backends"]["two"]["breaker"]

    stage.bad.default(respond(500))
    stage.good.default(respond(500))
    await stage.node.reload(stage.toml())
    for _ in range(8):
        assert (await stage.node.ask("/two/x")).status == 500
    assert state(await stage.node.status()) == "off"
    await stage.node.reload(stage.toml(breaker="enabled = true\nratio = 1.0\nminimum = 4"))
    assert state(await stage.node.status()) == "closed"
    while (await stage.node.ask("/two/x")).status == 500:
        pass
    answer = await stage.node.ask("/two/x")
    assert answer.header("x-coregateway-error") == b"breaker_open"
    assert state(await stage.node.status()) == "open"
    await stage.node.reload(stage.toml())
    assert {(await stage.node.ask("/two/x")).status for _ in range(4)} == {500}
    assert state(await stage.node.status()) == "off"
    stage.good.default(respond(200))
