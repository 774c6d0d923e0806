"""The limit for requests as a whole (`timeouts.total`), of those that no task serves.

All requests of a route have the same time, so they end in the order in which they came: one timer is enough,
and a request that ends in time costs an entry of a dictionary. In a task `asyncio.timeout_at` limits it.
"""

from asyncio import AbstractEventLoop, TimerHandle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coregateway.proxy.backend_claim import BackendClaim


class TotalLimits:
    """Of one route in one worker. `seconds`: that a request may take, from its first byte on."""

    __slots__ = ("_loop", "_pending", "_timer", "seconds")

    def __init__(self, loop: AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._pending: dict[BackendClaim, float] = {}
        self._timer: TimerHandle | None = None
        self.seconds = seconds

    def add(self, claim: "BackendClaim", until: float) -> None:
        """Call `expire` of a request at that time of the loop, unless it is taken away before."""
        self._pending[claim] = until
        if self._timer is None:
            self._timer = self._loop.call_at(until, self._look)

    def take_away(self, claim: "BackendClaim") -> None:
        """The request has ended, or goes on in a task."""
        self._pending.pop(claim, None)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._pending:
            claim, until = next(iter(self._pending.items()))
            if until > now:
                self._timer = self._loop.call_at(until, self._look)
                return
            del self._pending[claim]
            claim.expire()
