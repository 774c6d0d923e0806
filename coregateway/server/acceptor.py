"""Accepting more than one connection at a time.

uvloop accepts one connection per turn of its loop, as libuv 1.52 does; asyncio's own loop accepts all that
wait. On a busy worker a turn takes milliseconds, so that a thousand clients who come at once would wait for
seconds, each for those before it, while whoever is in already is served. So a connection that the loop has
accepted brings in others that wait behind it.
"""

from asyncio import AbstractEventLoop, BaseProtocol, Task
from collections.abc import Callable
from contextlib import suppress
from socket import IPPROTO_TCP, TCP_NODELAY, socket
from typing import Any

BURST = 32
"""Connections, at most, that are brought in at a time: those that are served already must not wait long."""


class Acceptor:
    """Brings in who waits at one listening socket. One per worker."""

    def __init__(self, listener: socket) -> None:
        self._listener = listener
        self._tasks: set[Task[Any]] = set()

    def bring(self, loop: AbstractEventLoop, protocol_factory: Callable[[], BaseProtocol]) -> None:
        """Accept up to `BURST` connections that wait, without waiting for any."""
        for _ in range(BURST):
            try:
                accepted, _ = self._listener.accept()
            except OSError:  # nobody waits, or there are no descriptors, or the socket was ended
                return
            accepted.setblocking(False)
            with suppress(OSError):  # not TCP, or gone already
                accepted.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            task = loop.create_task(self._take_over(loop, protocol_factory, accepted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _take_over(
        self, loop: AbstractEventLoop, protocol_factory: Callable[[], BaseProtocol], accepted: socket
    ) -> None:
        with suppress(OSError):  # it has left meanwhile
            await loop.connect_accepted_socket(protocol_factory, accepted)
