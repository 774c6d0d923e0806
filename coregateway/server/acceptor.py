"""Accepting more than one connection at a time.

uvloop accepts one connection per turn of its loop, as libuv 1.52 does; asyncio's own loop accepts all that
wait. On a busy worker a turn takes milliseconds, so that a thousand clients who come at once would wait for
seconds, each for those before it, while whoever is in already is served. So a connection that the loop has
accepted brings in others that wait behind it.
"""

from asyncio import Protocol, Transport
from collections.abc import Iterator
from contextlib import suppress
from socket import IPPROTO_TCP, TCP_NODELAY, socket

from coregateway.duplicate import duplicate

BURST = 32
"""Connections, at most, that are brought in at a time: those that are served already must not wait long."""


class Acceptor:
    """Brings in who waits at one listening socket. One per worker."""

    def __init__(self, listener: socket) -> None:
        self._listener = listener

    def burst(self) -> Iterator[socket]:
        """Accept up to `BURST` connections that wait, without waiting for any."""
        for _ in range(BURST):
            try:
                accepted, _ = self._listener.accept()
            except OSError:  # nobody waits, or there are no descriptors, or the socket was ended
                return
            accepted.setblocking(False)
            with suppress(OSError):  # not TCP, or gone already
                accepted.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            yield accepted


def take_over(transport: Transport) -> socket | None:
    """The connection that the loop has accepted, whose own transport ends; None: there is no descriptor."""
    try:
        accepted = duplicate(transport)
    except OSError:
        accepted = None
    else:
        accepted.setblocking(False)
    transport.set_protocol(Protocol())
    transport.abort()
    return accepted
