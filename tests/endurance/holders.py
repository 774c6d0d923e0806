"""Clients who hold their connections, and how long others wait meanwhile: no longer than before."""

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Literal

import orjson

from coregateway.testing import ScriptedBackend
from tests.endurance import large
from tests.endurance.counting import CountedGateway, Counts
from tests.endurance.holding import RAMP, Held
from tests.endurance.large import NICENESS
from tests.endurance.load import Load, steady

type Kind = Literal["heads", "readers"]

EARLY = 0.25
"""Seconds by which a client may think that it held its connection for less: it begins to count when it sees
that the gateway does."""

LATE = 1.0
"""Seconds that a client may hold its connection beyond the limit: on a busy machine all are late."""

PERIODS = {"heads": 1, "readers": 2}
"""How often the limit may pass: it begins anew once for a reader for whom the kernel took bytes meanwhile."""


@dataclass
class Holders:
    """What came of a run. `during` is what good clients have seen while the connections were held."""

    kind: Kind
    number: int
    limit: float
    held: Held
    before: Load
    during: Load
    at_rest: Counts
    most: Counts
    broken: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        return (
            f"{self.number} slow {self.kind}, limit {self.limit} s: {self.held}\n"
            f"  before: {self.before}\n  during: {self.during}\n"
            f"  at rest: {self.at_rest}\n  at most: {self.most}"
        )


async def run(
    kind: Kind,
    number: int,
    *,
    limit: float,
    calm: float,
    disturbance: float,
    early: float = EARLY,
    late: float = LATE,
    niceness: int = NICENESS,
    percent: float = 99,
) -> Holders:
    """Hold so many connections beside a steady load.

    `limit`: seconds of `timeouts.client`. `calm`: seconds for which the load is watched alone. `disturbance`:
    seconds by which a percentile of its answers may rise; `percent`: which one. `early`, `late`: seconds by
    which a client may be held for less, and for more. `niceness`: of the clients' process.
    """
    toml = f"[timeouts]\nclient = {limit}\n[limits]\nmax_connections = {number + 10}\n"
    async with AsyncExitStack() as running:
        good = await running.enter_async_context(ScriptedBackend())
        large_url = f"http://127.0.0.1:{await running.enter_async_context(large.serving())}"
        gateway = await running.enter_async_context(
            CountedGateway({"good": good.url, "large": large_url}, toml)
        )
        async with steady(gateway.address, "/good/ok"):
            await asyncio.sleep(0.5)
        async with steady(gateway.address, "/good/ok") as before:
            await asyncio.sleep(calm)
        at_rest = most = await gateway.counts()
        async with steady(gateway.address, "/good/ok") as during:
            holding = asyncio.create_task(_hold(kind, gateway, number, 2 * limit + 5 * late, niceness))
            while not holding.done():
                await asyncio.wait([holding], timeout=0.5)
                counts = await gateway.counts(collect=False)
                most = Counts(*map(max, most, counts))
        run = Holders(kind, number, limit, await holding, before, during, at_rest, most)
        run.broken += _broken(run, disturbance, percent, early, late)
        run.broken += [f"on stderr: {gateway.stderr}"] if gateway.stderr else []
        return run


async def _hold(kind: Kind, gateway: CountedGateway, number: int, seconds: float, niceness: int) -> Held:
    host, port = gateway.address
    arguments = [kind, f"{host}:{port}", str(number), str(seconds), str(niceness)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.endurance.holding", *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        told, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    return Held(**orjson.loads(told))


def _broken(run: Holders, disturbance: float, percent: float, early: float, late: float) -> list[str]:
    """The promises that did not hold."""
    broken: list[str] = []
    latest = PERIODS[run.kind] * run.limit + late
    if run.held.kept or len(run.held.seconds) < run.number:
        broken.append(f"{run.held.kept} of {run.number} were let hold on beyond their limit")
    if hasty := [seconds for seconds in run.held.seconds if seconds < run.limit - early]:
        broken.append(f"{len(hasty)} were ended before their limit, after {min(hasty):.2f} s")
    if overdue := [seconds for seconds in run.held.seconds if seconds > latest]:
        broken.append(f"{len(overdue)} were ended late, after up to {max(overdue):.2f} s")
    if run.most.clients < run.number * min(1.0, 0.8 * run.limit * RAMP / run.number):
        broken.append(f"only {run.most.clients} connections were there at a time")
    if run.during.failures:
        broken.append(f"{len(run.during.failures)} good requests failed: {run.during.failures[0]}")
    if (rise := run.during.p(percent) - run.before.p(percent)) > disturbance:
        broken.append(f"p{percent:g} of good requests has risen by {rise * 1000:.0f} ms")
    return broken
