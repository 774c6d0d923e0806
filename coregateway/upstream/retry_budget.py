"""How many repetitions of requests may be under way: a share of the requests in flight on the node.

A retry that every caller makes when a backend is slow is what keeps it down (Google's SRE book, chapter 22;
Envoy's `retry_budget`). Only what was sent again counts.
"""

from typing import Protocol as Interface


class NodeCounts(Interface):
    """What the node has under way; other workers' numbers may be a tenth of a second old."""

    def in_flight(self) -> int: ...
    def repetitions(self) -> int:
        """Those of all workers."""
        ...

    def note_repetitions(self, count: int) -> None:
        """Those of this worker have changed."""
        ...


class RetryBudget:
    """Of one worker, for the node: `share` of the requests in flight, and `minimum` in any case."""

    __slots__ = ("_counts", "_minimum", "_share", "under_way")

    def __init__(self, counts: NodeCounts, share: float, minimum: int) -> None:
        self._counts = counts
        self._share = share
        self._minimum = minimum
        self.under_way = 0
        """Repetitions in this worker."""

    def limit(self, share: float, minimum: int) -> None:
        """Have other limits from now on."""
        self._share = share
        self._minimum = minimum

    def take(self) -> bool:
        """Take the right to repeat a request; `give_back` must follow. False: too many are under way.

        It writes first, and looks then: of two workers that take the last one at the same time none has it.
        """
        counts = self._counts
        self.under_way += 1
        counts.note_repetitions(self.under_way)
        if counts.repetitions() <= max(self._share * counts.in_flight(), self._minimum):
            return True
        self.give_back()
        return False

    def give_back(self) -> None:
        """A repetition has ended."""
        self.under_way -= 1
        self._counts.note_repetitions(self.under_way)
