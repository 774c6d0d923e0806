"""What a real gateway says of its surroundings. All of it happens to one gateway at the same time."""

import asyncio
import json
import os
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from coregateway.testing import (
    GatewayProcess,
    RawClient,
    ScriptedBackend,
    delay,
    free_port,
    hang,
    respond,
)
from coregateway.testing.gateway import LogLine

TOML = """
[admin]
address = "127.0.0.1:{admin}"
[limits]
max_connections = 1
[backends.idle]
prefix = "/idle"
urls = ["{idle}"]
[backends.narrow]
prefix = "/narrow"
urls = ["{narrow}"]
[backends.gone]
prefix = "/gone"
urls = ["{gone}"]
[backends.nowhere]
prefix = "/nowhere"
urls = ["http://nowhere.invalid:1"]
[backends.late]
prefix = "/late"
urls = ["{late}"]
timeouts.connect = 0.1
[backends.silent]
prefix = "/silent"
urls = ["{silent}"]
timeouts.read = 0.1
"""

KINDS = {
    "idle_connections": "backend idle closes idle connections after 1.",
    "waiting_for_connections": "of the waiting time at backend narrow is for a free connection",
    "connections_refused": "backend gone refused 15 of 15 connections in the last ",
    "name_unresolved": "the host name of backend nowhere cannot be resolved, no such name",
    "connections_late": " within timeouts.connect (0.1 s) in the last ",
    "no_answer": " requests without an answer: no answer in time (read_",
    "answers_again": "backend silent answers again, after ",
    "loop_blocked": "worker 0's event loop was blocked for ",
    "files_running_out": "worker 0 has ",
}

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ask(gateway: GatewayProcess, path: str, times: int = 1) -> int:
    """The status of the last answer."""
    status = 0
    async with RawClient(gateway.address, within=30.0) as client:
        for _ in range(times):
            await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            status = (await client.read_response()).status
    return status


async def told(gateway: GatewayProcess, kind: str) -> LogLine:
    return await gateway.wait_for_line(event=f"diagnosis.{kind}", within=30.0)


async def end_idle_connections(gateway: GatewayProcess, backend: ScriptedBackend) -> None:
    for _ in range(5):
        await ask(gateway, "/idle/x")
        await asyncio.sleep(1.4)  # ends that are less than a second apart count as one
        assert await backend.close_idle() == 1
    await told(gateway, "idle_connections")


async def crowd(gateway: GatewayProcess) -> None:
    crowd = [asyncio.create_task(ask(gateway, "/narrow/x", 1000)) for _ in range(4)]
    await told(gateway, "waiting_for_connections")
    for each in crowd:
        each.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)


async def refuse(gateway: GatewayProcess) -> None:
    await asyncio.sleep(2.5)  # after the first look at how things are, a second after the start
    await ask(gateway, "/gone/x", 5)  # three attempts each
    await told(gateway, "connections_refused")


async def be_unreachable(gateway: GatewayProcess, name: str, kind: str) -> None:
    await asyncio.sleep(2.5)
    await ask(gateway, f"/{name}/x", 2)
    await told(gateway, kind)


async def fall_silent(gateway: GatewayProcess, backend: ScriptedBackend) -> None:
    await asyncio.sleep(2.5)
    asking = asyncio.create_task(ask(gateway, "/silent/x", 1000))  # until it is seen, however late that is
    await told(gateway, "no_answer")
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    backend.default(respond(200, b"ok"))
    while await ask(gateway, "/silent/x") != 200:  # its time is short for a busy machine
        pass
    await told(gateway, "answers_again")


async def fill_files(gateway: GatewayProcess, worker: int) -> None:
    """Its limit sinks to what it has, about; then the worker is stopped for a moment."""
    old = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (64, old[1]))
    async with AsyncExitStack() as clients:
        for _ in range(28):
            await clients.enter_async_context(RawClient(gateway.address))
        await told(gateway, "files_running_out")
        resource.prlimit(worker, resource.RLIMIT_NOFILE, old)
    os.kill(worker, signal.SIGSTOP)
    await asyncio.sleep(0.6)
    os.kill(worker, signal.SIGCONT)
    await told(gateway, "loop_blocked")


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="running")
async def fixture_running(down: str) -> AsyncIterator[GatewayProcess]:
    admin = free_port()
    async with AsyncExitStack() as stack:
        idle = await stack.enter_async_context(ScriptedBackend())
        narrow = await stack.enter_async_context(ScriptedBackend(delay(0.05), respond(200, b"late")))
        silent = await stack.enter_async_context(ScriptedBackend(hang()))
        late = await stack.enter_async_context(ScriptedBackend(accepting=False))
        toml = TOML.format(
            late=late.url, admin=admin, idle=idle.url, narrow=narrow.url, silent=silent.url, gone=down
        )
        gateway = await stack.enter_async_context(GatewayProcess(toml=toml))
        (worker,) = await workers(admin)
        await asyncio.gather(
            end_idle_connections(gateway, idle),
            crowd(gateway),
            refuse(gateway),
            be_unreachable(gateway, "nowhere", "name_unresolved"),
            be_unreachable(gateway, "late", "connections_late"),
            fall_silent(gateway, silent),
            fill_files(gateway, worker),
        )
        yield gateway


async def workers(admin: int) -> list[int]:
    async with RawClient(("127.0.0.1", admin)) as client:
        await client.send(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status = json.loads((await client.read_response()).body)
    return [worker["pid"] for worker in status["workers"]]


@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_told_in_words_and_numbers(kind: str, running: GatewayProcess) -> None:
    lines = running.log_lines(event=f"diagnosis.{kind}")
    found = [line for line in lines if KINDS[kind] in line["message"]]
    assert found, lines
    assert found[0]["level"] == ("INFO" if kind == "answers_again" else "WARNING")
    assert {"backend", "number"} & found[0].keys()


async def test_nothing_is_told_twice_in_a_minute(running: GatewayProcess) -> None:
    told = [line for line in running.log_lines() if line["event"].startswith("diagnosis.")]
    subjects = [
        (line["event"], line.get("upstream") or line.get("backend") or line.get("number")) for line in told
    ]
    assert len(subjects) == len(set(subjects))
