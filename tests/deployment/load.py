"""Clients of a balancer at an even pace, whatever their answers take, and a backend that costs as little."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from coregateway.testing import PATIENCE, WireError
from tests.deployment.balancer import Balancer

MOST = 45
"""Requests under way; fewer than a node's `limits.max_connections`, so that none waits for a connection."""

MADE_UP = 0.05
"""Seconds by which the clients' loop may come late and still offer what was due meanwhile."""

BUSY = 0.25
"""The share of the machine's CPU time that is idle where the machine may be what slows the clients."""

LATE = 0.2
"""Seconds that an answer takes which is late."""

_LENGTH = re.compile(rb"content-length: ([0-9]+)", re.IGNORECASE)


@dataclass
class Clients:
    """What they get that is no 200 is a failure."""

    balancer: Balancer
    rate: float
    """Requests a second of all of them."""
    answered: Counter[str] = field(default_factory=Counter[str])
    """By the version of the node."""
    failures: list[str] = field(default_factory=list[str])
    pace: float = 0.0
    """Requests a second that they have sent while they asked last."""
    was_machine_busy: bool = False
    """Whether the machine had little time left meanwhile, or none for the clients."""

    @asynccontextmanager
    async def asking(self) -> AsyncGenerator[None]:
        """They ask as long as the context lasts, and until they have their last answers."""
        self._sent = self._under_way = 0
        self._lost = 0.0
        async with asyncio.TaskGroup() as group:
            began, before = monotonic(), _idle_and_all()
            pacing = group.create_task(self._offer(group))
            try:
                yield
            finally:
                pacing.cancel()
            self.pace = self._sent / (monotonic() - began)
            idle, everything = (now - then for now, then in zip(_idle_and_all(), before, strict=True))
            self.was_machine_busy = self._lost > 0 or idle < BUSY * everything

    async def some(self, number: int = 100) -> None:
        """Wait for so many further answers."""
        end = self.answered.total() + number
        deadline = monotonic() + PATIENCE
        while self.answered.total() < end and not self.failures:
            assert monotonic() < deadline, "clients get no answers"
            await asyncio.sleep(0.02)

    async def _offer(self, group: asyncio.TaskGroup) -> None:
        """Have requests sent when they are due; what cannot be sent then is left out."""
        due = monotonic()
        count = 0
        while True:
            late = monotonic() - due - MADE_UP
            if late > 0:
                self._lost += late
                due += late
            while due <= monotonic():
                due += 1 / self.rate
                if self._under_way < MOST:
                    count += 1
                    group.create_task(self._ask(_request(count)))
                    self._under_way += 1
            await asyncio.sleep(1 / self.rate)

    async def _ask(self, raw: bytes) -> None:
        self._sent += 1
        try:
            answer = await self.balancer.ask(raw)
        except (OSError, WireError) as error:
            self.failures.append(repr(error))
        else:
            if answer.status == 200:
                self.answered[answer.fields[b"x-corerl-version"].decode()] += 1
            else:
                self.failures.append(f"{answer.status} {answer.body[:200]!r}")
        finally:
            self._under_way -= 1


def _request(count: int) -> bytes:
    """Quick GETs, uploads that no balancer may send twice, and now and then an answer that takes a while."""
    path = "quick" if count % 5 else "slow"
    method, body = ("POST", b"x" * 2000) if count % 2 else ("GET", b"")
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} /to/{path} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n".encode() + body


def _idle_and_all() -> tuple[int, int]:
    """Of all CPUs together since the start of the machine, in ticks (proc_stat(5))."""
    times = [int(each) for each in Path("/proc/stat").read_text().split(maxsplit=9)[1:9]]
    return times[3] + times[4], sum(times)


class Backend(asyncio.Protocol):
    """A connection of the backend; `/slow` is answered late."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        told = _LENGTH.search(head)
        if not end or len(body) < (int(told[1]) if told else 0):
            return
        self._received = b""
        late = LATE if head.split(b" ", 2)[1] == b"/slow" else 0.0
        asyncio.get_running_loop().call_later(late, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@asynccontextmanager
async def serving_backend() -> AsyncGenerator[str]:
    """Its URL."""
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
