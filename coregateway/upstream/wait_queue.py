"""The line of those who wait for a connection of one pool: first come, first served, and nobody for ever.

In it stand tasks, and requests that no task waits for. Who waits no more stays in it until its turn comes,
and is passed over then; it counts until it leaves.
"""

from asyncio import AbstractEventLoop, Future
from collections import deque
from math import inf
from time import monotonic

from mypy_extensions import mypyc_attr

from coregateway.model.errors import Draining, GatewayError, PoolTimeout
from coregateway.net.deadline import RESOLUTION, Deadline
from coregateway.upstream.connection import UpstreamConnection


@mypyc_attr(acyclic=True, allow_interpreted_subclasses=True)
class Waiter:
    """Who waits in line."""

    __slots__ = ("until",)

    until: float
    """Ends its patience, by the monotonic clock; set when it joins."""

    def done(self) -> bool:
        """Whether it waits no more."""
        raise NotImplementedError

    def take_turn(self, connection: UpstreamConnection | None) -> None:
        """It is its turn: a connection, or the right to open one (None)."""
        raise NotImplementedError

    def refuse(self, error: GatewayError) -> None:
        """It waits in vain."""
        raise NotImplementedError


class Place(Waiter):
    """Of a task, which waits for `served`."""

    __slots__ = ("served",)

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.served: Future[UpstreamConnection | None] = loop.create_future()

    def done(self) -> bool:
        return self.served.done()

    def take_turn(self, connection: UpstreamConnection | None) -> None:
        self.served.set_result(connection)

    def refuse(self, error: GatewayError) -> None:
        self.served.set_exception(error)


class Line:
    """See the module. `longest`: how many may stand in it, per worker and backend."""

    __slots__ = ("_first_end", "_longest", "_loop", "_patience", "_waiters", "length")

    def __init__(self, loop: AbstractEventLoop, longest: int) -> None:
        self._loop = loop
        self._longest = longest
        self._waiters: deque[Waiter] = deque()
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
            if not self._waiters[0].done():
                return True
            self._waiters.popleft()
        return False

    def join(self, waiter: Waiter, now: float, patience: float) -> None:
        """Wait from `now` on for so many seconds at most; `leave` must follow, whatever comes of it."""
        waiter.until = when = now + patience
        if when < self._first_end:
            self._first_end = when
            self._patience.within(patience)
        self._waiters.append(waiter)
        self.length += 1

    def leave(self) -> None:
        """A waiter waits no more."""
        self.length -= 1

    def serve(self, connection: UpstreamConnection | None) -> bool:
        """Give the first who still waits a connection, or the right to open one; False if nobody does."""
        if not self.has_waiters:
            return False
        self._waiters.popleft().take_turn(connection)
        return True

    def close(self) -> None:
        """The gateway is shutting down: refuse all."""
        self._patience.close()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.refuse(Draining())
        self._waiters.clear()

    def _refuse_late(self) -> None:
        """Refuse whose patience has ended; it need not be the first in line, for patience may differ."""
        now = monotonic()
        waiting: deque[Waiter] = deque()
        for waiter in self._waiters:
            if waiter.done():
                continue
            if waiter.until <= now + RESOLUTION:
                waiter.refuse(PoolTimeout())
            else:
                waiting.append(waiter)
        self._waiters = waiting
        self._first_end = min((waiter.until for waiter in waiting), default=inf)
        if waiting:
            self._patience.within(self._first_end - now)
