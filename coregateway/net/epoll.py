"""Which clients have sent something, a few of them at a time.

A loop tells of all sockets at once, so that a turn reads the requests of all who wait: of a thousand, most
would then stand in line for a connection of their backend, each with what was made for it, and when its turn
came its memory would have left the processor's nearer caches. Their bytes wait better in the kernel. So the
sockets of clients are watched by an epoll of their own, which the loop watches: each turn reads from a few of
them, in the order in which they came, and the answers of backends, of which the loop tells in every turn, are
passed on in between. That takes an eighth off the CPU time of a small request at 1,000 connections.
"""

import select
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Final

from mypy_extensions import mypyc_attr

MOST: Final = 32
"""Sockets that one turn of the loop tells of, per worker."""

IN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT


@mypyc_attr(allow_interpreted_subclasses=True)
class Watched:
    """A socket that a poll tells of."""

    __slots__ = ("descriptor", "events")

    descriptor: int
    events: int
    """What the poll tells of; 0: nothing at all. `Poll.watch` sets it."""

    def ready(self, events: int) -> None:
        """It has come to this: some of `events`, or the connection is broken."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """`ready` has failed by a defect of ours."""
        raise NotImplementedError

    def abort(self) -> None:
        """Nobody will tell of it any more: end it."""
        raise NotImplementedError


class Poll:
    """Of one worker, on one loop. `close` must follow."""

    __slots__ = ("_epoll", "_loop", "_take", "_watched")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._take: Callable[[float, int], list[tuple[int, int]]] = self._epoll.poll
        self._watched: list[Watched | None] = []
        """By their descriptors."""
        loop.add_reader(self._epoll.fileno(), self._tell)

    def watch(self, watched: Watched, events: int) -> None:
        """Tell of these events from now on. With 0 its descriptor may be closed."""
        before = watched.events
        if events == before:
            return
        watched.events = events
        if not before:
            known = self._watched
            known += [None] * (watched.descriptor + 1 - len(known))
            known[watched.descriptor] = watched
            self._epoll.register(watched.descriptor, events)
        elif events:
            self._epoll.modify(watched.descriptor, events)
        else:
            # Closing alone would not do: the socket may have another descriptor (`duplicate`).
            self._watched[watched.descriptor] = None
            self._epoll.unregister(watched.descriptor)

    def close(self) -> None:
        """End all that is watched; the loop is about to end, too."""
        self._loop.remove_reader(self._epoll.fileno())
        for watched in self._watched:
            if watched is not None:
                watched.abort()
        self._epoll.close()

    def _tell(self) -> None:
        known = self._watched
        for descriptor, events in self._take(0, MOST):
            watched = known[descriptor]
            if watched is None:  # it has ended in this turn
                continue
            try:
                watched.ready(events)
            except Exception as error:
                watched.fail(error)
