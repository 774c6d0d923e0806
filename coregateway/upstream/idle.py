"""The idle connections of one pool: which of them is used next, and which is closed.

They lie with their upstreams, last used last, and the one that was used last is used next: so those that are
not needed grow old. One that has ended, or brought bytes that no request asked for, is not used; one that is
too old, or one too many, is closed within `SWEEP`.
"""

from asyncio import AbstractEventLoop, TimerHandle
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.endpoint import Upstream

SWEEP: Final = 0.5
"""Seconds between two looks at idle connections, and how long a surplus one may rest before it is closed:
under load connections rest for milliseconds, and closing those would only open others."""

APART: Final = 1.0
"""Seconds between two ends of idle connections for them to tell more than one: a backend that is stopped ends
all of its connections at once."""

NEW: Final = -1.0
"""For `take`, as seconds that a connection may have rested: no idle connection will do. What ended one that
was reused may have ended them all, so that each try would be spent on another dead one."""

REMEMBERED: Final = 4
"""Ages of idle connections that are kept: of those that the backend ended last."""


class IdleConnections:
    """See the module.

    `most` connections rest, each for `expiry` seconds, per worker and backend. `discard` is called with each
    that is taken out because it is not fit for use.
    """

    __slots__ = (
        "_closed",
        "_discard",
        "_ended_at",
        "_expiry",
        "_loop",
        "_most",
        "_sweeper",
        "_upstreams",
        "ended_ages",
    )

    def __init__(
        self,
        loop: AbstractEventLoop,
        upstreams: Sequence[Upstream],
        discard: Callable[[UpstreamConnection], None],
        *,
        most: int,
        expiry: float,
    ) -> None:
        self._loop = loop
        self._upstreams = upstreams
        self._discard = discard
        self._most = most
        self._expiry = expiry
        self._sweeper: TimerHandle | None = None
        self._closed = False
        self._ended_at = -inf
        self.ended_ages: deque[float] = deque(maxlen=REMEMBERED)
        """Seconds that connections had been idle for when the backend ended them; see `APART`."""

    @property
    def count(self) -> int:
        return sum(len(upstream.idle) for upstream in self._upstreams)

    @property
    def is_empty(self) -> bool:
        return not any(upstream.idle for upstream in self._upstreams)

    def take(self, upstream: Upstream, rested: float) -> UpstreamConnection | None:
        """The one of an upstream that was used last, if it is fit for use and has rested no longer."""
        idle = upstream.idle
        now = self._loop.time()
        while idle:
            connection = idle[-1]
            age = now - connection.idle_since
            if rested < age <= self._expiry:
                return None
            idle.pop()
            if age <= self._expiry and not connection.is_stale(now):
                return connection
            self._discard(connection)
        return None

    def drop_all(self, upstream: Upstream) -> None:
        """Close all that lead to an upstream."""
        idle = upstream.idle
        while idle:
            self._discard(idle.pop())

    def take_oldest(self) -> UpstreamConnection | None:
        """The one that has been idle for longest, whichever upstream it leads to, fit or not."""
        resting = [upstream for upstream in self._upstreams if upstream.idle]
        if not resting:
            return None
        return min(resting, key=lambda upstream: upstream.idle[0].idle_since).idle.pop(0)

    def add(self, connection: UpstreamConnection) -> None:
        """Let a connection rest from now on."""
        connection.upstream.idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP, self._sweep)

    def lose(self, connection: UpstreamConnection) -> bool:
        """A connection has ended by itself; whether it was one of these."""
        idle = connection.upstream.idle
        if connection not in idle:
            return False
        idle.remove(connection)
        now = self._loop.time()
        if not self._closed and now - self._ended_at >= APART:
            self._ended_at = now
            self.ended_ages.append(now - connection.idle_since)
        return True

    def close(self) -> None:
        """End all of them; each is lost when its end has come."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for upstream in self._upstreams:
            for connection in upstream.idle[:]:
                connection.abort()

    def _sweep(self) -> None:
        """Close what has been idle for too long, and what is idle beyond the limit."""
        self._sweeper = None
        now = self._loop.time()
        resting = [connection for upstream in self._upstreams for connection in upstream.idle]
        resting.sort(key=lambda connection: connection.idle_since)
        surplus = len(resting) - self._most
        for at, connection in enumerate(resting):
            age = now - connection.idle_since
            if age > self._expiry or (at < surplus and age >= SWEEP):
                connection.upstream.idle.remove(connection)
                self._discard(connection)
        if not self.is_empty:
            self._sweeper = self._loop.call_later(SWEEP, self._sweep)
