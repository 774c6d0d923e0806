"""A small part of what `python -m tests.endurance` does: whatever clients do, a worker is as it was."""

import asyncio
from math import inf
from typing import TypedDict

from coregateway.testing import BlackHole, RawClient, Refused, ScriptedBackend
from tests.endurance import aborts, holders, reloads
from tests.endurance.chaos import run as run_chaos
from tests.endurance.counting import CountedGateway


class Busy(TypedDict):
    calm: float
    disturbance: float
    early: float
    late: float
    niceness: int
    percent: float


LIMIT = 1.5
BUSY = Busy(calm=0.5, disturbance=1.0, early=1.0, late=8.0, niceness=0, percent=50)
"""Other tests compute at the same time: a process of lower priority hardly runs beside them. A pause of the
machine raises the p99 of so short a run, not its median."""


async def test_clients_who_leave_at_random_moments_leave_nothing_behind() -> None:
    run = await aborts.run(500)
    assert run.broken == [], f"{run.broken}\n{run}"
    assert {point for point, _ in run.lines} == set(aborts.POINTS)


async def test_slow_heads_end_at_the_limit_and_disturb_nobody() -> None:
    run = await holders.run("heads", 200, limit=LIMIT, **BUSY)
    assert run.broken == [], f"{run.broken}\n{run}"
    assert run.held.statuses == {"408": 200}


async def test_slow_readers_end_at_the_limit_and_disturb_nobody() -> None:
    run = await holders.run("readers", 20, limit=LIMIT, **BUSY)
    assert run.broken == [], f"{run.broken}\n{run}"


async def test_reloads_under_load_lose_no_websocket_and_no_request() -> None:
    done = await reloads.run(20, 50, rate=50.0, slowest=30.0)
    assert done.broken == [], f"{done.broken}\n{done}"
    assert len(done.load.waits) > 0


async def test_a_limit_that_passes_while_the_worker_is_busy_holds_though_bytes_came_at_the_same_time(
    backend: ScriptedBackend,
) -> None:
    busy = 0.6
    toml = f"[timeouts]\nclient = {busy}\n"
    async with (
        CountedGateway({"good": backend.url}, toml) as gateway,
        RawClient(gateway.address) as slow,
        RawClient(gateway.address) as other,
    ):
        await slow.send(b"GET / HT")
        await asyncio.sleep(busy / 2)
        await other.send(f"GET /busy?seconds={busy} HTTP/1.1\r\nHost: gw\r\n\r\n".encode())
        await asyncio.sleep(busy / 4)
        await slow.send(b"TP")
        assert (await slow.read_response()).status == 408


async def test_faults_of_one_upstream_in_turn_cost_the_other_backend_nothing() -> None:
    """What `python -m tests.endurance.chaos` does, for seconds and without a judgement of times."""
    faults = (Refused(), BlackHole())
    chaos = await run_chaos(2.0, workers=2, faults=faults, kill_every=60.0, calm=0.4, slower=inf, errors=inf)
    assert chaos.broken == [], str(chaos)
