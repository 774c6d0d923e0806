"""What happens to the exchanges of one worker, told to its subscribers (`sanic_app.signals`).

A subscriber that keeps a record of all exchanges is told at once of those that ended in one turn of the loop.
"""

from collections.abc import Callable

from coregateway.model.errors import GatewayError
from coregateway.model.exchange import Exchange
from coregateway.net.batched_writer import BatchedWriter


class ExchangeEvents:
    """The subscribers are set once the application is complete; None: there is none."""

    __slots__ = ("_ended", "on_attempt_failed", "on_end", "on_start", "on_tunnel", "on_turn", "writer")

    def __init__(self) -> None:
        self.on_start: Callable[[Exchange], None] | None = None
        """The head of a request was read, is sound, and has its route."""
        self.on_end: Callable[[Exchange], None] | None = None
        self.on_turn: Callable[[list[Exchange]], None] | None = None
        self.on_attempt_failed: Callable[[Exchange, GatewayError], None] | None = None
        self.on_tunnel: Callable[[Exchange], None] | None = None
        self._ended: list[Exchange] = []
        self.writer: BatchedWriter
        """Of the worker, once its loop runs: exchanges go on record in a turn before their answers leave."""

    def fail_attempt(self, exchange: Exchange, error: GatewayError) -> None:
        """An attempt has failed, and another follows."""
        if self.on_attempt_failed is not None:
            self.on_attempt_failed(exchange, error)

    def open_tunnel(self, exchange: Exchange) -> None:
        """A backend has agreed to speak WebSocket."""
        if self.on_tunnel is not None:
            self.on_tunnel(exchange)

    def end(self, exchange: Exchange) -> None:
        """An exchange has ended; called once for each."""
        if self.on_end is not None:
            self.on_end(exchange)
        if self.on_turn is not None:
            self._ended.append(exchange)
            if len(self._ended) == 1:
                self.writer.before_flush(self.end_turn)

    def end_turn(self) -> None:
        """Tell of the exchanges that have ended since the last time."""
        ended, self._ended = self._ended, []
        if ended and self.on_turn is not None:
            self.on_turn(ended)
