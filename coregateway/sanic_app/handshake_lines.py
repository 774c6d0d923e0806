"""Log lines for TLS handshakes that have failed: few, whatever number of them fail."""

from collections.abc import Callable
from time import monotonic

from coregateway.logs.events import event

PAUSE = 10.0
"""Seconds, at least, between two lines for one cause, per worker."""


class HandshakeLines:
    """Of one worker."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._next_at: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def tell(self, cause: str, words: str, client: str) -> None:
        """One has failed. `count` of the line has those of this cause since the last line, with this one."""
        count = self._untold.get(cause, 0) + 1
        now = self._clock()
        if now < self._next_at.get(cause, now):
            self._untold[cause] = count
            return
        self._next_at[cause] = now + PAUSE
        self._untold[cause] = 0
        event("tls.handshake_failed", message=words, cause=cause, client=client, count=count)
