"""Bytes that leave at the end of a turn of the loop, all of them one after the other.

To write to a peer that sleeps wakes it, which costs the writer some microseconds; a peer that was woken by
the write before is still awake at the next. Requests and responses that are served at once therefore wait
until all else that had come is read: 11 to 20 % less CPU time per small request at 50 connections.

Whoever has to have done something before they leave, and would rather do it once for all of them, asks for
that, too: `first`.
"""

from asyncio import Transport, get_running_loop
from collections.abc import Callable
from typing import Final

from coregateway.http1.reader import Piece

MOST: Final = 32
"""Writes that wait for each other, so that the first of them never waits for long."""


class Outbox:
    """Of one worker. What was given to it leaves before anything that the loop is asked for afterwards."""

    __slots__ = ("_first", "_waiting", "turns")

    def __init__(self) -> None:
        self._first: list[Callable[[], None]] = []
        self._waiting: list[tuple[Transport, bytes | list[Piece]]] = []
        self.turns = 0
        """How often anything has left."""

    def write(self, transport: Transport, data: bytes | list[Piece]) -> None:
        """Let these bytes leave soon; nothing else must be written to the transport before.

        Pieces leave in one system call, and nobody copies them together.
        """
        waiting = self._waiting
        waiting.append((transport, data))
        if len(waiting) == 1:
            if not self._first:
                get_running_loop().call_soon(self.flush)
        elif len(waiting) >= MOST:
            self.flush()

    def first(self, call: Callable[[], None]) -> None:
        """Have this called once, at the end of this turn, before anything leaves that waits then."""
        if not (self._first or self._waiting):
            get_running_loop().call_soon(self.flush)
        self._first.append(call)

    def flush(self) -> None:
        """Let everything leave now."""
        self.turns += 1
        if self._first:
            calls, self._first = self._first, []
            for call in calls:
                call()
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if transport.is_closing():
                continue
            if isinstance(data, list):
                transport.writelines(data)
            else:
                transport.write(data)


outbox: Final = Outbox()
"""This worker's."""
