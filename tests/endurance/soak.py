"""Mixed traffic for as long as you like: does anything grow?

    python -m tests.endurance.soak --seconds 3600 [--workers 2] [--rate 200] [--out soak.txt] [--busy]

A node with several workers, its backends and its clients run on this machine, at a moderate rate: small
GETs with keys, uploads, bodies of a mebibyte, event streams, WebSockets, clients who leave, slow clients, a
backend whose requests are repeated, rates with callers without number, own answers, the admin pages; and
every minute, but every other second during the warm-up, the settings are reloaded. It samples each process of
the node. It fails, with exit status 1, where after a warm-up (half of the time, half an hour at most) one
of them grows by more than 1 MiB an hour (a Theil-Sen fit of anonymous memory), or has ever more descriptors
or tasks; where the median latency of the last third exceeds 1.5 times that of the first (with `--busy`, for
machines on which others compute, this is only told); where one answer is other than it must be; and where the
log has an error. Of a run that ends less than twenty minutes after its warm-up, memory is only told: its
slope is still that of the warm-up.
"""

import asyncio
import json
import signal
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from coregateway.policy.keys import hash_of, new_key
from coregateway.testing import (
    Exchange,
    Filler,
    RawClient,
    ResponseCut,
    ScriptedBackend,
    WireError,
    events,
    hang,
    refusing,
    render_head,
    respond,
    send,
)
from tests.endurance.soak_samples import (
    HOUR,
    Allowed,
    Held,
    Sample,
    broken,
    errors_told,
    held,
    named,
    trends,
)
from tests.endurance.soak_traffic import EVENTS, LARGE, Traffic
from tests.node.reloadable import Reloadable

EVERY = 60.0
"""Seconds between samples, and between reloads, at most; a short run has twenty of them."""

WARM_UP = 1800.0
"""Seconds of the warm-up, at most; half of the time. So long a heap goes on finding its highest mark: workers
have been seen to take 4 MiB in that time, and half of one in the rest of an hour."""

WARMING = 2.0
"""Seconds between reloads during the warm-up, at most: what they keep is full after two hundred of them."""

FILLED = 4000
"""Callers who come once, for each worker, during a warm-up: none of its tables remembers so many lines."""

SETTLED = 30.0
"""Seconds, at most, until nothing is under way after the last client has ended."""

TASKS = 3
"""By so many a worker at rest may have more in the end."""

TOML = """
plugins = ["tests.endurance.soak_plugin"]
timeouts.read = {read}
tracing.server_timing = {timing}
access_log.sample = 0.1
[retries]
statuses = [503]
budget_minimum = 50
[backends.coredinator]
enabled = false
[backends.coretelemetry]
enabled = false
[auth.consumers.soak]
keys = [{hashes}]
[rates.plenty]
key = "consumer"
rate = "100000/s"
[rates.scarce]
key = "header:X-Caller"
rate = "2/s"
burst = 5
[concurrency.many]
key = "client"
max = 5000
[backends.plain]
prefix = "/plain"
urls = ["{plain}"]
rates = ["plenty"]
concurrency = ["many"]
auth.require = ["keys"]
[backends.rated]
prefix = "/rated"
urls = ["{plain}"]
rates = ["scarce"]
[backends.bodies]
prefix = "/bodies"
urls = ["{bodies}"]
[backends.retried]
prefix = "/retried"
urls = ["{failing}", "{plain}", "{refusing}"]
health = {{ path = "/health", interval = 2.0 }}
[backends.ws]
prefix = "/ws"
urls = ["{ws}"]
{late}[routes.passing{number}]
path = "/late-route/*"
backend = "plain"
"""

LATE = """[backends.late{number}]
prefix = "/late"
urls = ["{plain}"]
openapi.path = ""
"""


@dataclass
class Soak:
    """What came of it."""

    lines: list[str] = field(default_factory=list[str])
    broken: list[str] = field(default_factory=list[str])
    told: list[str] = field(default_factory=list[str])
    samples: list[Sample] = field(default_factory=list[Sample])
    outcomes: Counter[str] = field(default_factory=Counter[str])
    unexpected: Counter[str] = field(default_factory=Counter[str])
    reloads: int = 0

    def say(self, line: str) -> None:
        """Print it now: a run of an hour is looked at meanwhile."""
        self.lines.append(line)
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


async def run(
    seconds: float,
    *,
    workers: int = 2,
    rate: float = 200.0,
    busy: bool = False,
    every: float | None = None,
    allowed: Allowed | None = None,
) -> Soak:
    """See the module. It takes a minute or two longer than `seconds` at most, whatever happens."""
    soak = Soak()
    every = min(EVERY, seconds / 20) if every is None else every
    async with AsyncExitStack() as running, asyncio.timeout(seconds + 3 * SETTLED + 60.0):
        backends = [await running.enter_async_context(each) for each in _backends()]
        plain, bodies, failing = backends
        server = await running.enter_async_context(serve(_echo, "127.0.0.1", 0))
        port = next(iter(server.sockets)).getsockname()[1]
        nobody = running.enter_context(refusing())
        key = new_key()
        warm_up = min(WARM_UP, seconds / 2)
        passing = warm_up / min(every, WARMING) / 2

        def settings(number: int) -> str:
            """Each has other limits, a new key beside the one in use, and a route that comes and goes.

            A backend does so in the first half of the warm-up alone, for that starts another prober.
            """
            return TOML.format(
                read=30.0 + number % 5,
                timing=str(number % 2 > 0).lower(),
                hashes=f'"{hash_of(key)}", "{hash_of(new_key())}"',
                number=number % 7,
                late=LATE.format(number=number % 7, plain=plain.url) if 0 < number < passing else "",
                plain=plain.url,
                bodies=bodies.url,
                failing=failing.url,
                refusing=nobody,
                ws=f"http://127.0.0.1:{port}",
            )

        node = await running.enter_async_context(Reloadable(settings(0), workers=workers))
        traffic = Traffic(node.gateway.address, node.admin, key, rate)
        before = {pid: tasks for pid, (tasks, _) in (await _counts(node, workers)).items()}
        began = time.monotonic()
        going = asyncio.create_task(traffic.run())

        async def reload_again_and_again() -> None:
            for number in count(1):
                warm = time.monotonic() - began > warm_up
                await asyncio.sleep(every if warm else min(every, WARMING))
                await _reload(node, settings(number), soak)

        reloading = asyncio.create_task(reload_again_and_again())
        filling = asyncio.create_task(traffic.fill(int(FILLED * workers * warm_up / WARM_UP), warm_up))
        try:
            while (left := began + seconds - time.monotonic()) > 0.01:
                await asyncio.sleep(min(every, left))
                await _sample(node, traffic, soak, workers, began)
                for backend in backends:
                    backend.forget()
        finally:
            traffic.stop()
            await going
            reloading.cancel()
            await asyncio.wait([reloading, filling])
        await _settle(node, soak, before, workers)
        last = traffic.take()
        soak.outcomes += last.outcomes
        soak.unexpected += last.unexpected
        if said := node.gateway.stderr:
            soak.broken.append(f"stderr: {said[-400:]}")
    _judge(soak, seconds, allowed or Allowed(), busy=busy)
    return soak


def _backends() -> tuple[ScriptedBackend, ScriptedBackend, ScriptedBackend]:
    """A sound one, one for bodies, one that fails each tenth request."""
    bodies = ScriptedBackend(keep=0)
    bodies.on("/large", respond(200, Filler(LARGE)))
    bodies.on("/events", events(*map(str, range(EVENTS)), every=0.05))
    bodies.on("/silent", hang())
    bodies.on("/half", send(render_head(200, [("Content-Length", "100000")])), send(bytes(50_000)), hang())
    asked = 0

    async def sometimes(exchange: Exchange) -> None:
        nonlocal asked
        asked += exchange.request.target != b"/health"
        status = 503 if asked % 10 == 0 and exchange.request.target != b"/health" else 200
        answer = respond(status, b"x" * 100)(exchange)
        if answer is not None:
            await answer

    return ScriptedBackend(respond(200, b"x" * 1000), keep=0), bodies, ScriptedBackend(sometimes, keep=0)


async def _echo(websocket: ServerConnection) -> None:
    with suppress(ConnectionClosed):  # when it is cut
        async for message in websocket:
            await websocket.send(message)


async def _reload(node: Reloadable, toml: str, soak: Soak) -> None:
    try:
        await node.reload(toml)
        soak.reloads += 1
    except (AssertionError, OSError, ResponseCut, WireError) as error:
        soak.unexpected[f"reload: {str(error)[:200]!r}"] += 1


async def _counts(node: Reloadable, workers: int) -> dict[int, tuple[int, int]]:
    """Tasks and allocations of each worker that answers, by its process. The kernel deals connections out at
    random."""
    found: dict[int, tuple[int, int]] = {}
    for _ in range(20 * workers):
        with suppress(OSError, ResponseCut, WireError):
            async with RawClient(node.gateway.address) as client:
                await client.send(b"GET /counts HTTP/1.1\r\nHost: localhost\r\n\r\n")
                told = json.loads((await client.read_response()).body)
            found[told["pid"]] = told["tasks"], told["blocks"]
        if len(found) == workers:
            break
    return found


async def _sample(node: Reloadable, traffic: Traffic, soak: Soak, workers: int, began: float) -> None:
    counts = await _counts(node, workers)
    pids = named(node.gateway.processes())
    all_held = {name: held(pid, *counts.get(pid, ())) for name, pid in pids.items()}
    taken = traffic.take()
    soak.outcomes += taken.outcomes
    soak.unexpected += taken.unexpected
    sample = Sample(
        time.monotonic() - began,
        {name: each for name, each in all_held.items() if each},
        taken.outcomes.total(),
        taken.unexpected.total(),
        taken.p(50),
        taken.p(99),
    )
    soak.samples.append(sample)
    if len(soak.samples) == 1:
        soak.say(
            "of each process: MiB of anonymous, resident, proportional memory; descriptors, tasks, blocks"
        )
        names = "  ".join(f"{name.partition(' (')[0]:>39}" for name in sample.held)
        soak.say(f"{'s':>6} {'asked':>7} {'wrong':>5} {'p50 ms':>7} {'p99 ms':>7}  {names}")
    cells = "  ".join(_cell(each) for each in sample.held.values())
    soak.say(
        f"{sample.time:6.0f} {sample.requests:7d} {sample.unexpected:5d} {sample.p50 * 1000:7.2f} "
        f"{sample.p99 * 1000:7.2f}  {cells}"
    )
    for line in node.gateway.new_log_lines():
        if line["level"] in ("ERROR", "CRITICAL") and line["event"] != "request":
            soak.unexpected[f"log: {line['event']}: {str(line.get('message', ''))[:200]}"] += 1


def _cell(held: Held) -> str:
    tasks = held.tasks if held.tasks >= 0 else "."
    blocks = held.blocks if held.blocks >= 0 else "."
    return f"{held.private:7.2f} {held.rss:7.2f} {held.pss:7.2f} {held.descriptors:3d} {tasks:>3} {blocks:>7}"


async def _settle(node: Reloadable, soak: Soak, before: dict[int, int], workers: int) -> None:
    """Once the clients have ended, nothing may be under way, and tasks be as few as at the start."""
    end = time.monotonic() + SETTLED
    while True:
        left = {
            name: here
            for name, backend in (await node.status())["backends"].items()
            if (here := {key: backend[key] for key in ("in_flight", "queued") if backend[key]})
        }
        after = {pid: tasks for pid, (tasks, _) in (await _counts(node, workers)).items()}
        more = {pid: (before[pid], now) for pid, now in after.items() if now > before.get(pid, now) + TASKS}
        if not left and not more:
            return
        if time.monotonic() > end:
            soak.broken += [f"left under way: {left}"] if left else []
            soak.broken += [f"tasks of workers before and after: {more}"] if more else []
            return
        await asyncio.sleep(0.2)


def _judge(soak: Soak, seconds: float, allowed: Allowed, *, busy: bool) -> None:
    warm = [sample for sample in soak.samples if sample.time >= min(WARM_UP, seconds / 2)]
    wrong, told = broken(warm, allowed, busy=busy)
    soak.broken += wrong
    soak.told += told
    soak.broken += errors_told(soak.unexpected)
    if not soak.reloads:
        soak.broken.append("no reload has succeeded")
    soak.say("")
    for name, trend in trends(warm).items():
        soak.say(
            f"{name}: {trend.private:+.2f} MiB an hour anonymous, {trend.rss:+.2f} resident, "
            f"{trend.pss:+.2f} proportional, {trend.blocks:+.0f} blocks, "
            f"{trend.descriptors:+.1f} descriptors over {(warm[-1].time - warm[0].time) / HOUR:.2f} h"
        )
    soak.say(
        f"{soak.outcomes.total()} exchanges in {seconds:.0f} s, {soak.reloads} reloads, "
        f"{soak.unexpected.total()} unexpected outcomes"
    )
    soak.say(", ".join(f"{what} {number}" for what, number in sorted(soak.outcomes.items())))


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.endurance.soak", description="Does anything grow?")
    parser.add_argument("--seconds", type=float, default=HOUR)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=200.0, help="exchanges a second, of all kinds together")
    parser.add_argument("--out", type=Path, help="a file for the table")
    parser.add_argument("--busy", action="store_true", help="do not judge latency: others compute here")
    options = parser.parse_args()
    soak = asyncio.run(_ended_by_signals(options.seconds, options.workers, options.rate, busy=options.busy))
    for line in (*(f"TOLD: {each}" for each in soak.told), *(f"BROKEN: {each}" for each in soak.broken)):
        soak.say(line)
    soak.say("all promises held" if not soak.broken else f"{len(soak.broken)} promises did not hold")
    if options.out:
        options.out.write_text("\n".join([*soak.lines, ""]), "utf-8")
    return int(bool(soak.broken))


async def _ended_by_signals(seconds: float, workers: int, rate: float, *, busy: bool) -> Soak:
    """As `run`; SIGTERM ends the gateway, too, which is in a session of its own."""
    task = asyncio.ensure_future(run(seconds, workers=workers, rate=rate, busy=busy))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


if __name__ == "__main__":
    sys.exit(main())
