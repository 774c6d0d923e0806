"""One of four upstreams suffers each fault in turn, and workers are killed: who notices?

    python -m tests.endurance.chaos [--seconds 60] [--workers 4] [--seed 1]

Mixed load, at half of what was measured to be possible, goes to a backend with four upstreams, each behind a
`FaultProxy`, and to another backend beside it. Every fault lasts for an equal share of the time, each at
another upstream; a worker is killed with SIGKILL every ten seconds. What must hold:

- the other backend loses nothing, and the p99 of its answers stays within 1.5 times that of calm times;
- from 5 s after the beginning of a fault, fewer than one request in a thousand fails;
- there are never more than 1.2 attempts for a request;
- no slot, request or queue place is left over, and no process that lived through it has grown.

The requests that a killed worker had in hand end with it; they are counted apart, and must be few.
"""

import asyncio
import json
import os
import signal
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from os import cpu_count, getloadavg
from pathlib import Path
from random import Random
from time import monotonic

from coregateway.testing import (
    EVERY,
    Fault,
    FaultProxy,
    GatewayProcess,
    RawClient,
    ScriptedBackend,
    delay,
    free_port,
    respond,
)
from tests.endurance.chaos_load import BODY, Load, is_cut_by, mean, outcomes, p99, rate, told

RECOVERY = 5.0
"""Seconds after which a fault must have been dealt with."""

ERRORS = 0.001
"""Of the requests after that, the share that may fail."""

ATTEMPTS = 1.2
"""Attempts for a request, at most, on average over all."""

SLOWER = 1.5
"""By so much the p99 of the other backend may grow."""

KILL_EVERY = 10.0
"""Seconds between two workers' deaths."""

GROWTH = 1.25
"""By so much a process may be larger in the end."""

MIB = 1 << 20

CLIENTS = 8
"""Of the backend that suffers, and half as many of the other one. Each has one request under way."""

TOML = """
[admin]
address = "127.0.0.1:{admin}"
[timeouts]
connect = 1.0
read = 2.0
[breaker]
enabled = true
[backends.suffers]
prefix = "/suffers"
urls = [{urls}]
[backends.suffers.health]
path = "/health"
interval = 1.0
unhealthy_interval = 0.5
timeout = 0.5
fall = 2
[backends.other]
prefix = "/other"
urls = ["{other}"]
[backends.coredinator]
enabled = false
[backends.coretelemetry]
enabled = false
"""


@dataclass
class Chaos:
    """What came of a run."""

    lines: list[str]
    broken: list[str]

    def __str__(self) -> str:
        return "\n".join(self.lines)


async def run(
    seconds: float,
    *,
    workers: int = 4,
    seed: int = 1,
    faults: Sequence[Fault] = EVERY,
    kill_every: float = KILL_EVERY,
    calm: float = 5.0,
    slower: float = SLOWER,
    errors: float = ERRORS,
) -> Chaos:
    """See the module. `calm`: seconds for which the load is watched before. `slower`, `errors`: as the
    constants of these names."""
    draw = Random(seed)
    async with AsyncExitStack() as running:
        upstreams = [await running.enter_async_context(_upstream()) for _ in range(5)]
        proxies = [
            await running.enter_async_context(FaultProxy(each.address, seed=seed + number))
            for number, each in enumerate(upstreams[:4])
        ]
        admin = free_port()
        urls = ", ".join(f'"{proxy.url}"' for proxy in proxies)
        toml = TOML.format(admin=admin, urls=urls, other=upstreams[4].url)
        gateway = await running.enter_async_context(GatewayProcess(toml=toml, workers=workers))
        suffering = Load(gateway.address, "/suffers", CLIENTS, seed)
        other = Load(gateway.address, "/other", CLIENTS // 2, seed)
        await _watch((suffering, other), calm / 2)
        capacity = rate(suffering.requests, calm / 2)
        for load in (suffering, other):
            # A request and its pause take twice the time that the request took alone.
            load.pause = mean(load.requests)
            load.requests.clear()
        await _watch((suffering, other), calm)
        before = {load.prefix: load.requests.copy() for load in (suffering, other)}
        for load in (suffering, other):
            load.requests.clear()
        gateway.new_log_lines()
        sizes = _sizes(gateway)
        phases, kills = await _suffer(gateway, (suffering, other), proxies, seconds, faults, kill_every, draw)
        logged = [line for line in gateway.new_log_lines() if line.get("backend") == "suffers"]
        logged = [line for line in logged if line["event"] == "request"]
        tries = [line["attempts"] for line in logged]
        left = await _left(admin)
        after = _sizes(gateway)
        pairs = {pid: (sizes[pid], after[pid]) for pid in after.keys() & sizes.keys()}
        grown = {pid: pair for pid, pair in pairs.items() if pair[1] > GROWTH * pair[0]}
        stderr = gateway.stderr
    broken: list[str] = []
    load = rate(before["/suffers"], calm)
    lines = [
        f"capacity {capacity:.0f} requests/s, load {load:.0f} requests/s",
        f"the machine: {getloadavg()[0]:.1f} processes compute on {cpu_count()} cores",
    ]
    lost = [each for each in other.requests if each.failed and not is_cut_by(each, kills)]
    lines.append(f"other backend: {told(other.requests)}; calm: {told(before['/other'])}; {len(kills)} kills")
    slowed = p99(other.requests) / max(p99(before["/other"]), 1e-9)
    lines.append(f"its p99 is {slowed:.2f} of that of calm, at most {slower:g} may be")
    if lost:
        broken.append(f"the other backend lost {len(lost)} requests: {outcomes(lost)}")
    if slowed > slower:
        broken.append(
            f"the p99 of the other backend went from {p99(before['/other']) * 1000:.1f} ms "
            f"to {p99(other.requests) * 1000:.1f} ms"
        )
    cut = [each for each in other.requests if each.failed and is_cut_by(each, kills)]
    if len(cut) > other.clients * len(kills):
        broken.append(f"{len(cut)} requests of the other backend ended with {len(kills)} workers")
    for name, start, end in phases:
        # What was under way when the next fault began is told with neither.
        here = [each for each in suffering.requests if start <= each.began and each.ended < end]
        late = [each for each in here if each.began >= start + min(RECOVERY, (end - start) / 2)]
        failed = [each for each in late if each.failed and not is_cut_by(each, kills)]
        ended = [each.began for each in here if each.failed and not is_cut_by(each, kills)]
        last = max(ended, default=start) - start
        lines.append(
            f"{name}: {told(here)}; {len(failed)} of the last {len(late)} failed, "
            f"no request after {last:.1f} s did"
        )
        if failed and len(failed) >= errors * len(late):
            broken.append(f"{name}: {len(failed)} of {len(late)} failed: {outcomes(failed)}")
    ratio = sum(tries) / max(len(tries), 1)
    causes = Counter(line["error"] for line in logged if line["error"])
    lines.append(f"{ratio:.3f} attempts for a request; what the gateway calls errors: {dict(causes)}")
    lines.append(f"left over: {left or 'nothing'}")
    lines.append(_growth(pairs))
    if ratio > ATTEMPTS:
        broken.append(f"{ratio:.3f} attempts for a request")
    if left:
        broken.append(f"left over: {left}")
    if grown:
        broken.append(f"processes have grown: {grown}")
    if stderr:
        broken.append(f"stderr: {stderr[-400:]}")
    return Chaos(lines, broken)


def _upstream() -> ScriptedBackend:
    # Longer than what `Reset` and `CutBody` let pass, so that they spoil every answer.
    backend = ScriptedBackend(respond(200, BODY[:1024]), keep=0)
    backend.on("/large", respond(200, BODY))
    backend.on("/slow", delay(0.02), respond(200, b"slow"))
    return backend


async def _watch(loads: Sequence[Load], seconds: float) -> None:
    for load in loads:
        load.start()
    await asyncio.sleep(seconds)
    for load in loads:
        await load.stop()


type Phase = tuple[str, float, float]
"""A fault by its name, its begin and its end."""


async def _suffer(
    gateway: GatewayProcess,
    loads: Sequence[Load],
    proxies: Sequence[FaultProxy],
    seconds: float,
    faults: Sequence[Fault],
    kill_every: float,
    draw: Random,
) -> tuple[list[Phase], list[float]]:
    """Go through the faults; returns them, and when workers were killed."""
    phases: list[Phase] = []
    kills: list[float] = []

    async def kill() -> None:
        while True:
            await asyncio.sleep(kill_every)
            workers = [pid for pid in gateway.processes() if _is_worker(pid)]
            if workers:
                kills.append(monotonic())
                os.kill(draw.choice(workers), signal.SIGKILL)

    for load in loads:
        load.start()
    killing = asyncio.create_task(kill())
    for number, fault in enumerate(faults):
        proxy = proxies[number % len(proxies)]
        began = monotonic()
        await proxy.suffer(fault)
        await asyncio.sleep(seconds / len(faults))
        phases.append((repr(fault), began, monotonic()))
        await proxy.suffer(None)
    killing.cancel()
    for load in loads:
        await load.stop()
    return phases, kills


def _is_worker(pid: int) -> bool:
    with suppress(OSError):
        return b"SANIC_WORKER_NAME=" in Path(f"/proc/{pid}/environ").read_bytes()
    return False


def _sizes(gateway: GatewayProcess) -> dict[int, int]:
    return gateway.resident_memory()


def _growth(pairs: Mapping[int, tuple[int, int]]) -> str:
    """By how much that has grown which was not killed."""
    if not pairs:
        return "memory: no process has lived through it"
    before, after = max(pairs.values(), key=lambda pair: pair[1] / pair[0])
    return (
        f"memory: of {len(pairs)} processes that lived through it the one that grew most went from "
        f"{before / MIB:.1f} to {after / MIB:.1f} MiB, at most {GROWTH:g} times as much may be"
    )


async def _left(admin: int, *, within: float = 10.0) -> dict[str, object]:
    """What is under way though nobody asks for anything any more; empty when that is nothing."""
    end = monotonic() + within
    while True:
        left: dict[str, object] = {}
        async with RawClient(("127.0.0.1", admin)) as client:
            await client.send(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            status = json.loads((await client.read_response()).body)
        for name, backend in status["backends"].items():
            here = {key: backend[key] for key in ("in_flight", "queued") if backend[key]}
            here |= {
                state: count for state, count in backend["connections"].items() if count and state != "idle"
            }
            if here:
                left[name] = here
        if not left or monotonic() > end:
            return left
        await asyncio.sleep(0.1)


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.endurance.chaos", description="Suffer each fault in turn.")
    parser.add_argument("--seconds", type=float, default=60.0, help="of all faults together")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chaos = asyncio.run(run(options.seconds, workers=options.workers, seed=options.seed))
    lines = [str(chaos), *(f"BROKEN: {promise}" for promise in chaos.broken), ""]
    sys.stdout.write("\n".join(lines))
    return int(bool(chaos.broken))


if __name__ == "__main__":
    sys.exit(main())
