"""A client whose bytes are not read for a while: nobody has asked for more, and enough wait already.

Who is not read is not heard either: its end would stay unseen for as long as the hold lasts. So the kernel is
asked for that now and then.
"""

import select
from asyncio import AbstractEventLoop, TimerHandle, Transport

from coregateway.net.read_budget import allowance

WATCH = 0.25
"""Seconds between two looks at whether a held client has left."""


class Hold:
    """Of one client connection; it begins and ends any number of times."""

    __slots__ = ("_ahead", "_loop", "_timer", "_transport", "lasts")

    def __init__(self, loop: AbstractEventLoop, transport: Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._timer: TimerHandle | None = None
        self._ahead = False
        self.lasts = False
        """Whether the client is not read at this moment."""

    def begin(self) -> None:
        """Read no more."""
        if not self.lasts:
            self.lasts = True
            self._transport.pause_reading()
            if self._timer is None:
                self._timer = self._loop.call_later(WATCH, self._look)

    def begin_ahead(self) -> None:
        """As `begin`, because much waits to be taken already; that counts as a stalled peer."""
        if not self._ahead:
            self._ahead = True
            allowance.stall()
        self.begin()

    def end(self) -> None:
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
            allowance.relieve()

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
