"""What a worker holds: tasks, slots, descriptors, memory."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import orjson

from coregateway.testing import GatewayProcess, RawClient


class Counts(NamedTuple):
    """Of one worker. `slots` are connections to backends that are in use or opening; `resident` is in bytes.

    `blocks` are Python's allocations, which are exact where resident memory is what a heap happens to keep.
    """

    tasks: int
    clients: int
    requests: int
    queued: int
    slots: int
    descriptors: int
    blocks: int
    resident: int

    def __str__(self) -> str:
        return (
            f"{self.tasks} tasks, {self.clients} clients, {self.slots} slots, {self.queued} queued, "
            f"{self.descriptors} descriptors, {self.blocks} blocks, {self.resident / 2**20:.1f} MiB resident"
        )

    def beyond(self, before: "Counts") -> list[str]:
        """What there is more of than before, but for memory."""
        pairs = zip(self._fields[:-2], self, before, strict=False)
        return [f"{name}: {now}, and {then} before" for name, now, then in pairs if now > then]


class CountedGateway(GatewayProcess):
    """A gateway of one worker with the route of `counted_app`, started by Sanic's own command."""

    def __init__(self, backends: Mapping[str, str], toml: str) -> None:
        super().__init__(toml=toml + "".join(_row(name, url) for name, url in backends.items()))
        self._command = [sys.executable, "-m", "sanic", "tests.endurance.counted_app:app"]
        self._command += ["--host", "127.0.0.1", "--port", str(self.port)]

    async def counts(self, *, collect: bool = True) -> Counts:
        """What its worker holds now. `collect`: without what is garbage already."""
        worker = self._worker()
        query = b"?collect" if collect else b""
        async with RawClient(self.address) as client:
            await client.send(b"GET /counts%b HTTP/1.1\r\nHost: gw\r\n\r\n" % query)
            found: dict[str, int] = orjson.loads((await client.read_response()).body)
            descriptors = len(os.listdir(f"/proc/{worker}/fd")) - 1  # without this connection's
        return Counts(
            tasks=found["tasks"],
            clients=found["clients"],
            requests=found["requests"],
            queued=found["queued"],
            slots=found["slots"],
            descriptors=descriptors,
            blocks=found["blocks"],
            resident=self.resident_memory()[worker],
        )

    async def settled(self, calm: Callable[[Counts], bool], *, within: float = 5.0) -> Counts:
        """What its worker holds when that is as it should be; or after so many seconds, as it is."""
        end = time.monotonic() + within
        while True:
            counts = await self.counts()
            if calm(counts) or time.monotonic() > end:
                return counts
            await asyncio.sleep(0.05)

    def _worker(self) -> int:
        for pid in self.processes():
            if b"SANIC_WORKER_NAME=" in Path(f"/proc/{pid}/environ").read_bytes():
                return pid
        raise AssertionError("the gateway has no worker")


def _row(name: str, url: str) -> str:
    return f'\n[backends.{name}]\nprefix = "/{name}"\nurls = ["{url}"]\n'
