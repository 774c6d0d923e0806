"""The idle connections to one endpoint: which of them is used next, and which is closed.

The one that was used last is used next: so those that are not needed grow old. One that has ended, or brought
bytes that no request asked for, is not used; one that is too old, or one too many, is closed within `SWEEP`.
"""

from asyncio import AbstractEventLoop, TimerHandle
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from coregateway.upstream.connection import UpstreamConnection

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


class EndedAges:
    """How old the idle connections of one backend were which the backend ended itself."""

    __slots__ = ("_ended_at", "last")

    def __init__(self) -> None:
        self._ended_at = -inf
        self.last: deque[float] = deque(maxlen=REMEMBERED)
        """Seconds that the last few had been idle for; see `APART`."""

    def note(self, idle_since: float, now: float) -> None:
        """The backend has ended a connection that was idle."""
        if now - self._ended_at >= APART:
            self._ended_at = now
            self.last.append(now - idle_since)


class IdleConnections:
    """See the module.

    `most` connections are kept idle, each for `expiry` seconds, per worker and endpoint. `discard` is called
    with each that is taken out because it is not fit for use.
    """

    __slots__ = (
        "_closed",
        "_discard",
        "_ended_ages",
        "_expiry",
        "_loop",
        "_most",
        "_sweeper",
        "connections",
    )

    def __init__(
        self,
        loop: AbstractEventLoop,
        discard: Callable[[UpstreamConnection], None],
        ended_ages: EndedAges,
        *,
        most: int,
        expiry: float,
    ) -> None:
        self._loop = loop
        self._discard = discard
        self._ended_ages = ended_ages
        self._most = most
        self._expiry = expiry
        self._sweeper: TimerHandle | None = None
        self._closed = False
        self.connections: list[UpstreamConnection] = []
        """Last used last."""

    def limit(self, most: int, expiry: float) -> None:
        """Keep so many connections idle from now on, each for so many seconds."""
        self._most = most
        self._expiry = expiry

    def take(self, rested: float) -> UpstreamConnection | None:
        """The one that was used last, if it is fit for use and has rested no longer."""
        idle = self.connections
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

    def drop_all(self) -> None:
        """Close all of them."""
        while self.connections:
            self._discard(self.connections.pop())

    def take_oldest(self) -> UpstreamConnection | None:
        """The one that has been idle for longest, fit or not."""
        return self.connections.pop(0) if self.connections else None

    def add(self, connection: UpstreamConnection) -> None:
        """Keep a connection idle from now on."""
        self.connections.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP, self._sweep)

    def lose(self, connection: UpstreamConnection) -> bool:
        """A connection has ended by itself; whether it was one of these."""
        if connection not in self.connections:
            return False
        self.connections.remove(connection)
        if not self._closed:
            self._ended_ages.note(connection.idle_since, self._loop.time())
        return True

    def close(self) -> None:
        """End all of them; each is lost when its end has come."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in self.connections[:]:
            connection.abort()

    def _sweep(self) -> None:
        """Close what has been idle for too long, and what is idle beyond the limit."""
        self._sweeper = None
        now = self._loop.time()
        surplus = len(self.connections) - self._most
        for at, connection in enumerate(self.connections[:]):
            age = now - connection.idle_since
            if age > self._expiry or (at < surplus and age >= SWEEP):
                self.connections.remove(connection)
                self._discard(connection)
        if self.connections:
            self._sweeper = self._loop.call_later(SWEEP, self._sweep)
