"""How many requests a backend has at a time, over all workers of the node (`max_in_flight`).

Each worker writes its own number, and adds up those of all whose processes live: what a killed worker had
under way counts no more once its death is seen. A worker that takes a place writes first, and looks then: so
two that take the last one in the same instant both give it back, and wait. What waits is served first come,
first served over the node: a worker tells since when it waits, and looks whether its turn has come when one
of its own requests ends, and every `POLL` seconds.
"""

from asyncio import AbstractEventLoop, Future, TimerHandle, timeout
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from coregateway.model.errors import Draining, GatewayError, Overloaded, PoolTimeout

POLL: Final = 0.005
"""Seconds between two looks, per worker, while any of its requests wait."""

SILENT: Final = 0.1
"""Seconds without a look after which a worker that waits is passed over: it does not run."""

IN_FLIGHT: Final = 0
"""Among the numbers of a worker: its requests that hold a place."""
SINCE: Final = 1
"""When the first of those came that wait; 0.0: none does. Seconds of the monotonic clock."""
LOOKED: Final = 2
"""When it has looked last whether its turn has come."""


def may_take(
    own: "memoryview[float]", others: Iterable["memoryview[float]"], limit: int, since: float, now: float
) -> bool:
    """Whether a request that waits since then may take a place, which its worker counts in `own` already."""
    count = own[IN_FLIGHT]
    for numbers in others:
        count += numbers[IN_FLIGHT]
        if 0.0 < numbers[SINCE] < since and now - numbers[LOOKED] <= SILENT:
            return False
    return count <= limit


class InFlightLimit:
    """Of one backend in one worker.

    `own`: its numbers, which another limit of the same worker may have written before: what that counted is
    given back there. `others`: gives those of the other workers that live. `limit`: requests, for the node;
    `longest`: how many may wait in this worker.
    """

    __slots__ = ("_line", "_loop", "_others", "_own", "_timer", "limit", "longest")

    def __init__(
        self,
        loop: AbstractEventLoop,
        own: "memoryview[float]",
        others: "Callable[[], Iterable[memoryview[float]]]",
        *,
        limit: int,
        longest: int,
    ) -> None:
        self._loop = loop
        self._own = own
        self._others = others
        self.limit = limit
        self.longest = longest
        self._line: deque[tuple[float, Future[None]]] = deque()
        """Since when each waits, and what tells it that it has a place."""
        self._timer: TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Requests of this worker that wait."""
        return len(self._line)

    @property
    def in_flight(self) -> int:
        """Requests of this worker that hold a place."""
        return int(self._own[IN_FLIGHT])

    async def take(self, patience: float) -> None:
        """Take a place; `give_back` must follow. `patience`: seconds that it may wait.

        Raises:
            PoolTimeout: no place became free in that time.
            Overloaded: as many as may wait do already.
            Draining: the gateway is shutting down.
        """
        now = self._loop.time()
        if not self._line and self._try(now, now):
            return
        if len(self._line) >= self.longest:
            raise Overloaded
        given: Future[None] = self._loop.create_future()
        self._line.append((now, given))
        if self._timer is None:
            self._look()
        try:
            async with timeout(patience):
                await given
        except TimeoutError:
            if not given.cancelled() and given.done() and given.exception() is None:
                return  # it came in the same turn
            raise PoolTimeout from None
        except BaseException:
            if given.done() and not given.cancelled() and given.exception() is None:
                self.give_back()
            raise
        finally:
            if not given.done() or given.cancelled():
                self._leave(given)

    def give_back(self) -> None:
        """A request has ended: the first that waits may have its place."""
        self._own[IN_FLIGHT] -= 1.0
        if self._line:
            self._serve()

    def close(self, error: type[GatewayError] = Draining) -> None:
        """Refuse those that wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        line, self._line = self._line, deque()
        self._own[SINCE] = 0.0
        for _, given in line:
            if not given.done():
                given.set_exception(error())

    def _try(self, since: float, now: float) -> bool:
        own = self._own
        own[IN_FLIGHT] += 1.0
        if may_take(own, self._others(), self.limit, since, now):
            return True
        own[IN_FLIGHT] -= 1.0
        return False

    def _leave(self, given: "Future[None]") -> None:
        """A request waits no more."""
        self._line = deque([(since, each) for since, each in self._line if each is not given])
        self._own[SINCE] = self._line[0][0] if self._line else 0.0

    def _look(self) -> None:
        self._timer = None
        self._serve()
        if self._line:
            self._timer = self._loop.call_later(POLL, self._look)

    def _serve(self) -> None:
        """Give what is free to those that wait, in their order."""
        line = self._line
        now = self._loop.time()
        self._own[LOOKED] = now
        while line:
            since, given = line[0]
            if given.done():
                line.popleft()
                continue
            self._own[SINCE] = since
            if not self._try(since, now):
                return
            line.popleft()
            given.set_result(None)
        self._own[SINCE] = 0.0
