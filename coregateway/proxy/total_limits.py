"""The limit for requests as a whole (`timeouts.total`), without a task and with one.

All requests of a route have the same time, so they end in the order in which they came: one timer is enough,
and a request that ends in time costs an entry of a dictionary. In a task `asyncio.timeout_at` limits it.
"""

from asyncio import AbstractEventLoop, TimerHandle, timeout_at
from time import monotonic
from typing import TYPE_CHECKING

from coregateway.model.errors import TotalTimeout
from coregateway.model.exchange import Exchange

if TYPE_CHECKING:
    from coregateway.proxy.backend_claim import BackendClaim
    from coregateway.proxy.forwarded_request import ForwardedRequest


class TotalLimits:
    """Of one route in one worker. `seconds`: that a request may take, from its first byte on."""

    __slots__ = ("_loop", "_pending", "_timer", "seconds")

    def __init__(self, loop: AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._pending: dict[BackendClaim, float] = {}
        self._timer: TimerHandle | None = None
        self.seconds = seconds

    def end_of(self, exchange: Exchange) -> float:
        """When the time of a request is spent, by the loop's clock."""
        return self._loop.time() + self.seconds - (monotonic() - exchange.started)

    async def carry(self, request: "ForwardedRequest") -> None:
        """Carry a request to its end in a task, or end it when its time is spent."""
        limit = timeout_at(self.end_of(request.exchange))
        try:
            async with limit:
                await request.carry_within(limit)
        except TimeoutError:
            await request.end_with(TotalTimeout())  # all that it held was given back

    def add(self, claim: "BackendClaim") -> None:
        """Call `expire` of a request when its time is spent, unless it is taken away before."""
        self._pending[claim] = until = self.end_of(claim.exchange)
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
