"""The prober follows new settings: what it has to ask, and what it has to forget."""

from collections.abc import Callable
from typing import Any

from coregateway.testing import ScriptedBackend, respond
from tests.node.reloadable import PREFIX, Reloadable

ROW = """
[backends.coretelemetry]
enabled = false
[backends.coredinator]
urls = ["{one}", "{two}"]
health.path = "{path}"
health.interval = 0.2
health.unhealthy_interval = 0.2
"""


def first(state: dict[str, Any]) -> dict[str, Any]:
    return state["backends"]["coredinator"]["upstreams"][0]


def is_checked(as_state: str) -> Callable[[dict[str, Any]], bool]:
    def holds(state: dict[str, Any]) -> bool:
        return "check" in first(state) and first(state)["check"]["state"] == as_state

    return holds


async def test_checks_begin_and_end_with_the_settings(backend: ScriptedBackend) -> None:
    async with ScriptedBackend() as two:
        backend.on("/ill", respond(503, b""))

        def toml(path: str) -> str:
            return ROW.format(one=backend.url, two=two.url, path=path)

        async with Reloadable(toml("")) as node:
            assert "check" not in first(await node.status())
            await node.reload(toml("/ill"))
            await node.until(is_checked("down"), "a check that has come is made, and fails")
            before = -1
            while before != (now := sum(each.path == b"/x" for each in backend.requests)):
                before = now  # until every worker knows it
                await node.ask_all(f"{PREFIX}/x")
            await node.reload(toml("/well"))
            await node.until(is_checked("up"), "another check is made in its place, and passes")
            await node.reload(toml("/ill"))
            await node.until(is_checked("down"), "and fails again")
            await node.reload(toml(""))
            assert "check" not in first(await node.until(lambda state: "check" not in first(state), "none"))
            asked = len(backend.requests)
            while len(backend.requests) == asked:  # it is used again
                await node.ask_all(f"{PREFIX}/again")
