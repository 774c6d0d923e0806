"""A load balancer as small as can be: it asks nodes for `/readyz`, and sends requests to the ready ones.

It keeps connections, as balancers do, obeys `Connection: close`, and sends nothing twice: what fails at a
node fails for the client.
"""

import asyncio
import select
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle

from coregateway.testing import RawClient, Response, ResponseCut, WireError

LOOKS = 0.1
"""Seconds between two looks at a node; well below the nodes' `shutdown.delay`."""

WITHIN = 20.0

_READY = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

type Address = tuple[str, int]


class KeptConnection(RawClient):
    """To a node."""

    @property
    def ended(self) -> bool:
        """Whether there is something to read while nothing was asked for: its end."""
        return bool(select.select([self._sock], [], [], 0)[0])


@dataclass
class Balancer:
    """Between nodes by their names; the addresses may change."""

    nodes: Mapping[str, Address]
    ready: set[str] = field(default_factory=set[str])
    asked: Counter[str] = field(default_factory=Counter[str])
    """Requests that each node was sent."""

    def __post_init__(self) -> None:
        self._idle: dict[str, deque[KeptConnection]] = {name: deque() for name in self.nodes}
        self._turns = cycle(self.nodes)

    @asynccontextmanager
    async def looking(self) -> AsyncGenerator[None]:
        """It looks at the nodes as long as the context lasts."""
        async with asyncio.TaskGroup() as group:
            lookers = [group.create_task(self._look(name)) for name in self.nodes]
            try:
                yield
            finally:
                for each in lookers:
                    each.cancel()
                for name in self.nodes:
                    self._drop(name)

    async def ask(self, raw: bytes) -> Response:
        """Send a request to the next node that is ready; its answer, whole.

        Raises:
            OSError, ResponseCut, WireError: what came of it, for the client to see.
        """
        name = self._pick()
        self.asked[name] += 1
        connection = await self._connection(name)
        try:
            await connection.send(raw)
            answer = await connection.read_response()
        except BaseException:
            connection.close()
            raise
        if answer.header("connection") == b"close":
            connection.close()
        else:
            self._idle[name].append(connection)
        return answer

    def _pick(self) -> str:
        for name in self._turns:
            if name in self.ready:
                return name
            if not self.ready:
                break
        raise ConnectionError("no node is ready")

    async def _connection(self, name: str) -> KeptConnection:
        while self._idle[name]:
            kept = self._idle[name].pop()
            if not kept.ended:
                return kept
            kept.close()
        return await KeptConnection(self.nodes[name], within=WITHIN).__aenter__()

    async def _look(self, name: str) -> None:
        while True:
            if await is_ready(self.nodes[name]):
                self.ready.add(name)
            else:
                self.ready.discard(name)
            await asyncio.sleep(LOOKS)

    def _drop(self, name: str) -> None:
        while self._idle[name]:
            self._idle[name].pop().close()


async def is_ready(address: Address) -> bool:
    try:
        async with RawClient(address, within=2.0) as client:
            await client.send(_READY)
            return (await client.read_response()).status == 200
    except (OSError, ResponseCut):
        return False


@dataclass
class Clients:
    """Of a balancer; what they see that is no 200 is a failure."""

    balancer: Balancer
    rate: float
    """Requests a second of all of them."""
    number: int = 8
    answered: Counter[str] = field(default_factory=Counter[str])
    """By the version of the node."""
    failures: list[str] = field(default_factory=list[str])

    @asynccontextmanager
    async def asking(self) -> AsyncGenerator[None]:
        """They ask as long as the context lasts, and until they have their last answers."""
        self._stopping = False
        async with asyncio.TaskGroup() as group:
            for number in range(self.number):
                group.create_task(self._client(number))
            try:
                yield
            finally:
                self._stopping = True

    async def some(self, number: int = 20) -> None:
        """Wait for so many further answers."""
        end = self.answered.total() + number
        deadline = time.monotonic() + WITHIN
        while self.answered.total() < end and not self.failures:
            assert time.monotonic() < deadline, "clients get no answers"
            await asyncio.sleep(0.02)

    async def _client(self, number: int) -> None:
        count = 0
        while not self._stopping:
            count += 1
            try:
                answer = await self.balancer.ask(_request(number, count))
            except (OSError, ResponseCut, WireError) as error:
                self.failures.append(repr(error))
                with suppress(TimeoutError):
                    await asyncio.sleep(0.1)
                continue
            if answer.status == 200:
                self.answered[(answer.header("x-corerl-version") or b"").decode()] += 1
            else:
                self.failures.append(f"{answer.status} {answer.body[:200]!r}")
            await asyncio.sleep(self.number / self.rate)


def _request(client: int, count: int) -> bytes:
    """Quick GETs, uploads that no balancer may send twice, and now and then an answer that takes a while."""
    path = "slow" if count % 5 == client % 5 else "quick"
    method, body = ("POST", b"x" * 2000) if count % 2 else ("GET", b"")
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} /to/{path} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n".encode() + body
