"""What was written to a peer and is not taken yet.

The writer of a stream waits until all of it is taken; meanwhile the peer counts as stalled (`read_budget`).
The connection keeps the limit of time for that, and asks here when to look next: a peer that takes any bytes,
however slowly, is in time.
"""

from asyncio import AbstractEventLoop
from typing import Final
from typing import Protocol as Interface

from coregateway.net.deadline import RESOLUTION
from coregateway.net.notifier import Notifier
from coregateway.net.read_budget import ReadBudget

LOOKS: Final = 4
"""Looks at a peer within its limit: it has a quarter more than that at most, as no transport tells of each
byte that is taken."""


class Buffered(Interface):
    """A transport of either side."""

    def get_write_buffer_size(self) -> int: ...


class WriteBacklog:
    """Of one connection, whose `pause_writing` and `resume_writing` lead here.

    The transport must call them from the first byte on that is not taken: `set_write_buffer_limits(high=0)`.
    """

    __slots__ = ("_budget", "_emptied", "_loop", "_since", "_transport", "_unsent", "blocks")

    def __init__(self, loop: AbstractEventLoop, budget: ReadBudget, transport: Buffered) -> None:
        self._loop = loop
        self._budget = budget
        self._transport = transport
        self._unsent = 0
        self._since = 0.0
        self._emptied = Notifier(loop)
        self.blocks = False
        """Whether there is one, so that nothing else should be written."""

    def begin_stall(self) -> None:
        """The peer does not take all that was written."""
        if not self.blocks:
            self.blocks = True
            self._budget.stall()
        self._unsent = self._transport.get_write_buffer_size()
        self._since = self._loop.time()

    def end_stall(self) -> None:
        """The peer has taken everything."""
        self.blocks = False
        self._budget.relieve()

    def look(self, limit: float) -> float:
        """Seconds until the next look, 0.0 when the peer has taken nothing for `limit` seconds."""
        now = self._loop.time()
        unsent = self._transport.get_write_buffer_size()
        if unsent < self._unsent:
            self._unsent = unsent
            self._since = now
        left = self._since + limit - now
        return min(left, limit / LOOKS) if left > RESOLUTION else 0.0

    async def wait(self) -> None:
        """Wait for `wake`; one task may wait at a time."""
        await self._emptied.wait()

    def wake(self) -> None:
        """Let the waiting task look again: everything is taken, or the connection has failed."""
        self._emptied.notify()

    def drop(self) -> None:
        """The connection is gone, and what was not taken with it."""
        if self.blocks:
            self._budget.relieve()
