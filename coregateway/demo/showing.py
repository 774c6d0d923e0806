"""One showing of the demo: two backends and the gateway, from the first process to the end of the last.

    claim all ports ─▶ start the backends ─▶ start the gateway ─▶ wait until all answer ─▶ greet
    ─▶ wait for a signal, or for the gateway to end ─▶ end the gateway, then the backends

Everything that is said here goes to stderr: stdout is the gateway's log.
"""

import os
import shlex
import signal
import ssl
import sys
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from socket import socket
from threading import Event
from time import monotonic

from coregateway.demo.certificate import NoCryptography, certificate_file
from coregateway.demo.child import Child
from coregateway.demo.greeting import Running, gone, greeting, no_port
from coregateway.demo.process import bound_socket
from coregateway.settings.cpus import usable_cpus

BACKENDS_HOST = "127.0.0.1"

ANSWER_TIME = 30.0
"""Seconds that a process may take until it answers."""

END_TIME = 30.0
"""Seconds after which a process is killed: more than the gateway's own time to drain."""

UNLESS_GIVEN = {
    # a live stream that is being watched must not hold Ctrl-C up
    "COREGATEWAY_SHUTDOWN__GRACE": "2",
    "COREGATEWAY_DASHBOARD__ON_MAIN_PORT": "true",
}
"""Settings of the demo's gateway, unless the surroundings say otherwise."""

TICK = 0.1
"""Seconds between two looks at the processes."""


@dataclass(frozen=True, slots=True)
class Role:
    """A demo backend before it runs."""

    name: str
    port: int
    health_path: str

    @property
    def module(self) -> str:
        return f"coregateway.demo.{self.name}"

    @property
    def flag(self) -> str:
        return f"--{self.name}-port"


class Abandoned(Exception):
    """The demo cannot go on; the text is for the user. `status`: the exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def main(
    *,
    host: str = "0.0.0.0",
    port: int = 8001,
    workers: int = 2,
    coredinator_port: int = 7000,
    coretelemetry_port: int = 7001,
    tls: bool = False,
) -> int:
    """Show the gateway at work until SIGINT or SIGTERM; returns the exit status.

    Port 0 stands for any free port. `tls`: with a certificate that is made for this.
    """
    roles = (
        Role("coredinator", coredinator_port, "/api/healthcheck"),
        Role("coretelemetry", coretelemetry_port, "/health"),
    )
    told = Event()

    def stop(*_: object) -> None:
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        with certificate_file() if tls else nullcontext() as certificate:
            return _show(host, port, workers, roles, told, certificate)
    except NoCryptography as reason:
        _say(f"coregateway demo: {reason}\n")
        return 1
    except Abandoned as reason:
        _say(str(reason))
        return reason.status


def _show(
    host: str, port: int, workers: int, roles: tuple[Role, Role], told: Event, certificate: Path | None
) -> int:
    with _claim("the gateway", host, port, "--port") as sock:
        # Free at this moment: a taken port is told before anything starts, and by its flag.
        port = sock.getsockname()[1]
    with ExitStack() as stack:  # ends the gateway first, then the backends, whatever happens
        backends: list[tuple[Child, Running]] = []
        for role in roles:
            backends.append(_start_backend(role))
            stack.callback(backends[-1][0].end, END_TIME)
        flags = [f"{role.flag}={running.port}" for role, (_, running) in zip(roles, backends, strict=True)]
        flags += [f"--host={host}", f"--port={port}", f"--workers={workers}"]
        secured = {} if certificate is None else {"COREGATEWAY_TLS__CERT": str(certificate)}
        gateway = Child("coregateway", ["run", *flags], environment=UNLESS_GIVEN | os.environ | secured)
        stack.callback(gateway.end, END_TIME)
        near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        for role, (child, running) in zip(roles, backends, strict=True):
            _wait_for_answer(child, BACKENDS_HOST, running.port, role.health_path, told)
        _wait_for_answer(gateway, near, port, "/readyz", told, secured=certificate is not None)
        if not told.is_set():
            scheme = "http" if certificate is None else "https"
            url = f"{scheme}://[{near}]:{port}" if ":" in near else f"{scheme}://{near}:{port}"
            workers = workers or usable_cpus()  # as the settings take 0
            shown = "" if certificate is None else shlex.quote(str(certificate))
            _say(greeting(url, workers, *(running for _, running in backends), certificate=shown))
        _watch(gateway, backends, told)
        status = gateway.end(END_TIME)
        # Asked so early that it could not hear it yet, it ends by the signal itself.
        return 0 if status in (0, -signal.SIGTERM) else 1


def _claim(name: str, host: str, port: int, flag: str) -> socket:
    """Bind a port here, where it is known whose flag chooses another. Raises `Abandoned`."""
    try:
        return bound_socket(host, port)
    except OSError as error:
        reason = error.strerror or str(error)
    except (OverflowError, UnicodeError) as error:  # no port, no name of a host
        reason = str(error)
    raise Abandoned(no_port(name, host, port, flag, reason))


def _start_backend(role: Role) -> tuple[Child, Running]:
    with _claim(role.name, BACKENDS_HOST, role.port, role.flag) as sock:
        child = Child(role.module, ["--fd", str(sock.fileno())], inherited=[sock.fileno()])
        port = sock.getsockname()[1]
    again = shlex.join([sys.executable, "-m", role.module, "--port", str(port)])
    return child, Running(role.name, port, child.pid, again)


def _wait_for_answer(
    child: Child, host: str, port: int, path: str, told: Event, *, secured: bool = False
) -> None:
    """Wait until a path answers 200. Raises `Abandoned` when the process ends, or takes too long."""
    give_up = monotonic() + ANSWER_TIME
    while not told.is_set():
        if child.status is not None:
            raise Abandoned("", child.status if child.status > 0 else 1)  # it said itself why
        if monotonic() > give_up:
            raise Abandoned(f"coregateway demo: no answer from {host}:{port}{path}\n")
        if _answers(host, port, path, secured):
            return
        told.wait(TICK)


def _answers(host: str, port: int, path: str, secured: bool) -> bool:
    connection = HTTPConnection(host, port, timeout=2)
    if secured:
        # that it answers is all that is asked: what it shows is for the names of this machine alone
        context = ssl._create_unverified_context()  # noqa: S323  # pyright: ignore[reportPrivateUsage] -- public in all but its name
        connection = HTTPSConnection(host, port, timeout=2, context=context)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _watch(gateway: Child, backends: list[tuple[Child, Running]], told: Event) -> None:
    """Until it is told to stop: say which backend has ended. Raises `Abandoned` when the gateway has."""
    missing: set[str] = set()
    while not told.wait(TICK):
        if gateway.status is not None:
            raise Abandoned("coregateway demo: the gateway has ended\n", 1)
        for child, running in backends:
            if child.status is not None and running.name not in missing:
                missing.add(running.name)
                _say(gone(running))


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
