"""`app.m.scale` changes the number of workers, up and down, without a lost request."""

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from typing import Any

import pytest

from coregateway.testing import PATIENCE
from tests.sanic_app.asking import ask, busy, holds
from tests.sanic_app.serving import Served
from tests.waiting import eventually


async def workers(gateway: Served) -> list[Any]:
    return json.loads((await ask(gateway, "/workers")).body)["node"]


async def names(gateway: Served, answers: int = 60) -> set[str]:
    """Of the workers that answer."""
    return {json.loads((await ask(gateway, "/workers")).body)["name"] for _ in range(answers)}


async def tells(gateway: Served, counted: list[Any]) -> bool:
    return await workers(gateway) == counted


async def answer_by(gateway: Served, number: int) -> bool:
    return len(await names(gateway)) == number


async def scale(gateway: Served, number: int) -> None:
    assert (await ask(gateway, f"/scale/{number}", "POST")).status == 200


def processes_of_workers(gateway: Served) -> int:
    """The main process, Sanic's keeper of notes and its resource tracker are none."""
    return len(gateway.processes()) - 3


@pytest.mark.parametrize(
    ("workers_first", "numbers"),
    [
        pytest.param(3, [2, 3], id="down and up"),
        pytest.param(1, [3, 1], id="up and down"),
        pytest.param(2, [4, 1, 2], id="beyond, and back"),
    ],
)
async def test_no_request_is_lost(workers_first: int, numbers: Sequence[int]) -> None:
    async with Served("tests.sanic_app.scaled_app:app", workers=workers_first) as gateway:
        around = processes_of_workers(gateway) - workers_first
        async with busy(gateway, "/workers"):
            for number in numbers:
                await scale(gateway, number)
                # Workers start slowly beside this load, and more slowly on a busy machine.
                await eventually(lambda n=number: processes_of_workers(gateway) - around == n, 3 * PATIENCE)
                counted = [[each, "ready"] for each in range(min(number, workers_first))]
                await holds(lambda counted=counted: tells(gateway, counted))
                assert (await ask(gateway, "/readyz")).status == 200
        await holds(lambda: answer_by(gateway, numbers[-1]))
        assert gateway.log_lines(event="worker.died") == []
        assert await gateway.stop() == 0


async def test_a_request_under_way_is_answered_by_a_worker_that_goes() -> None:
    async with Served("tests.sanic_app.scaled_app:app", workers=3) as gateway:
        async with asyncio.TaskGroup() as tasks:
            slow = [tasks.create_task(ask(gateway, "/slow")) for _ in range(30)]
            await asyncio.sleep(0.2)
            await scale(gateway, 1)
        assert [answer.result().status for answer in slow] == [200] * 30


@pytest.mark.parametrize("number", [0, -1])
async def test_a_node_keeps_one_worker(number: int) -> None:
    async with Served("tests.sanic_app.scaled_app:app", workers=1) as gateway:
        await scale(gateway, number)
        await gateway.wait_for_line(event="node.not_scaled")
        assert (await ask(gateway, "/readyz")).status == 200


async def test_a_worker_that_is_killed_after_scaling_comes_back() -> None:
    async with Served("tests.sanic_app.scaled_app:app", workers=3) as gateway:
        await scale(gateway, 2)
        await holds(lambda: tells(gateway, [[0, "ready"], [1, "ready"]]))
        os.kill(json.loads((await ask(gateway, "/workers")).body)["pid"], signal.SIGKILL)
        await gateway.wait_for_line(event="worker.restarted")
        await holds(lambda: answer_by(gateway, 2))
