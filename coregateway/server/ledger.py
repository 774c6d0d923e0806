"""The exchanges that begin and end in one worker, told to those who asked for it.

Who keeps a record of all exchanges is told at once of those that ended in one turn of the loop; see
`signals`.
"""

from collections.abc import Callable

from coregateway.exchange import Exchange
from coregateway.outbox import outbox


class Ledger:
    """Whom it tells is set once the application is complete; None: nobody asked."""

    __slots__ = ("_ended", "on_end", "on_start", "on_turn")

    def __init__(self) -> None:
        self.on_start: Callable[[Exchange], None] | None = None
        self.on_end: Callable[[Exchange], None] | None = None
        self.on_turn: Callable[[list[Exchange]], None] | None = None
        self._ended: list[Exchange] = []

    def start(self, exchange: Exchange) -> None:
        """An exchange has started."""
        if self.on_start is not None:
            self.on_start(exchange)

    def end(self, exchange: Exchange) -> None:
        """An exchange has ended; once for each."""
        if self.on_end is not None:
            self.on_end(exchange)
        if self.on_turn is not None:
            self._ended.append(exchange)
            if len(self._ended) == 1:
                outbox.first(self.end_turn)

    def end_turn(self) -> None:
        """Tell of those that have ended since the last time."""
        ended, self._ended = self._ended, []
        if ended and self.on_turn is not None:
            self.on_turn(ended)
