"""Clients that leave at random moments of their exchanges, and what they leave behind: nothing."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from coregateway.testing import (
    RawClient,
    ScriptedBackend,
    chunk,
    hang,
    read_body,
    render_head,
    send,
)
from coregateway.testing.gateway import LogLine
from tests.endurance.counting import CountedGateway, Counts

SLOTS = 16
"""Connections of the worker to each backend."""

AT_ONCE = 12
"""Clients at each point at the same time. Each point has a backend of its own with more slots than that, so
that none queues but who is to."""

UPLOAD = 60_000
"""Bytes of a body of which half is sent. It finds room in the kernel even where it is not read: the end of a
client comes behind what it has sent, and of more nobody could see it before a limit of time has passed."""

LONGEST = 0.03
"""Seconds within which a client leaves."""

EARLIER = 1000
"""Clients who leave before anything is counted, at least."""

GOOD = 100
SETTLED = 1.0
"""Seconds after the last one has left within which everything is as it was."""

MEMORY = 24 << 20
"""Bytes by which the worker may have grown: a heap keeps what its busiest moment took."""

BLOCKS = 2000
"""Python's allocations that may have been added, whatever the number of clients."""

TOML = f"""
[timeouts]
pool = 20.0
connect = 20.0
[limits]
max_connections = {SLOTS}
max_keepalive_connections = {SLOTS}
request.gather = 1
"""

POINTS: Mapping[str, tuple[str, int]] = {
    "queued": ("/full", 0),
    "connecting": ("/deaf", 0),
    "waiting for the head": ("/silent/", 0),
    "within the body": ("/half/", 0),
    "in an idle stream": ("/stream/", 0),
    "within an upload that is read": ("/eager/", UPLOAD),
    "within an upload that is not": ("/small/hang", UPLOAD),
}
"""Where clients leave: the path of each, and bytes of the body of which they send half."""

_HALF = [send(render_head(200, [("Content-Length", "100000")])), send(b"x" * 50_000)]
_EVENT = render_head(200, [("Transfer-Encoding", "chunked")]) + chunk(b"data: 1\n\n")


@dataclass
class Aborts:
    """What came of a run. `lines` counts, by point and outcome, the log lines of those who left."""

    asked: int
    before: Counts
    after: Counts
    lines: Counter[tuple[str, str]]
    unheard: int
    good: int
    broken: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        outcomes = sorted(self.lines.items())
        told = "".join(f"\n  {times:6d}  {point}: {how}" for (point, how), times in outcomes)
        return (
            f"{self.asked} clients have left{told}\n"
            f"  {self.unheard:6d}  before their request was read (resets)\n"
            f"  before: {self.before}\n  after:  {self.after}\n"
            f"  {self.good} of {GOOD} good requests succeed"
        )


async def run(number: int) -> Aborts:
    """Let so many clients leave; others leave before, so that what is allocated once is there."""
    async with AsyncExitStack() as running:
        backends = {
            "good": ScriptedBackend(),
            "full": ScriptedBackend(hang()),
            "deaf": ScriptedBackend(accepting=False),
            "silent": ScriptedBackend(hang()),
            "half": ScriptedBackend(*_HALF, hang()),
            "stream": ScriptedBackend(send(_EVENT), hang()),
            "eager": ScriptedBackend(read_body(), hang(), early=True),
            "small": ScriptedBackend(hang(), early=True, receive_buffer=4096),
        }
        for backend in backends.values():
            await running.enter_async_context(backend)
        good = backends["good"]
        rows = {name: backend.url for name, backend in backends.items()}
        gateway = await running.enter_async_context(CountedGateway(rows, TOML))
        async with RawClient(gateway.address) as client:
            assert await _succeeds(client)
        await storm(gateway, max(number // 10, EARLIER), "early")
        before = await rested(gateway, good)
        gateway.new_log_lines()
        sent = await storm(gateway, number, "late")
        after = await rested(gateway, good, before)
        return await judged(gateway, sent, before, after)


async def judged(
    gateway: CountedGateway, sent: dict[str, tuple[str, bool]], before: Counts, after: Counts
) -> Aborts:
    """What the worker, and its log, look like after a storm in which this was `sent`."""
    lines: Counter[tuple[str, str]] = Counter()
    logged: Counter[str] = Counter()
    for line in await lines_so_far(gateway):
        if line["event"] == "request" and line["request_id"] in sent:
            logged[line["request_id"]] += 1
            lines[sent[line["request_id"]][0], f"{line['status']} {line['error']}"] += 1
    unheard = [name for name in sent if not logged[name]]
    async with RawClient(gateway.address) as client:
        succeeded = sum([await _succeeds(client) for _ in range(GOOD)])
    run = Aborts(len(sent), before, after, lines, len(unheard), succeeded)
    run.broken += after.beyond(before)
    if after.resident - before.resident > MEMORY:
        run.broken.append(f"the worker has grown by {(after.resident - before.resident) / 2**20:.1f} MiB")
    if after.blocks - before.blocks > BLOCKS:
        run.broken.append(f"{after.blocks - before.blocks} allocations are left over")
    if succeeded < GOOD:
        run.broken.append(f"only {succeeded} of {GOOD} good requests succeed")
    if twice := [name for name, times in logged.items() if times > 1]:
        run.broken.append(f"more than one line of {len(twice)} requests: {twice[:5]}")
    if lost := [name for name in unheard if not sent[name][1]]:
        run.broken.append(f"no line of {len(lost)} requests: {[sent[name] for name in lost[:5]]}")
    if others := {outcome for _, outcome in lines} - {"499 client_closed"}:
        run.broken.append(f"logged other than as left by the client: {others}")
    run.broken += [f"on stderr: {gateway.stderr}"] if gateway.stderr else []
    return run


async def lines_so_far(gateway: CountedGateway) -> list[LogLine]:
    """The new lines of the log up to that of a request which is sent now: lines wait some milliseconds."""
    async with RawClient(gateway.address) as client:
        await client.send(b"GET /livez HTTP/1.1\r\nHost: gw\r\nX-Request-ID: the-last\r\n\r\n")
        await client.read_response()
    lines: list[LogLine] = []
    while not any(line.get("request_id") == "the-last" for line in lines):
        await asyncio.sleep(0.01)
        lines += gateway.new_log_lines()
    return lines


async def storm(gateway: CountedGateway, number: int, name: str) -> dict[str, tuple[str, bool]]:
    """Let clients leave at every point; the slots for which some queue are held by others, who leave last.

    What was sent: of each request by its id, where its client left, and whether by a reset.
    """
    sent: dict[str, tuple[str, bool]] = {}
    numbers = iter(range(number))

    async def leave_again_and_again(point: str) -> None:
        for at in numbers:
            request_id = f"{name}-{at}"
            leave = random.choice((RawClient.close, RawClient.half_close, RawClient.reset))
            sent[request_id] = point, leave is RawClient.reset
            await one_leaves(gateway.address, point, request_id, leave)

    async with AsyncExitStack() as holding:
        for _ in range(SLOTS):
            holder = await holding.enter_async_context(RawClient(gateway.address))
            await holder.send(b"GET /full/held HTTP/1.1\r\nHost: gw\r\n\r\n")
        await gateway.settled(lambda counts: counts.slots >= SLOTS)
        await asyncio.gather(*(leave_again_and_again(point) for point in POINTS for _ in range(AT_ONCE)))
    return sent


async def one_leaves(
    address: tuple[str, int], point: str, request_id: str, leave: Callable[[RawClient], None]
) -> None:
    path, size = POINTS[point]
    head = f"{'POST' if size else 'GET'} {path} HTTP/1.1\r\nHost: gw\r\nX-Request-ID: {request_id}\r\n"
    head += f"Content-Length: {size}\r\n\r\n" if size else "\r\n"
    async with RawClient(address) as client:
        await client.send(head.encode())
        sending = asyncio.create_task(client.send(b"x" * (size // 2))) if size else None
        await asyncio.sleep(random.random() * LONGEST)
        if sending is not None:
            sending.cancel()
            await asyncio.wait([sending])
        leave(client)


async def rested(gateway: CountedGateway, good: ScriptedBackend, before: Counts | None = None) -> Counts:
    """What the worker holds when all is over; connections that rest in the pool are not counted."""
    await gateway.settled(lambda counts: not (counts.requests or counts.queued), within=SETTLED)
    await good.close_idle()

    def calm(counts: Counts) -> bool:
        return not counts.slots and (before is None or not counts.beyond(before))

    return await gateway.settled(calm, within=SETTLED)


async def _succeeds(client: RawClient) -> bool:
    await client.send(b"GET /good/ok HTTP/1.1\r\nHost: gw\r\n\r\n")
    return (await client.read_response()).body == b"ok"
