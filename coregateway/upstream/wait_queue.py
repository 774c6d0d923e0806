"""The requests that wait for a connection of one backend: first come, first served, and none for ever.

Tasks wait in it, and requests that no task serves. A waiter that waits no more stays until its turn comes,
and is passed over then; it counts until it leaves.
"""

from asyncio import AbstractEventLoop, Future
from collections import deque
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from coregateway.model.errors import Draining, GatewayError, PoolTimeout
from coregateway.net.deadline import RESOLUTION, Deadline
from coregateway.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from coregateway.upstream.endpoint import Endpoint


@mypyc_attr(acyclic=True, allow_interpreted_subclasses=True)
class Waiter:
    """A request that waits for its turn."""

    __slots__ = ("until",)

    until: float
    """When its patience ends, by the monotonic clock; set when it joins."""

    def done(self) -> bool:
        """Whether it waits no more."""
        raise NotImplementedError

    def take_connection(self, connection: UpstreamConnection) -> None:
        """Its turn has come: a connection."""
        raise NotImplementedError

    def take_slot(self, endpoint: "Endpoint") -> None:
        """Its turn has come: the right to open a connection to this endpoint."""
        raise NotImplementedError

    def refuse(self, error: GatewayError) -> None:
        """It has waited in vain."""
        raise NotImplementedError


class QueuedTask(Waiter):
    """Of a task, which awaits `given`: a connection, or the endpoint to open one to."""

    __slots__ = ("given",)

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.given: Future[UpstreamConnection | Endpoint] = loop.create_future()

    def done(self) -> bool:
        return self.given.done()

    def take_connection(self, connection: UpstreamConnection) -> None:
        self.given.set_result(connection)

    def take_slot(self, endpoint: "Endpoint") -> None:
        self.given.set_result(endpoint)

    def refuse(self, error: GatewayError) -> None:
        self.given.set_exception(error)


class WaitQueue:
    """See the module. `longest`: how many may wait, per worker and backend."""

    __slots__ = ("_first_end", "_loop", "_patience", "_waiters", "length", "longest")

    def __init__(self, loop: AbstractEventLoop, longest: int) -> None:
        self._loop = loop
        self.longest = longest
        self._waiters: deque[Waiter] = deque()
        self._patience = Deadline(loop, self._refuse_late)
        self._first_end = inf
        """When the first patience ends, whichever waiter's it is."""
        self.length = 0
        """How many have joined and not left."""

    @property
    def is_full(self) -> bool:
        """Whether no other waiter may join."""
        return self.length >= self.longest

    @property
    def has_waiters(self) -> bool:
        """Whether a waiter in it still waits; the first to be served is one that does then."""
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

    def give_connection(self, connection: UpstreamConnection) -> bool:
        """Give the first that still waits a connection; False if none does."""
        if not self.has_waiters:
            return False
        self._waiters.popleft().take_connection(connection)
        return True

    def give_slot(self, endpoint: "Endpoint") -> bool:
        """Give the first that still waits the right to open a connection; False if none does."""
        if not self.has_waiters:
            return False
        self._waiters.popleft().take_slot(endpoint)
        return True

    def refuse_all(self, kind: type[GatewayError]) -> None:
        """Nothing is left to wait for."""
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            if not waiter.done():
                waiter.refuse(kind())

    def close(self) -> None:
        """The gateway is shutting down: refuse all."""
        self._patience.close()
        self.refuse_all(Draining)

    def _refuse_late(self) -> None:
        """Refuse those whose patience has ended; it need not be the first, for patience may differ."""
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
