"""A command in processes of its own, with all that it starts, whatever sessions they are in. Linux only."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.node.running_node import ROOT, until

WAIT = 60.0
"""Seconds, at most, that a test waits for anything."""


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The surroundings' without settings of a gateway; the admin address is off."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("COREGATEWAY_")}
    # Make hands its own flags, and those of the tests' own run, to every make below it.
    own = {name: value for name, value in own.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    path = os.pathsep.join(filter(None, (str(ROOT), own.get("PYTHONPATH"))))
    return own | {"PYTHONPATH": path, "COREGATEWAY_ADMIN__ADDRESS": ""} | dict(extra)


def alive(pids: set[int]) -> set[int]:
    """Those that run; what has ended and was not waited for does not."""
    return pids & _parents().keys()


class RunningCommand:
    """A command in a session of its own, in a new directory unless another is given.

    Leaving the context kills it and everything that descends from it.
    """

    def __init__(
        self, command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self._files = tempfile.TemporaryDirectory(prefix="command-")
        with self._file("out").open("wb") as out, self._file("err").open("wb") as err:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=cwd or self._files.name,
                env=environment(env or {}),
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._files.cleanup()

    @property
    def stdout(self) -> str:
        return self._file("out").read_text("utf-8")

    @property
    def stderr(self) -> str:
        return self._file("err").read_text("utf-8")

    def log_lines(self, **fields: object) -> list[dict[str, Any]]:
        """The lines with these values; ValueError if a line that is complete is not JSON."""
        whole = self.stdout.rpartition("\n")[0].splitlines()
        return [line for line in map(json.loads, whole) if fields.items() <= line.items()]

    def processes(self) -> set[int]:
        """It and its descendants, as far as they are alive."""
        parents = _parents()
        found = {self.process.pid} & parents.keys()
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    def until[T](self, found: Callable[[], T], what: str) -> T:
        """Ask again until the answer is true, or the command has ended; its last value."""

        def look() -> T | bool:
            return found() or self.process.poll() is not None

        until(look, what, WAIT)
        value = found()
        assert value, (
            f"ended with {self.process.returncode}: {what}\n{self.stdout[-2000:]}{self.stderr[-2000:]}"
        )
        return value

    def wait(self, within: float = WAIT) -> int:
        """The exit status, negative for a signal."""
        return self.process.wait(within)

    def stop(self, number: int = signal.SIGTERM, within: float = WAIT) -> int:
        """Send a signal to its process alone, and wait for the exit status."""
        self.process.send_signal(number)
        return self.wait(within)

    def interrupt(self, within: float = WAIT) -> int:
        """What Ctrl-C in a terminal does: SIGINT to the whole process group; the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait(within)

    def _file(self, name: str) -> Path:
        return Path(self._files.name, name)


def _parents() -> dict[int, int]:
    """The parent of every process that runs."""
    found: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text("utf-8", "replace").rpartition(")")[2]
        except OSError:  # it has ended meanwhile
            continue
        state, parent, *_ = after_name.split()
        if state not in "ZX":
            found[int(path.parent.name)] = int(parent)
    return found
