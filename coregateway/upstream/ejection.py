"""When an upstream is ejected, for how long, and how it comes back: a state machine over numbers of the node.

    in use     `failures` in a row, and few enough others are out  →  ejected
    ejected    its time has passed                                 →  due: one request of the node tries it
    due        that request succeeds                               →  in use
               it fails                                            →  ejected, for longer

After Envoy's outlier detection: an ejection lasts as many times `duration` as there were in a row, and one of
them is forgiven for each `duration` that the upstream has been in use. Pure but for the numbers, which lie in
shared memory: any worker may write them. Times are seconds of the monotonic clock.
"""

from typing import Final
from typing import Protocol as Interface

STREAK: Final = 0
"""Failures in a row."""
UNTIL: Final = 1
"""When its time has passed; 0.0: it is in use."""
TIMES: Final = 2
"""Ejections in a row, those that were forgiven left out."""
RETURNED: Final = 3
"""When it came back last; 0.0: it is ejected, or never was."""
TRIAL: Final = 4
"""Until when one request has the right to try it."""
COUNT: Final = 5
"""Ejections from the beginning."""
CAUSE: Final = 6
"""Of the last one: a place in `CAUSES`."""
SINCE: Final = 7
"""When it was in use last."""
WATCHED: Final = 8
"""1.0 while the settings let it be ejected: there are others beside it, and its backend has its address."""

CAUSES: Final = (
    "",
    "connect_failed",
    "connect_timeout",
    "upstream_closed",
    "upstream_protocol",
    "read_timeout",
    "write_timeout",
)
"""Tokens of what an upstream may be ejected for."""


class EjectionRules(Interface):
    """The settings of a backend have this shape."""

    @property
    def enabled(self) -> bool: ...
    @property
    def failures(self) -> int: ...
    @property
    def duration(self) -> float: ...
    @property
    def max_duration(self) -> float: ...
    @property
    def max_share(self) -> float: ...


class Ejection:
    """Of one upstream; `row`: its numbers."""

    __slots__ = ("_duration", "_failures", "_longest", "_row")

    def __init__(self, row: "memoryview[float]", rules: EjectionRules) -> None:
        self._row = row
        self._failures = rules.failures
        self._duration = rules.duration
        self._longest = rules.max_duration
        row[WATCHED] = 1.0

    @property
    def is_ejected(self) -> bool:
        """Whether it is, or is due."""
        return self._row[UNTIL] > 0.0

    def end(self) -> None:
        """Nothing ejects it any more, by new settings or because it is gone: watched again, it is in use as a
        new one."""
        row = self._row
        row[WATCHED] = row[UNTIL] = row[TRIAL] = row[STREAK] = row[TIMES] = row[RETURNED] = 0.0

    def is_due(self, now: float) -> bool:
        """Whether a request may try it: its time has passed, and no other request does."""
        until = self._row[UNTIL]
        return 0.0 < until <= now and self._row[TRIAL] <= now

    def begin_trial(self, now: float) -> None:
        """A request tries it; should nothing be heard of that, another may after some time."""
        self._row[TRIAL] = now + self._duration

    def succeed(self, now: float) -> bool:
        """A request was answered; whether that has brought it back."""
        row = self._row
        if row[STREAK]:
            row[STREAK] = 0.0
        until = row[UNTIL]
        if not 0.0 < until <= now:
            return False
        row[RETURNED] = now
        row[TRIAL] = row[UNTIL] = 0.0
        return True

    def fail(self, now: float) -> bool:
        """A request failed; whether it is to be ejected now, or for longer."""
        row = self._row
        row[STREAK] += 1.0
        until = row[UNTIL]
        return until <= now if until else row[STREAK] >= self._failures

    def eject(self, cause: str, now: float) -> None:
        """Take it out."""
        row = self._row
        times = row[TIMES]
        if row[RETURNED]:
            times = max(times - (now - row[RETURNED]) // self._duration, 0.0)
        if not row[UNTIL]:
            row[SINCE] = now
        row[TIMES] = times = times + 1.0
        row[COUNT] += 1.0
        row[CAUSE] = CAUSES.index(cause) if cause in CAUSES else 0
        row[RETURNED] = row[STREAK] = row[TRIAL] = 0.0
        row[UNTIL] = now + min(times * self._duration, self._longest)


def may_eject(ejected: int, count: int, max_share: float) -> bool:
    """Whether one more of `count` upstreams may be ejected when so many are: one at least, unless the share
    is 0."""
    return max_share > 0.0 and ejected < max(int(max_share * count), 1)
