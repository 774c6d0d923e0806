"""Spans that wait to be sent: a subscriber of finished exchanges, and a queue of bounded length."""

from collections import deque
from collections.abc import Callable
from typing import Final

from coregateway.model.exchange import Exchange
from coregateway.model.trace import Trace
from coregateway.observability.tracing.spans import spans_of

ENOUGH: Final = 1024
"""Spans that wait for no others. A message costs as much as dozens of spans, whatever it holds."""

TOGETHER: Final = 32
"""Exchanges whose spans are written at once: it takes half the time that each would by itself, between other
work."""


class WaitingSpans:
    """Of one worker. At most `most` wait; `enough` is called when they need not wait for others."""

    __slots__ = ("_enough", "_finished", "_most", "dropped", "epoch", "spans")

    def __init__(self, most: int, enough: Callable[[], None], epoch: int) -> None:
        self._most = most
        self._enough = enough
        self._finished: list[tuple[Exchange, Trace]] = []
        self.epoch = epoch
        """When the monotonic clock began, in nanoseconds since 1970."""
        self.spans: deque[bytes] = deque()
        self.dropped = 0
        """Spans that found no room, or that the collector did not take."""

    def record(self, exchanges: list[Exchange]) -> None:
        """Take those of finished exchanges that are sampled."""
        for exchange in exchanges:
            trace = exchange.trace
            if trace is not None and trace.sampled:
                self._finished.append((exchange, trace))
        if len(self._finished) >= TOGETHER:
            self.write()
            if len(self.spans) >= ENOUGH:
                self._enough()

    def write(self) -> None:
        """Write the spans of those that were taken."""
        finished, self._finished = self._finished, []
        spans = self.spans
        for exchange, trace in finished:
            if len(spans) >= self._most:
                self.dropped += 1 + len(trace.attempts)
            else:
                spans.extend(spans_of(exchange, trace, self.epoch))
