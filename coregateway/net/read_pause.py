"""A pause in reading a client: no more of its bytes are asked for, and enough wait already.

A paused transport cannot see a disconnect, so the kernel is asked for it now and then.
"""

import select
from asyncio import AbstractEventLoop, TimerHandle
from typing import Any
from typing import Protocol as Interface

from coregateway.net.read_budget import ReadBudget

WATCH = 0.25
"""Seconds between two looks at whether a client has left that is not read."""


class Pausable(Interface):
    """A transport, as a pause needs it."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool: ...
    def abort(self) -> None: ...
    def get_extra_info(self, name: str) -> Any: ...


class ReadPause:
    """Of one client connection; it begins and ends any number of times."""

    __slots__ = ("_ahead", "_budget", "_loop", "_timer", "_transport", "lasts")

    def __init__(self, loop: AbstractEventLoop, budget: ReadBudget, transport: Pausable) -> None:
        self._loop = loop
        self._budget = budget
        self._transport = transport
        self._timer: TimerHandle | None = None
        self._ahead = False
        self.lasts = False
        """Whether the client is not read at this moment."""

    def pause(self) -> None:
        """Read no more."""
        if not self.lasts:
            self.lasts = True
            self._transport.pause_reading()
            if self._timer is None:
                self._timer = self._loop.call_later(WATCH, self._look)

    def pause_ahead(self) -> None:
        """As `pause`, because much waits to be taken already; that counts as a stalled peer."""
        if not self._ahead:
            self._ahead = True
            self._budget.stall()
        self.pause()

    def resume(self) -> None:
        """Read on."""
        self.lasts = False
        self._relieve()
        self._transport.resume_reading()

    def close(self) -> None:
        """The connection is gone."""
        self._relieve()
        if self._timer is not None:
            self._timer.cancel()

    def _relieve(self) -> None:
        if self._ahead:
            self._ahead = False
            self._budget.relieve()

    def _look(self) -> None:
        self._timer = None
        if not self.lasts or self._transport.is_closing():
            return
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        if poll.poll(0):
            self._transport.abort()
        else:
            self._timer = self._loop.call_later(WATCH, self._look)
