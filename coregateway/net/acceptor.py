"""Accepting the connections of clients, and making room for them.

uvloop accepts one connection per turn of its loop, as libuv 1.52 does. On a busy worker a turn takes
milliseconds, so that the last of a thousand clients that come at once would wait for seconds. And uvloop
accepts while the process has a descriptor left, which takes them from the upstreams. So the gateway accepts
itself, a burst in each turn. A newcomer beyond the room that there is (`node.descriptors`) takes the place of
the connection that has been idle for longest; while none is idle, newcomers wait in the kernel.
"""

import errno
from asyncio import AbstractEventLoop, Protocol, Transport
from collections.abc import Callable, Collection
from contextlib import suppress
from heapq import nsmallest
from operator import itemgetter
from socket import IPPROTO_TCP, TCP_NODELAY, socket
from typing import Protocol as Interface

from coregateway.net.sockets import duplicate

BURST = 32
"""Connections, at most, that are accepted in a turn: those that are served already must not wait long."""

RETRY = 0.1
"""Seconds between two looks for room, while there is none."""

WARN = 60.0
"""Seconds, at least, between two warnings of one kind."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_ENDED = frozenset({errno.EINVAL, errno.EBADF})


class Client(Interface):
    """A connection as the acceptor knows it."""

    @property
    def idle_since(self) -> float | None:
        """In monotonic seconds; None: it is in use, or has only just come."""
        ...

    def close(self) -> None: ...


class Acceptor:
    """Of one worker: accepts at its listening socket from `start` to `stop`."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        listener: socket,
        begin: Callable[[socket], None],
        clients: Collection[Client],
        room: int,
        warn: Callable[[str, str], None],
    ) -> None:
        """`begin` serves a connection, which is one of `clients` then and until it has ended.

        `room`: how many of them there may be. `warn` is told of a shortage: what it is called, and in words.
        """
        self._loop = loop
        self._listener = listener
        self._begin = begin
        self._clients = clients
        self._room = room
        self._tell = warn
        self._runs = False
        self._longest_idle: list[tuple[float, Client]] = []
        """The first to go last. Entries whose connection was used meanwhile do not count."""
        self._search_at = 0.0
        self._warn_at: dict[str, float] = {}
        self._recycled = 0

    def start(self) -> None:
        self._runs = True
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def stop(self) -> None:
        """Accept no more; the listening socket may be closed then."""
        if self._runs:
            self._runs = False
            self._loop.remove_reader(self._listener.fileno())

    def _accept(self) -> None:
        for _ in range(BURST):
            try:
                accepted, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._make_room()  # which is there in the next turn
                    self._pause()
                    return
                if error.errno in _ENDED:
                    self.stop()
                    return
                continue  # that one has left already
            accepted.setblocking(False)
            with suppress(OSError):  # not TCP, or gone already
                accepted.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            self._begin(accepted)
            if len(self._clients) > self._room and not self._make_room():
                self._pause()
                return

    def _pause(self) -> None:
        """Leave newcomers in the kernel for now."""
        self._loop.remove_reader(self._listener.fileno())
        self._loop.call_later(RETRY, self._resume)

    def _resume(self) -> None:
        if not self._runs:
            return
        if len(self._clients) < self._room or self._make_room():
            self._loop.add_reader(self._listener.fileno(), self._accept)
        else:
            self._loop.call_later(RETRY, self._resume)
            self._warn(
                "clients.waiting",
                f"no descriptor is free for clients and none of {len(self._clients)} connections is idle: "
                "newcomers wait",
            )

    def _make_room(self) -> bool:
        """Close the connection that has been idle for longest; False: none is."""
        while self._longest_idle or self._search():
            since, client = self._longest_idle.pop()
            if client.idle_since == since:
                client.close()
                self._recycled += 1
                self._warn(
                    "clients.recycled",
                    f"no descriptor is free for clients: {self._recycled} idle ones closed for newcomers",
                )
                return True
        return False

    def _search(self) -> bool:
        """Find those that have been idle for longest: enough of them that most newcomers need no search."""
        begun = self._loop.time()
        if begun < self._search_at:
            return False
        idle = [(since, client) for client in self._clients if (since := client.idle_since) is not None]
        self._longest_idle = nsmallest(max(BURST, len(idle) // 8), idle, key=itemgetter(0))[::-1]
        if not idle:
            # of a hundred thousand busy ones it takes long, and must not become all that this worker does
            self._search_at = begun + 20 * (self._loop.time() - begun)
        return bool(idle)

    def _warn(self, name: str, message: str) -> None:
        now = self._loop.time()
        if now >= self._warn_at.get(name, 0.0):
            self._warn_at[name] = now + WARN
            self._tell(name, message)


def take_over(transport: Transport) -> socket | None:
    """The connection that the loop has accepted, whose own transport ends; None: there is no descriptor."""
    accepted: socket | None = None
    with suppress(OSError):
        accepted = duplicate(transport)
        accepted.setblocking(False)
    transport.set_protocol(Protocol())
    transport.abort()
    return accepted
