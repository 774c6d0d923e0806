"""Listening sockets that several workers share.

The main process binds one listening socket per worker, all on one address (SO_REUSEPORT), and keeps them for
as long as it lives; each worker gets its own. So the kernel spreads connections over the workers, the
connections of a worker that died wait in its backlog for the next one, and a reload never closes the port.
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.reduction import DupFd
from typing import Any

from coregateway.net.sockets import limit_unsent

BACKLOG = 2048
"""Connections that may wait to be accepted, per worker. The kernel's `net.core.somaxconn` caps it."""


class CannotListen(Exception):
    """No listening socket on an address; the text is for the operator."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        reason = error.strerror or str(error)
        super().__init__(f"cannot listen on {authority}: {reason[:1].lower()}{reason[1:]}")


class Listeners(socket.socket):
    """The listening socket of the first worker and, in the main process, the others behind it.

    It goes to Sanic as the one socket that it serves on. Pickled for a worker that is being started, it
    becomes that worker's own socket.
    """

    others: tuple[socket.socket, ...] = ()
    """In the main process: the sockets of the workers 1, 2, …"""

    clear: "Listeners | None" = None
    """Of a port in the clear beside one that speaks TLS."""

    admin: socket.socket | None = None
    """The listening socket of the admin address, one for all workers."""

    passed: bool = False
    """Whether a service manager has passed it, which keeps it: then it is never ended, and connections that
    come meanwhile wait in it for the next start."""

    def shutdown(self, how: int) -> None:
        """As a socket's, unless it was passed: Sanic does this at the end of the main process."""
        if not self.passed:
            super().shutdown(how)

    def of(self, worker: int) -> socket.socket:
        """The socket of a worker. Workers that were added later share those of the first ones."""
        return (self, *self.others)[worker % (len(self.others) + 1)]

    def __reduce__(self) -> tuple[Callable[..., "Listeners"], tuple[Any, ...]]:
        admin = self.admin and _handed_on(self.admin)
        return _inherit, (_handed_on(self.of(worker_number())), self.clear, admin, self.passed)

    @property
    def ports(self) -> tuple[tuple[socket.socket, ...], ...]:
        """In the main process: the sockets of each port for clients, by worker."""
        own = (self, *self.others)
        return (own,) if self.clear is None else (own, (self.clear, *self.clear.others))

    def end(self, worker: int = 0) -> None:
        """As `end`, of a worker's sockets that no process is to accept from any more."""
        for sockets in self.ports:
            end(sockets[worker % len(sockets)])


def end(listener: socket.socket) -> None:
    """Refuse connections from now on, in every process that has this socket.

    Closing would not do: the main process holds the socket too, and the kernel would go on completing
    handshakes that no process accepts. What waits in the backlog is reset.
    """
    with suppress(OSError):  # it was ended meanwhile
        # Shut down twice, it would hand the end on to its connections, should it ever listen again.
        if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            listener.shutdown(socket.SHUT_RDWR)


def listen(host: str, port: int, workers: int = 1) -> Listeners:
    """Listening sockets for as many workers, on one address; port 0 gives all of them the same free port.

    Raises:
        CannotListen: the address is taken, by another gateway as well, or is none of this host's.
    """
    listeners = Listeners(fileno=_listen_alone(host, port).detach())
    # Only now: until here the socket had to be alone on its address, and it keeps out every newcomer that
    # begins like this. A second gateway of the same user would otherwise take a share of the connections.
    listeners.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    address = listeners.getsockname()
    try:
        listeners.others = tuple(_listen_beside(listeners.family, address) for _ in range(1, workers))
    except OSError as error:
        listeners.close()
        raise CannotListen(host, port, error) from None
    return listeners


def adopt(sock: socket.socket) -> Listeners:
    """A socket that listens already, which a service manager has passed, for all workers."""
    limit_unsent(sock)
    listeners = Listeners(sock.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=sock.detach())
    listeners.setblocking(False)
    listeners.passed = True
    return listeners


def listen_for_admin(host: str, port: int) -> socket.socket:
    """The listening socket of the admin address, for `Listeners.admin`.

    Raises:
        CannotListen: as `listen`.
    """
    return _listen_alone(host, port)


def worker_number() -> int:
    """Which worker this process is or, in the main process, which one it is starting: 0, 1, …"""
    name = os.environ.get("SANIC_WORKER_NAME")
    return number_of(name) if name else 0


def number_of(name: str) -> int:
    """The number of the worker that Sanic calls so: `Sanic-Server-3-0` has 3."""
    return int(name.split("-")[2])


def _listen_alone(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
        return _listen(_tcp(family), address)
    except OSError as error:
        raise CannotListen(host, port, error) from None


def _listen_beside(family: int, address: Any) -> socket.socket:
    sock = _tcp(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return _listen(sock, address)


def _tcp(family: int) -> socket.socket:
    # asyncio sets TCP_NODELAY only on connections of sockets whose protocol is named
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    limit_unsent(sock)
    # the last gateway's connections in TIME_WAIT do not count
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock


def _listen(sock: socket.socket, address: Any) -> socket.socket:
    try:
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _handed_on(sock: socket.socket) -> tuple[Any, int]:
    return DupFd(sock.fileno()), sock.family


def _inherit(
    own: tuple[Any, int], clear: Listeners | None, admin: tuple[Any, int] | None, passed: bool
) -> Listeners:
    handle, family = own
    listeners = Listeners(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=handle.detach())
    listeners.passed = passed
    listeners.clear = clear
    listeners.admin = admin and _taken(*admin)
    return listeners


def _taken(handle: Any, family: int) -> socket.socket:
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=handle.detach())
