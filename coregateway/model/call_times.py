"""How long the calls of one function took, and how long they held the event loop."""

from bisect import bisect_left
from typing import Final

SHORTEST: Final = 0.000005

BOUNDS = (
    SHORTEST,
    0.00001,
    0.000025,
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.1,
    1.0,
)
"""Upper bounds of the buckets, in seconds: a function that looks at a field takes a few microseconds."""

HELD: Final = 0.01
"""Seconds of the event loop from which on a call is worth a word: no other request is served meanwhile."""


class CallTimes:
    """Of one function in one worker, by the name that metrics and findings call it."""

    __slots__ = ("calls", "counts", "held", "longest", "name", "total")

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.counts = [0.0] * (len(BOUNDS) + 1)
        """Calls that took so long, by bucket; the last: longer than all bounds."""
        self.total = 0.0
        """Seconds of all calls."""
        self.held = 0
        """How often the loop was held for `HELD` or longer, since the last `take_held`."""
        self.longest = 0.0
        """Seconds, of these."""

    def add(self, took: float) -> None:
        """Take in a call, its waits included; in seconds."""
        self.calls += 1
        # Most functions of middleware are as short as the first bucket.
        self.counts[0 if took <= SHORTEST else bisect_left(BOUNDS, took)] += 1.0
        self.total += took

    def add_call(self, took: float) -> None:
        """Take in a call that did not wait, and so has held the loop; in seconds."""
        self.add(took)
        if took >= HELD:
            self.hold(took)

    def hold(self, took: float) -> None:
        """Take in that the loop was held, by a call or by its way from one wait to the next; in seconds."""
        if took >= HELD:
            self.held += 1
            self.longest = max(self.longest, took)

    def take_held(self) -> tuple[int, float]:
        """How often the loop was held since the last time, and for how long at most, in seconds."""
        held, longest = self.held, self.longest
        self.held, self.longest = 0, 0.0
        return held, longest
