"""`max_in_flight`, from outside: it holds for the node, and what a killed worker held is free again."""

import asyncio
import os
import re
import signal
from contextlib import AsyncExitStack, suppress

from coregateway.testing import (
    Exchange,
    GatewayProcess,
    RawClient,
    Response,
    ResponseCut,
    ScriptedBackend,
    Step,
    hang,
)
from tests.stage import PREFIX, request

LIMIT = 3
TOML = f"""
[timeouts]
pool = 60.0
read = 60.0
[backends.coredinator]
prefix = "{PREFIX}"
urls = ["{{backend}}"]
max_in_flight = {LIMIT}
"""


def counted(most: list[int]) -> Step:
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


async def test_the_limit_holds_for_all_workers_and_what_killed_ones_held_is_free() -> None:
    most: list[int] = []
    async with (
        ScriptedBackend() as backend,
        GatewayProcess(
            backends={"coredinator": backend.url}, toml=TOML.replace("{backend}", backend.url), workers=2
        ) as gateway,
        AsyncExitStack() as opened,
    ):
        backend.on("/many", counted(most))
        answers = await asyncio.gather(*(answer_of(gateway) for _ in range(40)))
        assert {answer.status for answer in answers} == {200}
        assert max(most) == LIMIT

        backend.on("/held", hang())
        held: list[RawClient] = []
        for _ in range(LIMIT):
            client = await opened.enter_async_context(RawClient(gateway.address))
            await client.send(request(PREFIX + "/held"))
            held.append(client)
        await backend.wait_for_request(len(answers) + LIMIT)
        lines = gateway.log_lines(event="sanic.server")
        found = [re.search(r"Starting worker \[(\d+)\]", line["message"]) for line in lines]
        pids = [int(match[1]) for match in found if match is not None]
        assert len(pids) == 2
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(15):
            while True:
                with suppress(OSError, ResponseCut):  # until the next workers are there
                    assert (await answer_of(gateway)).status == 200
                    break
                await asyncio.sleep(0.02)


async def answer_of(gateway: GatewayProcess) -> Response:
    async with RawClient(gateway.address) as client:
        await client.send(request(PREFIX + "/many"))
        return await client.read_response()
