"""Settings of the processes rather than of requests: a reload changes these in place, too."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from coregateway.testing import RawClient, ScriptedBackend, hang
from tests.node.reloadable import PREFIX, Reloadable
from tests.waiting import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("reloaded_process"),  # one gateway for most of them
]

BACKENDS = """
watchdog = 60.0
[reload]
watch = {watch}
[backends.coredinator]
prefix = "/api/v1/coredinator"
urls = ["{backend}"]
"""
QUIET = BACKENDS.replace("{watch}", "0.0")


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="backend")
async def fixture_backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend() as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="node")
async def fixture_node(backend: ScriptedBackend) -> AsyncIterator[Reloadable]:
    async with Reloadable(QUIET, backend=backend.url) as node:
        yield node
        assert node.gateway.stderr == ""


async def test_lines_are_those_of_the_new_settings(node: Reloadable) -> None:
    await node.reload(QUIET + "[access_log]\nsample = 0.0")
    await node.ask(f"{PREFIX}/unsampled")
    await node.reload(QUIET + "[access_log]\nsample = 0.0\nslow = 0.000001")
    await node.ask(f"{PREFIX}/slow")
    await node.gateway.wait_for_line(event="request", path=f"{PREFIX}/slow")
    await node.reload(QUIET + '[access_log]\nfields = ["path"]')
    await node.ask(f"{PREFIX}/narrow")
    narrow = await node.gateway.wait_for_line(event="request", path=f"{PREFIX}/narrow")
    assert set(narrow) == {"time", "level", "event", "worker", "path"}
    assert len(node.gateway.log_lines(event="request", path=f"{PREFIX}/slow")) == 1
    assert not node.gateway.log_lines(event="request", path=f"{PREFIX}/unsampled")


async def test_a_level_is_that_of_the_new_settings(node: Reloadable, backend: ScriptedBackend) -> None:
    named = {"backend": "coredinator", "url": backend.url}
    await node.reload('log_level = "WARNING"\n' + QUIET)
    await node.post("/upstreams/drain", named)
    await node.reload(QUIET)
    await node.post("/upstreams/undrain", named)
    await node.gateway.wait_for_line(event="upstream.undrained")
    assert not node.gateway.log_lines(event="upstream.drained")


async def test_the_form_of_lines_is_another_one(backend: ScriptedBackend) -> None:
    async with Reloadable(QUIET, backend=backend.url, workers=1) as node:
        await node.reload('log_format = "console"\n' + QUIET)
        await node.ask(f"{PREFIX}/plain")

        def last() -> str:
            lines = [line for line in node.gateway.stdout.splitlines() if f"{PREFIX}/plain" in line]
            return lines[-1] if lines else ""

        await eventually(last)
        assert not last().startswith("{")


async def test_a_worker_may_stand_still_for_as_long_as_is_said_now(node: Reloadable) -> None:
    await node.reload(QUIET.replace("watchdog = 60.0", "watchdog = 1.0"))
    stopped = (await node.status())["workers"][0]["pid"]
    os.kill(stopped, signal.SIGSTOP)
    await node.gateway.wait_for_line(event="worker.hung", pid=stopped)
    await node.reload(QUIET)  # what starts may take longer than that on a busy machine
    await node.replaced(stopped)


async def test_a_file_is_watched_from_now_on(node: Reloadable) -> None:
    before = await node.reload(BACKENDS.replace("{watch}", "0.1"))
    node.rewrite(QUIET)
    await node.gateway.wait_for_line(event="settings.reloaded", by="watch", version=before["version"] + 1)
    await node.all_run(before["version"] + 1)


async def test_the_end_comes_by_the_times_of_the_new_settings(backend: ScriptedBackend) -> None:
    backend.on("/never", hang())
    first = QUIET + "[shutdown]\ndelay = 100.0\ngrace = 100.0"
    async with Reloadable(first, backend=backend.url, workers=1) as node:
        await node.reload(QUIET + "[shutdown]\ndelay = 0.0\ngrace = 0.1")
        async with RawClient(node.gateway.address) as client:
            seen = len(backend.requests)
            await client.send(f"GET {PREFIX}/never HTTP/1.1\r\nHost: gw\r\n\r\n".encode())
            await backend.wait_for_request(seen + 1)
            stopping = asyncio.create_task(node.gateway.stop())
            answer = await client.read_response()
            assert (answer.status, answer.header("x-coregateway-error")) == (503, b"draining")
            assert await stopping == 0
