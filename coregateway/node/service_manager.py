"""What systemd, or another service manager that speaks its protocol, is told and gives.

It is told that the node is ready, reloads, stops, and that the main process still watches (sd_notify(3)). It
may give sockets that listen already (sd_listen_fds(3)). The variables for both are taken out of the
environment, for the processes of the node are not meant by them.
"""

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic_ns

FIRST_PASSED = 3
"""The number of the first descriptor that a service manager passes."""

ADMIN = "admin"
"""The name of the passed socket that is the admin address (`FileDescriptorName=` in systemd.socket(5))."""


CLEAR = "http"
"""The name of the one that is `tls.http_port`."""

_PURPOSES = {ADMIN: "the admin address", CLEAR: "tls.http_port"}


class WrongSocket(Exception):
    """A socket that was passed is of no use; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class PassedSockets:
    """What was passed; None: listen as the settings say."""

    clients: socket.socket | None = None
    admin: socket.socket | None = None
    clear: socket.socket | None = None


class ServiceManager:
    """It that started this node; without one, nothing is done.

    `state` is sent as it changes: "" at first, then `READY=1`, `RELOADING=1` or `STOPPING=1`.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        """`address`: of its socket, `@` for the abstract namespace; empty: none. `watchdog`: seconds after
        which it ends a service that has not been heard of; 0: never."""
        self._address = address.replace("@", "\0", 1) if address.startswith("@") else address
        self._pause = watchdog / 2
        self._beat_at = 0.0
        self._state = ""

    def look(self, now: float, *, ready: bool, reloads: bool = False, stops: bool = False) -> None:
        """Tell what has changed, and that the caller lives; `now` in monotonic seconds.

        A node that was ready and is not for a moment, as a worker of it is replaced, stays ready: the manager
        knows no way back.
        """
        if not self._address:
            return
        if stops:
            self._enter("STOPPING=1")
        elif reloads and self._state:
            self._enter("RELOADING=1")
        elif ready or self._state == "RELOADING=1":
            self._enter("READY=1")
        if self._pause and now >= self._beat_at:
            self._beat_at = now + self._pause
            self._send("WATCHDOG=1")

    def _enter(self, state: str) -> None:
        if state != self._state:
            self._state = state
            # Both in one datagram, as the manager orders what it hears by that time (sd_notify(3)).
            since = f"\nMONOTONIC_USEC={monotonic_ns() // 1000}" if state == "RELOADING=1" else ""
            self._send(state + since)

    def _send(self, text: str) -> None:
        # A manager that takes nothing is no reason to stop: the node serves on, as without one.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(self._address)
            sock.send(text.encode())


def service_manager(environ: MutableMapping[str, str] = os.environ) -> ServiceManager:
    """The one of this process, which takes its variables out of the environment."""
    address = environ.pop("NOTIFY_SOCKET", "")
    microseconds = environ.pop("WATCHDOG_USEC", "")
    meant = environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return ServiceManager(address, int(microseconds) / 1e6 if meant and microseconds.isdecimal() else 0.0)


def passed_sockets(environ: MutableMapping[str, str] = os.environ) -> PassedSockets:
    """The sockets that were passed to this process, whose variables are taken out of the environment.

    Raises:
        WrongSocket: one is no TCP socket that listens, or there are more than one for clients.
    """
    meant = environ.pop("LISTEN_PID", "") == str(os.getpid())
    count = environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if not meant or not count.isdecimal():
        return PassedSockets()
    found: dict[str, socket.socket] = {}
    for number in range(int(count)):
        named = names[number] if number < len(names) else ""
        name = named if named in _PURPOSES else "clients"
        if name in found:
            raise WrongSocket(f"the service manager has passed more than one socket for {_who(name)}")
        found[name] = _listening(FIRST_PASSED + number, name)
    return PassedSockets(found.get("clients"), found.get(ADMIN), found.get(CLEAR))


def _listening(descriptor: int, name: str) -> socket.socket:
    wrong = f"the socket that the service manager has passed for {_who(name)} is no TCP socket that listens"
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        raise WrongSocket(wrong) from None
    is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
    if not is_tcp or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise WrongSocket(wrong)
    os.set_inheritable(descriptor, False)
    sock.setblocking(False)
    return sock


def _who(name: str) -> str:
    return _PURPOSES.get(name, name)
