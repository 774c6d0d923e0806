"""Clients that ask a gateway of these tests, one by one and without rest."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from coregateway.testing import PATIENCE, RawClient, Response
from tests.sanic_app.serving import Served
from tests.stage import request

CLIENTS = 6


async def ask(gateway: Served, path: str, method: str = "GET") -> Response:
    async with RawClient(gateway.address) as client:
        await client.send(request(path, "Connection: close", method=method))
        return await client.read_response()


async def holds(asked: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until the answer is yes."""
    async with asyncio.timeout(3 * PATIENCE):
        while not await asked():  # noqa: ASYNC110 -- another process is asked
            await asyncio.sleep(0.02)


@asynccontextmanager
async def busy(gateway: Served, path: str) -> AsyncGenerator[None]:
    """Meanwhile clients ask without rest, on new connections and on kept ones; every request is answered.

    They go on until they have asked a hundred times, so that what happens meanwhile has had its chance.
    """
    over = False
    answered = 0

    async def enough() -> bool:
        return answered > 100 or any(one.done() for one in asking)

    async def ask_anew() -> None:
        nonlocal answered
        while not over:
            assert (await ask(gateway, path)).status == 200
            answered += 1

    async def ask_on() -> None:
        nonlocal answered
        while not over:
            async with RawClient(gateway.address) as client:
                kept = True
                while kept and not over:
                    await client.send(request(path))
                    answer = await client.read_response()
                    assert answer.status == 200
                    kept = answer.header("connection") != b"close"
                    answered += 1

    asking = [asyncio.ensure_future(one()) for one in [ask_anew, ask_on] * (CLIENTS // 2)]
    try:
        yield
        await holds(enough)
    finally:
        over = True
        await asyncio.gather(*asking)
