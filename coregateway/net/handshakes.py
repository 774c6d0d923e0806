"""TLS handshakes with the clients of one worker: how many steps a turn of the loop takes, and how they end.

A step takes as long as ten requests. When a thousand clients come at once, those that are served already must
not wait for all of their handshakes: beyond `MOST` steps in a turn, a connection waits for a later one, first
come, first served, and its bytes in the kernel.
"""

from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from typing import Final

MOST: Final = 8
"""Steps of handshakes that one turn of the loop takes, per worker; most handshakes have two."""

FULL: Final = "full"
"""The outcome of a handshake in full."""
RESUMED: Final = "resumed"
"""The outcome of one that went on from a session of before (RFC 8446 §2.2)."""

type Told = Callable[[str, str, str], None]
"""Called with the cause (`tls_failure`), OpenSSL's words, and the client's address."""


class Handshakes:
    """See the module."""

    __slots__ = ("_left", "_loop", "_waiting", "counts", "tell", "total")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._left = MOST
        self._waiting: deque[Callable[[], None]] = deque()
        self.counts: dict[str, int] = {}
        """Those that have ended, by `FULL`, `RESUMED`, or the cause of a failure."""
        self.total = 0
        self.tell: Told | None = None
        """Told of each that has failed."""

    def admit(self, go_on: Callable[[], None]) -> bool:
        """Whether this turn takes a step; if not, `go_on` is called in the turn that does."""
        left = self._left
        if not left or self._waiting:
            self._waiting.append(go_on)
            return False
        if left == MOST:
            self._loop.call_soon(self._begin_turn)
        self._left = left - 1
        return True

    def complete(self, *, resumed: bool) -> None:
        """One is complete."""
        self._count(RESUMED if resumed else FULL)

    def fail(self, cause: str, words: str, client: str) -> None:
        """One has failed."""
        self._count(cause)
        if self.tell is not None:
            self.tell(cause, words, client)

    def _count(self, outcome: str) -> None:
        self.counts[outcome] = self.counts.get(outcome, 0) + 1
        self.total += 1

    def _begin_turn(self) -> None:
        waiting = self._waiting
        taken = min(len(waiting), MOST)
        self._left = MOST - taken
        if taken:
            self._loop.call_soon(self._begin_turn)
        for _ in range(taken):
            waiting.popleft()()
