"""One showing of the demo: two backends and the gateway, from the first process to the end of the last.

    bind both ports ─▶ start the backends ─▶ start the gateway ─▶ wait until all answer ─▶ greet
    ─▶ wait for a signal, or for the gateway to end ─▶ end the gateway, then the backends

Everything that is said here goes to stderr: stdout is the gateway's log.
"""

import shlex
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from threading import Event
from time import monotonic

from coregateway.demo.child import Child
from coregateway.demo.greeting import Running, gone, greeting, port_taken
from coregateway.demo.process import bound_socket

BACKENDS_HOST = "127.0.0.1"

ANSWER_TIME = 30.0
"""Seconds that a process may take until it answers."""

END_TIME = 30.0
"""Seconds after which a process is killed: more than the gateway's own time to drain."""

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
) -> int:
    """Show the gateway at work until SIGINT or SIGTERM; returns the exit status.

    Port 0 of a backend stands for any free port.
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
        return _show(host, port, workers, roles, told)
    except Abandoned as reason:
        _say(str(reason))
        return reason.status


def _show(host: str, port: int, workers: int, roles: tuple[Role, Role], told: Event) -> int:
    with ExitStack() as stack:  # ends the gateway first, then the backends, whatever happens
        backends = [_start_backend(role) for role in roles]
        for child, _ in backends:
            stack.callback(child.end, END_TIME)
        flags = [f"{role.flag}={running.port}" for role, (_, running) in zip(roles, backends, strict=True)]
        gateway = Child(
            "coregateway", ["run", f"--host={host}", f"--port={port}", f"--workers={workers}", *flags]
        )
        stack.callback(gateway.end, END_TIME)
        near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        for role, (child, running) in zip(roles, backends, strict=True):
            _wait_for_answer(child, BACKENDS_HOST, running.port, role.health_path, told)
        _wait_for_answer(gateway, near, port, "/readyz", told)
        if not told.is_set():
            url = f"http://[{near}]:{port}" if ":" in near else f"http://{near}:{port}"
            _say(greeting(url, workers, *(running for _, running in backends)))
        _watch(gateway, backends, told)
        return gateway.end(END_TIME)


def _start_backend(role: Role) -> tuple[Child, Running]:
    """Bind the port here, where it is known whose flag chooses another."""
    try:
        sock = bound_socket(BACKENDS_HOST, role.port)
    except (OSError, OverflowError):
        raise Abandoned(port_taken(role.name, BACKENDS_HOST, role.port, role.flag)) from None
    with sock:
        child = Child(role.module, ["--fd", str(sock.fileno())], inherited=[sock.fileno()])
        port = sock.getsockname()[1]
    again = shlex.join([sys.executable, "-m", role.module, "--port", str(port)])
    return child, Running(role.name, port, child.pid, again)


def _wait_for_answer(child: Child, host: str, port: int, path: str, told: Event) -> None:
    """Wait until a path answers 200. Raises `Abandoned` when the process ends, or takes too long."""
    give_up = monotonic() + ANSWER_TIME
    while not told.is_set():
        if child.status is not None:
            raise Abandoned("", child.status if child.status > 0 else 1)  # it said itself why
        if monotonic() > give_up:
            raise Abandoned(f"coregateway demo: no answer from {host}:{port}{path}\n")
        if _answers(host, port, path):
            return
        told.wait(TICK)


def _answers(host: str, port: int, path: str) -> bool:
    connection = HTTPConnection(host, port, timeout=2)
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
