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
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from random import Random
from time import monotonic

from coregateway.testing import (
    EVERY,
    Fault,
    FaultProxy,
    GatewayProcess,
    RawClient,
    ResponseCut,
    ScriptedBackend,
    WireError,
    delay,
    free_port,
    respond,
)

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

DIES = 1.0
"""Seconds after a worker was killed in which its clients may notice."""

CLIENTS = 8
"""Of the backend that suffers, and half as many of the other one. Each has one request under way."""

BODY = bytes(range(256)) * 128

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


@dataclass(slots=True)
class Request:
    """One request as its client saw it. `outcome`: a status, or why there is none."""

    began: float
    took: float
    outcome: int | str

    @property
    def ended(self) -> float:
        return self.began + self.took

    @property
    def failed(self) -> bool:
        return self.outcome != 200


@dataclass
class Load:
    """The clients of one backend, from `start` to `stop`."""

    address: tuple[str, int]
    prefix: str
    clients: int
    seed: int
    pause: float = 0.0
    """Seconds between two requests of a client."""
    requests: list[Request] = field(default_factory=list[Request])
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    _ending: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self) -> None:
        self._ending.clear()
        self._tasks = [
            asyncio.create_task(self._client(Random(f"{self.seed}:{number}")))
            for number in range(self.clients)
        ]

    async def stop(self) -> None:
        self._ending.set()
        await asyncio.gather(*self._tasks)

    async def _client(self, draw: Random) -> None:
        while not self._ending.is_set():
            began = monotonic()
            try:
                async with RawClient(self.address, within=10.0) as client:
                    while not self._ending.is_set():
                        began = monotonic()
                        await client.send(self._drawn(draw))
                        status = (await client.read_response()).status
                        self.requests.append(Request(began, monotonic() - began, status))
                        await asyncio.sleep(self.pause * draw.uniform(0.5, 1.5))
            except (OSError, ResponseCut, WireError) as error:  # a TimeoutError is an OSError
                self.requests.append(Request(began, monotonic() - began, type(error).__name__))

    def _drawn(self, draw: Random) -> bytes:
        """A request: mostly a small one, some with a body, some for a large or a slow answer."""
        kind = draw.choices(("small", "post", "large", "slow"), (70, 15, 10, 5))[0]
        method, body = ("POST", BODY[:2048]) if kind == "post" else ("GET", b"")
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        return f"{method} {self.prefix}/{kind} HTTP/1.1\r\nHost: gw\r\n{length}\r\n".encode() + body


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
        rate = len(suffering.requests) / (calm / 2)
        for load in (suffering, other):
            # A request and its pause take twice the time that the request took alone.
            load.pause = _mean(load.requests)
            load.requests.clear()
        await _watch((suffering, other), calm)
        before = {load.prefix: load.requests.copy() for load in (suffering, other)}
        for load in (suffering, other):
            load.requests.clear()
        gateway.new_log_lines()
        sizes = _sizes(gateway)
        phases, kills = await _suffer(gateway, (suffering, other), proxies, seconds, faults, kill_every, draw)
        told = [line for line in gateway.new_log_lines() if line.get("backend") == "suffers"]
        told = [line for line in told if line["event"] == "request"]
        tries = [line["attempts"] for line in told]
        left = await _left(admin)
        after = _sizes(gateway)
        pairs = {pid: (sizes[pid], after[pid]) for pid in after.keys() & sizes.keys()}
        grown = {pid: pair for pid, pair in pairs.items() if pair[1] > GROWTH * pair[0]}
        stderr = gateway.stderr
    broken: list[str] = []
    lines = [f"capacity {rate:.0f} requests/s, load {_rate(before['/suffers'], calm):.0f} requests/s"]
    lost = [each for each in other.requests if each.failed and not _is_cut_by(each, kills)]
    lines.append(
        f"other backend: {_told(other.requests)}; calm: {_told(before['/other'])}; {len(kills)} kills"
    )
    if lost:
        broken.append(f"the other backend lost {len(lost)} requests: {_outcomes(lost)}")
    if _p99(other.requests) > slower * _p99(before["/other"]):
        broken.append(
            f"the p99 of the other backend went from {_p99(before['/other']) * 1000:.1f} ms "
            f"to {_p99(other.requests) * 1000:.1f} ms"
        )
    cut = [each for each in other.requests if each.failed and _is_cut_by(each, kills)]
    if len(cut) > other.clients * len(kills):
        broken.append(f"{len(cut)} requests of the other backend ended with {len(kills)} workers")
    for name, start, end in phases:
        # What was under way when the next fault began is told with neither.
        here = [each for each in suffering.requests if start <= each.began and each.ended < end]
        late = [each for each in here if each.began >= start + min(RECOVERY, (end - start) / 2)]
        failed = [each for each in late if each.failed and not _is_cut_by(each, kills)]
        lines.append(f"{name}: {_told(here)}; {len(failed)} of the last {len(late)} failed")
        if failed and len(failed) >= errors * len(late):
            broken.append(f"{name}: {len(failed)} of {len(late)} failed: {_outcomes(failed)}")
    ratio = sum(tries) / max(len(tries), 1)
    causes = Counter(line["error"] for line in told if line["error"])
    lines.append(f"{ratio:.3f} attempts for a request; what the gateway calls errors: {dict(causes)}")
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


def _is_cut_by(request: Request, kills: Sequence[float]) -> bool:
    """Whether it had no answer, and a worker was killed in that time."""
    return isinstance(request.outcome, str) and any(
        request.began - DIES <= kill <= request.ended for kill in kills
    )


def _told(requests: Sequence[Request]) -> str:
    failed = [each for each in requests if each.failed]
    words = f"{len(requests)} requests, p99 {_p99(requests) * 1000:.1f} ms, {len(failed)} failed"
    return f"{words} ({_outcomes(failed)})" if failed else words


def _outcomes(requests: Sequence[Request]) -> str:
    counts = Counter(str(each.outcome) for each in requests)
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())


def _p99(requests: Sequence[Request]) -> float:
    took = sorted(each.took for each in requests)
    return took[ceil(len(took) * 0.99) - 1] if took else 0.0


def _mean(requests: Sequence[Request]) -> float:
    return sum(each.took for each in requests) / max(len(requests), 1)


def _rate(requests: Sequence[Request], seconds: float) -> float:
    return len(requests) / seconds


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
