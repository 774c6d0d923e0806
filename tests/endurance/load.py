"""A steady load of good requests: how long others wait while something happens."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import ceil

from coregateway.testing import RawClient, ResponseCut, WireError

CLIENTS = 4


@dataclass
class Load:
    """What the clients of a load have seen. `waits` in seconds, one for each request."""

    waits: list[float] = field(default_factory=list[float])
    failures: list[str] = field(default_factory=list[str])

    def p(self, percent: float) -> float:
        """Seconds within which so many of the requests were answered; 0 without any."""
        waits = sorted(self.waits)
        return waits[ceil(len(waits) * percent / 100) - 1] if waits else 0.0

    def __str__(self) -> str:
        p50, p99, longest = (f"{self.p(percent) * 1000:.1f} ms" for percent in (50, 99, 100))
        failures = len(self.failures)
        return (
            f"{len(self.waits)} good requests, p50 {p50}, p99 {p99}, longest {longest}, {failures} failures"
        )


@asynccontextmanager
async def steady(address: tuple[str, int], path: str, *, rate: float = 200.0) -> AsyncGenerator[Load]:
    """GET a path about `rate` times a second, over a few kept connections, while the context lasts."""
    load = Load()
    stop = asyncio.Event()
    raw = f"GET {path} HTTP/1.1\r\nHost: gw\r\n\r\n".encode()

    async def one_client() -> None:
        while not stop.is_set():
            try:
                async with RawClient(address, within=10.0) as client:
                    while not stop.is_set():
                        began = time.monotonic()
                        await client.send(raw)
                        answer = await client.read_response()
                        load.waits.append(time.monotonic() - began)
                        if answer.status != 200:
                            load.failures.append(f"status {answer.status}")
                        await asyncio.sleep(CLIENTS / rate)
            except (OSError, ResponseCut, WireError) as error:  # a TimeoutError is an OSError
                load.failures.append(repr(error))

    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(one_client())
        try:
            yield load
        finally:
            stop.set()
