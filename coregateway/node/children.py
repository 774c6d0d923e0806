"""The processes of the workers that live, as the main process sees them.

There may be more than workers: one that is replaced drains while its successor serves.
"""

import re
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

from sanic.worker.constants import ProcessState
from sanic.worker.process import Worker, WorkerProcess

from coregateway.logs.events import event, writer
from coregateway.node.listeners import number_of
from coregateway.node.watchdog import Watchdog
from coregateway.shared_memory import Board

_WORKER = re.compile(rf"{Worker.WORKER_PREFIX}-{WorkerProcess.SERVER_LABEL}-\d+-\d+")


def is_worker(name: str) -> bool:
    """Whether Sanic calls a worker so, rather than a process beside them."""
    return _WORKER.fullmatch(name) is not None


def write_lines(lines: bytes) -> None:
    """Write the log lines that a process left behind."""
    for line in lines.splitlines(keepends=True):
        writer().write(line)


@dataclass(slots=True)
class Child:
    """A process of a worker. Its status was not collected yet, so that its id is no other's."""

    process: BaseProcess
    is_up: bool = False
    """Whether it has come up, ever."""
    has_part: bool = False
    """Whether it had a part of the shared memory, ever; one that comes when all are taken is not watched."""
    is_killed: bool = False
    """Whether it was killed because it did not end."""

    @property
    def number(self) -> int:
        """Of its worker."""
        return number_of(self.process.name)


class Children:
    """By their ids. `look` takes in which of them live."""

    def __init__(self, board: Board, notes: MutableMapping[str, Any], watchdog: float) -> None:
        """`notes`: Sanic's of its processes; `watchdog`: seconds that a worker may stand still, 0: any."""
        self._board = board
        self._notes = notes
        self._watchdog = Watchdog(watchdog)
        self._living: dict[int, Child] = {}
        self.has_come_up = False
        """Whether any of them ever has."""

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._living.values()))

    def __len__(self) -> int:
        return len(self._living)

    def is_up(self, pid: int | None) -> bool:
        """Whether the process lives and has come up."""
        return pid in self._living and self._living[pid].is_up

    def watch(self, limit: float) -> None:
        """From now on a worker may stand still for so many seconds; 0: any."""
        self._watchdog.limit = limit

    def look(self, living: Mapping[int, BaseProcess], now: float) -> None:
        """Take in the processes that live, and kill workers that stand still; `now` in monotonic seconds."""
        for pid in self._living.keys() - living.keys():
            write_lines(self._board.bury(pid))
        self._living = {
            pid: self._living.get(pid) or Child(process)
            for pid, process in living.items()
            if is_worker(process.name)
        }
        beats: dict[int, int] = {}
        for pid, child in self._living.items():
            part = self._board.part_of(pid)
            child.has_part = child.has_part or part is not None
            if not child.is_up:
                child.is_up = self._is_acknowledged(child) if part is None else part.beats > 0
            self.has_come_up = self.has_come_up or child.is_up
            if child.has_part or not child.is_up:
                beats[pid] = part.beats if part is not None else 0
        for pid in self._watchdog.look(now, beats):
            self._kill_silent(pid, self._living[pid])

    def kill(self) -> None:
        """Kill all of them."""
        for child in self:
            child.process.kill()

    def _is_acknowledged(self, child: Child) -> bool:
        """Whether a worker that has no part (yet) has told Sanic that it starts to serve."""
        return self._notes.get(child.process.name, {}).get("state") == ProcessState.ACKED.name

    def _kill_silent(self, pid: int, child: Child) -> None:
        what = "has a loop that does not turn" if child.is_up else "has not come up"
        event(
            "worker.hung" if child.is_up else "worker.late",
            level="ERROR",
            message=f"worker {child.number} {what}, for {self._watchdog.limit:g} s: it is killed",
            number=child.number,
            pid=pid,
        )
        child.process.kill()
