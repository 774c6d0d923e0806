"""`app.m`, `app.manager.manage` and the inspector, as on any Sanic application."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from coregateway.testing import free_port
from tests.sanic_app.asking import ask, busy, holds
from tests.sanic_app.serving import Served
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("processes")]

WITHIN = 60.0


class Node(Served):
    """A gateway with processes beside its workers, and its inspector."""

    def __init__(self, directory: Path, *managed: str, workers: int = 1) -> None:
        self._happened = directory / "happened"
        self._happened.touch()
        self.inspector = free_port()
        env = {
            "HAPPENED": str(self._happened),
            "MANAGED": " ".join(managed),
            "SANIC_INSPECTOR": "true",
            "SANIC_INSPECTOR_PORT": str(self.inspector),
        }
        super().__init__("tests.sanic_app.managed_app:app", env=env, workers=workers)

    def happened(self, name: str) -> list[list[str]]:
        """What a process beside the workers has told so far, in words."""
        lines = map(str.split, self._happened.read_text().splitlines())
        return [words for teller, *words in lines if teller == name]

    async def inspect(self, *words: str) -> str:
        """What `sanic inspect` prints."""
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sanic", "inspect", *words, "--port", str(self.inspector)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(WITHIN):
            output, _ = await running.communicate()
        assert running.returncode == 0, output
        return output.decode()

    async def pids(self) -> set[int]:
        """Of the workers that answer."""
        return {json.loads((await ask(self, "/pid")).body) for _ in range(40)}

    async def are_replaced(self, before: set[int], number: int) -> bool:
        """Whether that many workers answer, and none of those."""
        pids = await self.pids()
        return len(pids) == number and not pids & before


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    async with Node(tmp_path_factory.mktemp("node"), "once", workers=2) as node:
        yield node
        assert await node.stop() == 0
        assert node.stderr == ""
        assert node.log_lines(level="ERROR") == []


ENDS = {"watch": ["interrupted"], "orderly": ["took", "SIGINT"]}
"""What managed processes tell last, when the node ends."""


@pytest.mark.parametrize("how", ["terminate", "inspect"])
async def test_a_node_ends_beside_managed_processes(tmp_path: Path, how: str) -> None:
    async with Node(tmp_path, *ENDS) as node:
        await eventually(lambda: all(node.happened(name) for name in ENDS))
        if how == "terminate":
            await ask(node, "/terminate", "POST")
        else:
            await node.inspect("shutdown")
        assert await node.wait() == 0
        assert {name: node.happened(name)[-1] for name in ENDS} == ENDS
        await eventually(lambda: not node.processes())
        assert node.stderr == ""


async def test_processes_that_a_worker_has_managed_end_with_the_node(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        for name in ("orderly", "deaf"):
            await ask(node, f"/manage/{name}", "POST")
            await eventually(lambda name=name: node.happened(f"{name}-later"))
        assert await node.stop() == 0
        assert node.happened("orderly-later")[-1] == ["took", "SIGINT"]
        await eventually(lambda: not node.processes())  # the other one was killed


async def test_a_managed_process_is_started_again_by_its_name_and_takes_signals_each_time(node: Node) -> None:
    for times in (1, 2, 3):
        await eventually(lambda times=times: len(node.happened("once")) == times)

        async def completed() -> bool:
            states = json.loads((await ask(node, "/states")).body)
            return states["Sanic-once-0"] in ("COMPLETED", "FAILED")

        await holds(completed)
        if times < 3:
            await ask(node, "/restart?name=Sanic-once-0", "POST")
    assert node.happened("once") == [["done"]] * 3  # and no signal that is blocked


async def test_all_workers_are_restarted_without_a_lost_request(node: Node) -> None:
    await holds(lambda: has(node, 2))
    before = await node.pids()
    async with busy(node, "/pid"):
        await ask(node, "/restart?all=1", "POST")
        await holds(lambda: node.are_replaced(before, 2))
    assert node.log_lines(event="worker.died") == []


async def test_a_worker_restarts_itself(node: Node) -> None:
    await holds(lambda: has(node, 2))
    before = await node.pids()
    async with busy(node, "/pid"):
        await ask(node, "/restart", "POST")
        await holds(lambda: one_is_new(node, before))


async def has(node: Node, number: int) -> bool:
    return len(await node.pids()) == number


async def one_is_new(node: Node, before: set[int]) -> bool:
    pids = await node.pids()
    return len(pids) == 2 and len(pids & before) == 1


async def test_the_inspector_tells_of_the_node(node: Node) -> None:
    told = await node.inspect()
    assert "app: coregateway" in told
    for name in ("Sanic-Server-0-0", "Sanic-Server-1-0", "Sanic-Inspector-0", "Sanic-once-0"):
        assert name in told


async def test_the_inspector_runs_commands_of_users(node: Node) -> None:
    assert await node.inspect("double", "21") == "42\n"
    assert await node.inspect("double", "--number=4") == "8\n"


async def test_the_inspector_reloads_the_workers_without_a_lost_request(node: Node) -> None:
    await holds(lambda: has(node, 2))
    before = await node.pids()
    async with busy(node, "/pid"):
        await node.inspect("reload", "--zero-downtime")
        await holds(lambda: node.are_replaced(before, 2))


async def test_the_inspector_scales_the_node_without_a_lost_request(node: Node) -> None:
    async with busy(node, "/pid"):
        for number in (3, 2):
            assert await node.inspect("scale", str(number)) == f"Scaling to {number}\n"
            await holds(lambda number=number: has(node, number))


async def test_the_inspector_logs_as_the_node_does(node: Node) -> None:
    await node.inspect("double", "1")
    line = await node.wait_for_line(event="sanic.root", message="Incoming inspector action: double")
    assert line["worker"] == "Sanic-Inspector-0"
    assert node.stderr == ""  # and `log_lines` raises when stdout has anything but JSON
