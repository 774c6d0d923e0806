"""A load balancer as small as can be: it asks nodes for `/readyz`, and sends requests to the ready ones.

It keeps connections, as balancers do, obeys `Connection: close`, and sends nothing twice: what fails at a
node fails for the client.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle

from coregateway.testing import RawClient, ResponseCut
from tests.deployment.kept_connection import Address, Answer, KeptConnection

LOOKS = 0.1
"""Seconds between two looks at a node; well below the nodes' `shutdown.delay`."""

_READY = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


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

    async def ask(self, raw: bytes) -> Answer:
        """Send a request to the next node that is ready; its answer, whole.

        Raises:
            OSError, WireError: what came of it, for the client to see.
        """
        name = self._pick()
        self.asked[name] += 1
        connection = await self._connection(name)
        try:
            answer = await connection.ask(raw)
        except BaseException:
            connection.close()
            raise
        if answer.fields.get(b"connection") == b"close":
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
            if not kept.has_ended:
                return kept
            kept.close()
        return await KeptConnection.to(self.nodes[name])

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
