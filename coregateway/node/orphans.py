"""What PID 1 of a container owes the processes there: to collect those that end without a parent.

A process whose parent has ended becomes a child of PID 1, and stays a zombie until its status is collected
(wait(2)). A child that this process has started itself is its starter's to collect, which takes moments:
only what stays a zombie for `PATIENCE` seconds counts as an orphan.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

LOOK = 1.0
"""Seconds between two looks for orphans."""

PATIENCE = 3.0
"""Seconds that a starter may take to collect its child."""


class Orphans:
    """Collects them, as PID 1; any other process has none."""

    def __init__(self) -> None:
        self.is_init = os.getpid() == 1
        self._zombies: dict[int, float] = {}
        """When each was seen first."""
        self._looked = 0.0

    def look(self, now: float, own: Collection[int]) -> list[int]:
        """Collect what has ended; returns the ids.

        `now` in monotonic seconds; `own`: the children that others collect.
        """
        if not self.is_init or now - self._looked < LOOK:
            return []
        self._looked = now
        self._zombies = {pid: self._zombies.get(pid, now) for pid in _zombies() if pid not in own}
        ended = [pid for pid, since in self._zombies.items() if now - since >= PATIENCE]
        for pid in ended:
            with suppress(ChildProcessError):  # its starter was first
                os.waitpid(pid, os.WNOHANG)
        return ended


def _zombies() -> Iterator[int]:
    """The children of this process that have ended and were not collected."""
    parent = str(os.getpid())
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            with suppress(OSError):  # it has just gone
                state, its_parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
                if state == "Z" and its_parent == parent:
                    yield int(path.name)
