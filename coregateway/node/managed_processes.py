"""The processes that Sanic's manager knows, and those of them that are no workers of the gateway.

The latter are Sanic's own (reloader, inspector), and those that users have it manage (`app.manager.manage`).
They take signals as any process does, and end after the workers.
"""

import os
import signal
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Protocol, cast

from sanic.worker.constants import ProcessState
from sanic.worker.manager import WorkerManager
from sanic.worker.process import Worker

from coregateway.node.children import is_worker
from coregateway.node.process_signals import hold_signals, release_signals

LIMIT = 3.0
"""Seconds that they may take to end."""


class Process(Protocol):
    """What is used of Sanic's `WorkerProcess`, which leaves most of it untyped."""

    name: str
    state: ProcessState

    @property
    def pid(self) -> int | None: ...
    @property
    def exitcode(self) -> int | None: ...
    def is_alive(self) -> bool: ...
    def start(self) -> None: ...
    def restart(self) -> None: ...
    def set_state(self, state: ProcessState, force: bool = False) -> None: ...


def processes_of(manager: WorkerManager) -> list[tuple[Worker, Process]]:
    """All that the manager knows: workers, and others beside them."""
    return [(worker, cast(Process, process)) for worker in manager.workers for process in worker.processes]


class ManagedProcesses:
    """Those that are no workers. Seconds are those since the node was told to stop."""

    def __init__(self, manager: WorkerManager) -> None:
        self._manager = manager
        self._told_at: float | None = None

    def _all(self) -> list[Process]:
        return [process for _, process in processes_of(self._manager) if not is_worker(process.name)]

    @property
    def any_lives(self) -> bool:
        """Whether one of them has not ended."""
        return any(process.is_alive() for process in self._all())

    def see_out(self, living: Mapping[int, BaseProcess], elapsed: float) -> None:
        """Tell them to end, and kill what does not in its time. `living`: children of this process, by id."""
        pids = [process.pid or 0 for process in self._all()]
        lasting = [living[pid] for pid in pids if pid in living]
        if self._told_at is None and lasting:
            self._told_at = elapsed
            for process in lasting:
                os.kill(process.pid or 0, signal.SIGINT)  # as Sanic does
        elif self._told_at is not None and elapsed - self._told_at > LIMIT:
            for process in lasting:
                process.kill()


def let_take_signals(worker: Worker) -> None:
    """Have processes that are none of the gateway's workers take signals from each of their starts on."""
    for process in cast(set[Process], worker.processes):
        if not is_worker(process.name):
            vars(process)["start"] = partial(_start_ordinarily, process.start)


def _start_ordinarily(start: Callable[[], None]) -> None:
    with _ordinary_signals():
        start()


@contextmanager
def _ordinary_signals() -> Generator[None]:
    """Take signals for a moment, so that a process which is no worker can take them from its start."""
    release_signals()
    try:
        yield
    finally:
        hold_signals()
