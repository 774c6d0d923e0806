"""When a backend gets no requests because too many have failed: a state machine over numbers of the node.

    closed      at least `minimum` tries in `window` seconds, `ratio` of them failed  →  open
    open        `open` seconds have passed                                            →  half open
    half open   one request of the node tries it: it succeeds                         →  closed
                it fails                                                              →  open

Each worker counts its own tries, in a few buckets of the window; the state is in numbers that any worker may
write. Pure but for those. Times are seconds of the monotonic clock.
"""

from collections.abc import Callable, Iterable
from typing import Final
from typing import Protocol as Interface

UNTIL: Final = 0
"""When a request may try it; 0.0: closed."""
PROBE: Final = 1
"""Until when one request has the right to; 0.0: none has it."""
CLOSED: Final = 2
"""When it closed last."""
OPENED: Final = 3
"""How often it opened, from the beginning."""
SINCE: Final = 4
"""When it opened, after it was closed last."""

BUCKETS: Final = 5
"""Of the window. Each is three numbers: which it is, tries, failures."""

WIDTH: Final = 3 * BUCKETS

STATES: Final = ("off", "closed", "open", "half_open")


class BreakerRules(Interface):
    """The settings of a backend have this shape."""

    @property
    def enabled(self) -> bool: ...
    @property
    def ratio(self) -> float: ...
    @property
    def window(self) -> float: ...
    @property
    def minimum(self) -> int: ...
    @property
    def open(self) -> float: ...


class Breaker:
    """Of one backend, in one worker.

    `row`: the node's numbers. `own`: those of this worker. `every`: gives those of all workers, its own among
    them.
    """

    __slots__ = ("_bucket", "_every", "_minimum", "_open", "_own", "_ratio", "_row")

    def __init__(
        self,
        rules: BreakerRules,
        row: "memoryview[float]",
        own: "memoryview[float]",
        every: Callable[[], Iterable["memoryview[float]"]],
    ) -> None:
        self._row = row
        self._own = own
        self._every = every
        self._ratio = rules.ratio
        self._minimum = rules.minimum
        self._open = rules.open
        self._bucket = rules.window / BUCKETS

    def wait(self, now: float) -> float:
        """0.0: a request may go on, or has the right to try now; else seconds until one may."""
        row = self._row
        until = row[UNTIL]
        if not until:
            return 0.0
        if now < until:
            return until - now
        return max(row[PROBE] - now, 0.0)

    @property
    def is_open(self) -> bool:
        """Whether it is open or half open: a request that goes on must `begin_probe`."""
        return self._row[UNTIL] > 0.0

    def begin_probe(self, now: float) -> None:
        """A request tries whether it is well; should nothing be heard of that, another may after `open`."""
        self._row[PROBE] = now + self._open

    def note(self, failed: bool, now: float) -> bool:
        """A try has ended; whether that has opened or closed it."""
        row = self._row
        if row[UNTIL]:
            if not row[PROBE] or now < row[UNTIL]:
                return False  # it began before
            if failed:
                self._trip(now)
            else:
                row[CLOSED] = now
                row[PROBE] = row[UNTIL] = 0.0
            return True
        own = self._own
        number = now // self._bucket
        at = 3 * (int(number) % BUCKETS)
        if own[at] != number:
            own[at + 1] = own[at + 2] = 0.0
            own[at] = number
        own[at + 1] += 1.0
        if not failed:
            return False
        own[at + 2] += 1.0
        tries, failures = self._sum(number)
        if tries < self._minimum or failures < self._ratio * tries:
            return False
        row[SINCE] = now
        self._trip(now)
        return True

    def _trip(self, now: float) -> None:
        row = self._row
        row[OPENED] += 1.0
        row[PROBE] = 0.0
        row[UNTIL] = now + self._open

    def _sum(self, number: float) -> tuple[float, float]:
        """Tries and failures in the window, of all workers, since it closed last."""
        closed = self._row[CLOSED]
        first = number - BUCKETS + 1.0
        if closed:
            first = max(first, closed // self._bucket + 1.0)
        tries = failures = 0.0
        for counted in self._every():
            for at in range(0, WIDTH, 3):
                if first <= counted[at] <= number:
                    tries += counted[at + 1]
                    failures += counted[at + 2]
        return tries, failures


def state_of(row: "memoryview[float] | None", now: float) -> str:
    """One of `STATES`, for readers; None: it is off."""
    if row is None:
        return STATES[0]
    until = row[UNTIL]
    return "closed" if not until else "open" if now < until else "half_open"
