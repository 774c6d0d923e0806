"""A router on the way to one of two upstreams drops what is for it, or rejects it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from coregateway.testing import PATIENCE, Response, ScriptedBackend, respond
from tests.node.reloadable import Reloadable
from tests.proxy.callers import ask_in_turn, statuses
from tests.proxy.network import Network, Rule, can_have_networks
from tests.proxy.upstream_process import UpstreamProcess

pytestmark = [
    pytest.mark.skipif(not can_have_networks(), reason="needs root and network namespaces"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("routers"),  # one gateway for all of them
]

ROUTES: dict[str, Rule] = {
    "dropped": "drops",
    "rejected": "rejects",
    "dropped-later": "forwards",
    "rejected-later": "forwards",
}
"""By the names of backends: what the router does in the beginning."""

READ, LONG = 2.0, 60.0
"""Seconds; `LONG` is more than a test takes."""

HEAD_START = 250.0
"""Milliseconds after which a connect is begun elsewhere."""

TOML = f"""
[timeouts]
connect = 1.0
read = {LONG}
[retries]
backoff = 0.0
[ejection]
failures = 3
"""


@dataclass
class Stage:
    network: Network
    beyond: UpstreamProcess
    """Behind the router."""
    node: Reloadable

    def route(self, backend: str, rule: Rule) -> None:
        self.network.let([*ROUTES].index(backend), rule)

    async def ask(self, path: str, method: str = "GET", *, callers: int = 8) -> list[Response]:
        return await ask_in_turn(self.node.gateway.address, path, callers, 12, method)

    def slow(self, path: str) -> list[dict[str, Any]]:
        lines = self.node.gateway.log_lines(event="request", path=path)
        return [line for line in lines if line["duration_ms"] >= HEAD_START]

    async def until_it_answers(self, backend: str) -> None:
        """Ask until the upstream behind the router answers."""
        async with asyncio.timeout(PATIENCE):
            while (await self.node.ask(f"/{backend}/")).body != self.beyond.body:  # noqa: ASYNC110 - it asks
                await asyncio.sleep(0.02)

    async def until_out(self, backend: str) -> str:
        """Wait until the upstream behind the router gets no requests; the reason."""
        out = ("down", "ejected")
        state = await self.node.until(lambda state: _upstream(state, backend)["state"] in out, "it is out")
        return _upstream(state, backend)["reason"]


def _upstream(state: dict[str, Any], backend: str) -> dict[str, Any]:
    return state["backends"][backend]["upstreams"][0]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as running:
        network = running.enter_context(Network())
        beyond = running.enter_context(UpstreamProcess("0.0.0.0", inside=network.inside))
        beside = await running.enter_async_context(ScriptedBackend(respond(200, b"beside")))
        toml = TOML
        for number, backend in enumerate(ROUTES):
            url = f"http://{network.address(number)}:{beyond.port}"
            later = "later" in backend
            ejected = LONG if later else 0.5
            toml += f'[backends.{backend}]\nprefix = "/{backend}"\nurls = ["{url}", "{beside.url}"]\n'
            toml += f"ejection.duration = {ejected}\ntimeouts.read = {READ if later else LONG}\n"
        node = await running.enter_async_context(Reloadable(toml, workers=1))
        stage = Stage(network, beyond, node)
        for backend, rule in ROUTES.items():
            stage.route(backend, rule)
        yield stage
        assert node.gateway.stderr == ""


# A router answers a few of what it rejects, then one packet a second, and drops the rest.
@pytest.mark.parametrize(
    ("backend", "reason"), [("dropped", "no connection in time (connect_timeout)"), ("rejected", "(connect_")]
)
async def test_no_request_fails_and_none_is_slow_after_the_first_moment_and_it_comes_back(
    stage: Stage, backend: str, reason: str
) -> None:
    for method in ("GET", "POST"):
        path = f"/{backend}/{method}"
        assert statuses(await stage.ask(path, method)) == {200: 96}
        # What was begun there before it was known. Without that every second request would be slow.
        assert len(stage.slow(path)) <= 16
    assert reason in await stage.until_out(backend)
    stage.route(backend, "forwards")
    await stage.until_it_answers(backend)


@pytest.mark.parametrize(("backend", "rule"), [("dropped-later", "drops"), ("rejected-later", "rejects")])
async def test_what_is_on_its_way_when_that_begins_ends_by_the_read_limit_and_nothing_after_it(
    stage: Stage, backend: str, rule: Rule
) -> None:
    await stage.ask(f"/{backend}/before")
    await stage.until_it_answers(backend)
    stage.route(backend, rule)
    found = statuses(await stage.ask(f"/{backend}/then"))
    assert found.keys() <= {200, 504}
    # Three failures, and what was sent there beside them.
    assert found[504] <= 16
    for line in stage.node.gateway.log_lines(event="request", path=f"/{backend}/then", status=504):
        assert line["error"] == "read_timeout"
    for method in ("GET", "POST"):
        answers = await stage.ask(f"/{backend}/after", method)
        assert {(answer.status, answer.body) for answer in answers} == {(200, b"beside")}
    await stage.until_out(backend)
