"""The last seconds of connections that the gateway ends: closed for writing, read on for a while.

To close a socket with unread bytes in it makes the kernel reset the connection, which would destroy an answer
that is still on its way; and most client libraries read no answer before they have sent their whole request.
So the gateway drops what the client sends after its answer, whatever its size, for `timeouts.linger` seconds
at most (RFC 9112 §9.6).

What a client can make that cost is bounded: a worker keeps `MOST` such connections, and one more ends the one
that has lingered longest; a turn of the loop drops 256 KiB of one of them at most, which the kernel does
without a copy; the client's own end is the connection's at once; a drain leaves `DRAIN` seconds; and where
descriptors run out, newcomers take theirs as those of idle connections.
"""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from typing import Final

MOST: Final = 1000
"""Connections that linger at a time, per worker. Each holds a descriptor and some KiB, like an idle one."""

DRAIN: Final = 2.0
"""Seconds, at most, that a connection still lingers while its worker drains."""


class LingeringClose:
    """Of one connection. It calls `close` once: when the client has had its time, or there are too many."""

    __slots__ = ("_all", "_close", "_loop", "_timer")

    def __init__(
        self,
        loop: AbstractEventLoop,
        others: "LingeringConnections",
        close: Callable[[], None],
        seconds: float,
    ) -> None:
        """`others`: the connections of the worker that linger; the oldest of them makes room if need be."""
        self._loop = loop
        self._all = others
        self._close = close
        self._timer: TimerHandle = loop.call_later(seconds, self.expire)
        others.add(self)

    def expire(self) -> None:
        """The client has had its time."""
        self.cancel()
        self._close()

    def hurry(self) -> None:
        """The worker drains: end in `DRAIN` seconds."""
        self._loop.call_later(DRAIN, self.expire)

    def cancel(self) -> None:
        """The connection is gone."""
        self._timer.cancel()
        self._all.discard(self)


class LingeringConnections:
    """The connections of one worker that linger, in the order in which they began."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        self._all: dict[LingeringClose, None] = {}

    @property
    def count(self) -> int:
        return len(self._all)

    def add(self, lingering: LingeringClose) -> None:
        """One more; the one that has lingered longest makes room for it."""
        if len(self._all) >= MOST:
            next(iter(self._all)).expire()
        self._all[lingering] = None

    def discard(self, lingering: LingeringClose) -> None:
        self._all.pop(lingering, None)
