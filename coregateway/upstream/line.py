"""The line of those who wait for a connection of one pool: first come, first served, and nobody for ever.

In it stand futures of tasks, and requests that no task waits for. Who waits no more stays in it until its
turn comes, and is passed over then; it counts until it leaves.
"""

from asyncio import AbstractEventLoop
from collections import deque
from math import inf
from typing import Protocol as Interface

from coregateway.deadline import RESOLUTION, Deadline
from coregateway.errors import Draining, GatewayError, PoolTimeout
from coregateway.upstream.connection import UpstreamConnection


class Waiter(Interface):
    """Who waits in line: the future of a task, or a request that no task waits for."""

    def done(self) -> bool:
        """Whether it waits no more."""
        ...

    def set_result(self, result: UpstreamConnection | None, /) -> None:
        """It is its turn: a connection, or the right to open one (None)."""
        ...

    def set_exception(self, exception: GatewayError, /) -> None:
        """It waits in vain."""
        ...


class Line:
    """See the module. `longest`: how many may stand in it, per worker and backend."""

    __slots__ = ("_first_end", "_longest", "_loop", "_patience", "_waiters", "length")

    def __init__(self, loop: AbstractEventLoop, longest: int) -> None:
        self._loop = loop
        self._longest = longest
        self._waiters: deque[tuple[Waiter, float]] = deque()
        self._patience = Deadline(loop, self._refuse_late)
        self._first_end = inf
        """When the first patience ends, of whoever it is."""
        self.length = 0
        """How many have joined and not left."""

    @property
    def is_full(self) -> bool:
        """Whether nobody else may join."""
        return self.length >= self._longest

    @property
    def has_waiters(self) -> bool:
        """Whether anybody in it still waits; the first to be served is one who does then."""
        while self._waiters:
            waiter, _ = self._waiters[0]
            if not waiter.done():
                return True
            self._waiters.popleft()
        return False

    def join(self, waiter: Waiter, patience: float) -> None:
        """Wait for so many seconds at most; `leave` must follow, whatever comes of it."""
        when = self._loop.time() + patience
        if when < self._first_end:
            self._first_end = when
            self._patience.within(patience)
        self._waiters.append((waiter, when))
        self.length += 1

    def leave(self) -> None:
        """A waiter waits no more."""
        self.length -= 1

    def serve(self, result: UpstreamConnection | None) -> bool:
        """Give the first who still waits a connection, or the right to open one; False if nobody does."""
        if not self.has_waiters:
            return False
        waiter, _ = self._waiters.popleft()
        waiter.set_result(result)
        return True

    def close(self) -> None:
        """The gateway is shutting down: refuse all."""
        self._patience.close()
        for waiter, _ in self._waiters:
            if not waiter.done():
                waiter.set_exception(Draining())
        self._waiters.clear()

    def _refuse_late(self) -> None:
        """Refuse whose patience has ended; it need not be the first in line, for patience may differ."""
        now = self._loop.time()
        waiting: deque[tuple[Waiter, float]] = deque()
        for waiter, when in self._waiters:
            if waiter.done():
                continue
            if when <= now + RESOLUTION:
                waiter.set_exception(PoolTimeout())
            else:
                waiting.append((waiter, when))
        self._waiters = waiting
        self._first_end = min((when for _, when in waiting), default=inf)
        if waiting:
            self._patience.within(self._first_end - now)
