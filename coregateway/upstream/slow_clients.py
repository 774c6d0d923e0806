"""Which clients hold an upstream's connections without need, while other requests wait for one.

A client that sends its body, or takes its answer, at less than `limits.client_rate` over `WINDOW` seconds
keeps a connection from others for nothing. While none waits it is left alone; it is only looked at while some
do. Pure: transfers tell what they have moved, and the clock is an argument.
"""

from collections.abc import Iterable
from math import inf
from typing import Final

from mypy_extensions import mypyc_attr

WINDOW: Final = 3.0
"""Seconds over which a client's rate is measured."""

CALM: Final = 0.5
"""Seconds without a look after which what was measured counts no more: for so long no request has waited."""


@mypyc_attr(acyclic=True, allow_interpreted_subclasses=True)
class Transfer:
    """A body on its way from a client, or to it, for which an upstream's connection is held."""

    __slots__ = ("moved_before", "since")

    def __init__(self) -> None:
        self.since = -inf
        """When the present window began, by the clock of `SlowClients.look`."""
        self.moved_before = 0
        """Bytes that had moved then."""

    def moved(self) -> int:
        """Bytes that the client has sent or taken so far."""
        raise NotImplementedError

    def is_held_up(self) -> bool:
        """Whether it waits for its client, and for nothing else."""
        raise NotImplementedError

    def is_upload(self) -> bool:
        """Whether its connection counts among those for uploads that are still coming."""
        raise NotImplementedError

    def end(self) -> None:
        """End the exchange, by the client's fault."""
        raise NotImplementedError


@mypyc_attr(acyclic=True)
class SlowClients:
    """Of one backend in one worker. `rate`: bytes/s, below which a client is slow; 0: none is."""

    __slots__ = ("_looked", "ended", "rate", "transfers")

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.transfers: set[Transfer] = set()
        """Those under way."""
        self.ended = 0
        """How many were ended, from the beginning."""
        self._looked = -inf

    def look(self, waiting: int, now: float, *, only_uploads: bool = False) -> None:
        """End so many of the slow ones as requests wait, the slowest first; call it often while any does.

        `only_uploads`: those that wait can use no other connection.
        """
        if not self.rate:
            return
        slow = self.slow(self.transfers, now)
        if only_uploads:
            slow = [transfer for transfer in slow if transfer.is_upload()]
        for transfer in slow[:waiting]:
            self.ended += 1
            transfer.end()

    def slow(self, transfers: Iterable[Transfer], now: float) -> list[Transfer]:
        """Those that were held up by their clients for `WINDOW` seconds, and too slow; the slowest first."""
        anew = now - self._looked > CALM
        self._looked = now
        enough = self.rate * WINDOW
        found: list[tuple[int, Transfer]] = []
        for transfer in transfers:
            moved = transfer.moved()
            passed = moved - transfer.moved_before
            held = transfer.is_held_up()
            if anew or not held or transfer.since == -inf or passed >= enough:
                transfer.since = now
                transfer.moved_before = moved
            elif now - transfer.since >= WINDOW:
                found.append((passed, transfer))
        found.sort(key=_passed)
        return [transfer for _, transfer in found]


def _passed(found: tuple[int, Transfer]) -> int:
    return found[0]
