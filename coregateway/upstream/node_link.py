"""What one worker shares with the others of its node about upstreams: it looks for news, and tells its own.

A request costs none of this: decisions of the node (ejected, drained, open) are in numbers that any worker
writes when something changes, and that this worker looks at every `TICK`.
"""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final

from coregateway.shared_memory.series import OF_PROCESS, WIDTH
from coregateway.shared_memory.shared_rows import HOLD, SharedRows

if TYPE_CHECKING:
    from coregateway.shared_memory.board import Part
    from coregateway.upstream.backend import Backend

TICK: Final = 0.05
"""Seconds between two looks, per worker."""

COUNTS: Final = f"{OF_PROCESS}upstream.counts"
"""The key of a part's numbers: requests for backends in flight, and repetitions of requests among them."""
_IN_FLIGHT: Final = 0
_REPETITIONS: Final = 1


UPSTREAM: Final = "upstream\x1f"
"""Begins the keys of the rows of upstreams."""


def upstream_key(backend: str, endpoint: str) -> str:
    """The key of an upstream's row, by the key of its address."""
    return f"{UPSTREAM}{backend}\x1f{endpoint}"


def breaker_key(backend: str) -> str:
    """The key of a breaker's row, and of the counts of a worker for it."""
    return f"breaker\x1f{backend}"


def in_flight_key(backend: str) -> str:
    """The key of a worker's numbers for `in_flight_limit`."""
    return f"{OF_PROCESS}in_flight\x1f{backend}"


class NodeLink:
    """Of one worker. `own`: its part of the shared memory, None if it has none; `parts`: all of them."""

    __slots__ = ("_backends", "_held", "_loop", "_news", "_numbers", "_own", "_parts", "_timer", "rows")

    def __init__(
        self, loop: AbstractEventLoop, rows: SharedRows, own: "Part | None", parts: "Sequence[Part]"
    ) -> None:
        self._loop = loop
        self.rows = rows
        self._own = own
        self._parts = parts
        self._backends: Callable[[], Iterable[Backend]] = tuple
        self._news = 0.0
        self._held = 0.0
        """When it last said that it goes by its rows."""
        self._timer: TimerHandle | None = None
        self._numbers = self.own_numbers(COUNTS)
        self._numbers[_IN_FLIGHT] = self._numbers[_REPETITIONS] = 0.0  # of a process before this one

    def own_numbers(self, key: str) -> "memoryview[float]":
        """Numbers that this worker alone writes; without a part, or room in it, no other worker sees them."""
        at = None if self._own is None else self._own.series.slot(key)
        if at is None or self._own is None:
            return memoryview(bytearray(8 * WIDTH)).cast("d")
        return self._own.series.numbers[at : at + WIDTH]

    def numbers_of_all(self, key: str) -> "list[memoryview[float]]":
        """The same of every worker that has such numbers."""
        found: list[memoryview[float]] = []
        for part in self._parts:
            at = part.series.find(key)
            if at is not None:
                found.append(part.series.numbers[at : at + WIDTH])
        return found

    def numbers_of_others(self, key: str) -> "list[memoryview[float]]":
        """The same of the other workers that live."""
        found: list[memoryview[float]] = []
        for part in self._parts:
            if part is not self._own and part.owner:
                at = part.series.find(key)
                if at is not None:
                    found.append(part.series.numbers[at : at + WIDTH])
        return found

    def tell(self) -> None:
        """Something has changed that all workers should look at."""
        self.rows.tell(monotonic())

    # From `start` to `stop`

    def start(self, backends: "Callable[[], Iterable[Backend]]") -> None:
        """Look from now on; `backends` gives those that the worker has at the moment."""
        self._backends = backends
        self._tick()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._numbers[_IN_FLIGHT] = self._numbers[_REPETITIONS] = 0.0

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK, self._tick)
        now = self._loop.time()
        news = self.rows.news
        has_news = news != self._news
        self._news = news
        holds = now >= self._held + HOLD / 4
        if holds:
            self._held = now
        in_flight = 0
        for backend in self._backends():
            in_flight += backend.in_flight
            pool = backend.pool
            if has_news:
                pool.look()
            if holds:
                pool.hold(now)
            if pool.is_unwell:
                pool.tend(now)
            if backend.slow_clients.transfers:
                backend.look_at_clients(now)
        self._numbers[_IN_FLIGHT] = in_flight

    # As `retry_budget.NodeCounts`

    def in_flight(self) -> int:
        own = sum([backend.in_flight for backend in self._backends()])
        return own + int(self._of_others(_IN_FLIGHT))

    def repetitions(self) -> int:
        return int(self._numbers[_REPETITIONS] + self._of_others(_REPETITIONS))

    def note_repetitions(self, count: int) -> None:
        self._numbers[_REPETITIONS] = count

    def _of_others(self, number: int) -> float:
        """The sum of a number over the other workers; those of a process that has died are given back."""
        total = 0.0
        for part in self._parts:
            if part is not self._own and part.owner:
                at = part.series.find(COUNTS)
                if at is not None:
                    total += part.series.numbers[at + number]
        return total
