"""A node of `node_app` in processes of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
TARGET = "tests.node.node_app:app"
WAIT = 60.0
"""Seconds, at most, that a test waits for anything."""


def until[T](found: Callable[[], T], what: str, within: float = WAIT) -> T:
    """Ask again until the answer is true; its last value."""
    end = time.monotonic() + within
    while not (value := found()):
        assert time.monotonic() < end, f"not within {within} s: {what}"
        time.sleep(0.01)
    return value


def group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


class RunningNode:
    """`sanic tests.node.node_app:app` with arguments, on a free port, in a session of its own.

    Seconds: `start` that a worker takes longer to start, `stagger` that each takes longer than the one
    before, `watchdog`, and those of `[shutdown]`; `start_limit` that a worker may still start after a stop
    signal, and `longest_pause` between a death and the next start (0: as a gateway has them). `stumbles`:
    what the first processes of workers do in place of coming up, one after the other, in words of
    `node_app.stumble`. `command`: what runs it all.
    """

    def __init__(
        self,
        *arguments: str,
        port: int = 0,
        start: float = 0.0,
        stagger: float = 0.0,
        delay: float = 0.3,
        grace: float = 5.0,
        watchdog: float = 0.0,
        start_limit: float = 0.0,
        longest_pause: float = 0.0,
        stumbles: Sequence[str] = (),
        command: Sequence[str] = (),
    ) -> None:
        self._files = tempfile.TemporaryDirectory(prefix="node-")
        command = [*command, sys.executable, "-m", "sanic", TARGET, "--port", str(port), *arguments]
        times = {"START": start, "STAGGER": stagger, "DELAY": delay, "GRACE": grace, "WATCHDOG": watchdog}
        times |= {"START_LIMIT": start_limit, "LONGEST_PAUSE": longest_pause}
        environ = {f"NODE_{name}": str(value) for name, value in times.items()}
        environ["NODE_STUMBLES"] = " ".join(stumbles)
        environ["NODE_STARTS"] = str(self._file("starts"))
        with self._file("out").open("wb") as out, self._file("err").open("wb") as err:
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=err,
                cwd=ROOT,
                env=os.environ | environ,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._files.cleanup()

    def _file(self, name: str) -> Path:
        return Path(self._files.name, name)

    @property
    def stderr(self) -> str:
        return self._file("err").read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of an event. Every line that is complete must be JSON."""
        whole = self._file("out").read_text().rpartition("\n")[0].splitlines()
        return [line for line in map(json.loads, whole) if line["event"] == name]

    def event(self, name: str) -> dict[str, Any]:
        """The first line of an event, once it is there."""
        return until(lambda: self.events(name), f"event {name}: {self.stderr}")[0]

    @property
    def port(self) -> int:
        return self.event("test.listening")["port"]

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=WAIT)

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of the answer on a connection of its own."""
        connection = self.connect()
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def ready(self) -> Self:
        """Wait until the whole node serves."""
        until(self._is_ready, "ready")
        return self

    def _is_ready(self) -> bool:
        try:
            return self.get("/readyz")[0] == 200
        except ConnectionError:  # a worker that is replaced meanwhile takes its connections with it
            return False

    def pids(self) -> list[int]:
        """The workers' processes, by number."""
        return [worker["pid"] for worker in json.loads(self.get("/workers")[1])]

    def group(self) -> list[int]:
        """All processes that were started with it or by it."""
        everyone = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
        return [pid for pid in everyone if group_of(pid) == self.process.pid]

    def refuses(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=WAIT).close()
        except (ConnectionRefusedError, ConnectionResetError):  # the socket may end between the two
            return True
        return False

    def status(self) -> int:
        """The exit status of the main process, once it has ended."""
        return self.process.wait(WAIT)
