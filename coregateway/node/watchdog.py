"""Which processes have stood still for too long, by the time that their watcher was awake.

A watcher that was stopped itself, in a frozen container or by SIGSTOP, finds hours gone in which those whom
it watches may have stood still with it. So each look counts for `LONGEST_STEP` seconds at most.
"""

from collections.abc import Mapping

LONGEST_STEP = 1.0
"""Seconds that one look adds to the time watched, at most."""


class Watchdog:
    """Of processes that each show a number which changes while they are well."""

    def __init__(self, limit: float) -> None:
        """`limit`: seconds that a number may stay the same; 0: for ever."""
        self.limit = limit
        self._watched = 0.0
        self._looked: float | None = None
        self._seen: dict[int, tuple[int, float]] = {}
        """By process: its number, and the time watched when it was new."""

    def look(self, now: float, numbers: Mapping[int, int]) -> list[int]:
        """The processes whose number has stayed the same for longer than the limit.

        `now`: seconds of a clock that never goes back. `numbers` by process id, of all that live. A process
        that is told of here is not told of again before another such time has passed.
        """
        if self._looked is not None:
            self._watched += min(now - self._looked, LONGEST_STEP)
        self._looked = now
        silent: list[int] = []
        seen: dict[int, tuple[int, float]] = {}
        for pid, number in numbers.items():
            last, since = self._seen.get(pid, (None, self._watched))
            if number != last or not self.limit:
                since = self._watched
            elif self._watched - since > self.limit:
                silent.append(pid)
                since = self._watched
            seen[pid] = number, since
        self._seen = seen
        return silent
