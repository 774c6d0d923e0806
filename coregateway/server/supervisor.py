"""The main process's watch over its workers: it starts again those that died, and ends all at a stop signal.

Sanic does neither well by itself. It marks a dead worker FAILED and leaves it; a signal that comes while
workers start makes it spin; and a signal to the whole process group, as Ctrl-C is, hits processes that are
not prepared for it. So the stop signals are blocked in the main process (`hold_signals`), hence from their
first moment on in all processes that it starts, and a thread of the main process waits for them.
"""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from multiprocessing import active_children, resource_tracker
from threading import Thread
from time import monotonic
from typing import NoReturn, Protocol, cast

from sanic.worker.constants import ProcessState
from sanic.worker.manager import WorkerManager
from sanic.worker.process import Worker

from coregateway.logs import event, sink
from coregateway.server.listeners import Listeners, end, number_of
from coregateway.server.node import MAIN, STATE_KEEPER, Node, State
from coregateway.shared import Board

STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})

TICK = 0.1
"""Seconds between two looks at the workers."""

START_LIMIT = 10.0
"""Seconds that workers which are still starting may take to do so after a stop signal."""

IMPATIENCE = 1.0
"""Seconds after the first stop signal from which on another one ends everything at once. Before, it is the
same one come twice: `timeout` and some supervisors signal the process and its group."""

LONG_LIFE = 60.0
"""Seconds of life after which a worker's earlier deaths do not count any more."""

LONGEST_PAUSE = 30.0
"""Seconds, at most, between a worker's death and its restart."""


def hold_signals() -> None:
    """Block the stop signals in this thread, and in the processes and threads that it starts from now on."""
    resource_tracker.ensure_running()  # which would unblock them when it is started later, by the first child
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def release_signals() -> None:
    """Let a process that is ready for them have the stop signals again."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def pause_before_restart(deaths: int) -> float:
    """Seconds to wait after so many deaths in a row, the last one included: 0, 1, 2, 4, … 30."""
    # without the lesser of the two, a day of deaths would be more than a float holds
    return min(2.0 ** (min(deaths, 10) - 2), LONGEST_PAUSE) if deaths > 1 else 0.0


def deaths_in_a_row(before: int, lived: float) -> int:
    """How many there are with that of a process that has lived so many seconds."""
    return 1 if lived >= LONG_LIFE else before + 1


def write_last_lines(board: Board) -> None:
    """Write the log lines of workers that did not live to do so; for the end of the main process."""
    for part in board.parts:
        if not part.living:
            _write_lines(part.pending.take())


def _write_lines(lines: bytes) -> None:
    for line in lines.splitlines(keepends=True):
        sink().write(line)


class Process(Protocol):
    """What is used of Sanic's `WorkerProcess`, which leaves most of it untyped."""

    name: str
    state: ProcessState

    @property
    def pid(self) -> int | None: ...
    @property
    def exitcode(self) -> int | None: ...
    def is_alive(self) -> bool: ...


@dataclass(slots=True)
class Life:
    """What is known of a worker: its present process, and the deaths in a row before."""

    pid: int | None
    since: float
    deaths: int = 0
    restart_at: float | None = None
    """When to start it again; None while it lives, infinite once that was asked for."""


class Supervisor:
    """The thread that watches. Its clock is the monotonic one."""

    def __init__(self, manager: WorkerManager, board: Board, listeners: Listeners | None) -> None:
        self._manager = manager
        self._board = board
        self._node = Node(board)
        self._listeners = listeners
        self._lives: dict[str, Life] = {}
        self._stopped_at: float | None = None
        self._monitoring = (
            False  # whether the manager reads its messages, which it does when all have started
        )
        self._told = False  # whether it was told to end

    def start(self) -> None:
        """Begin to watch; from now on the stop signals work."""
        self._node.enter(MAIN, State.STARTING, os.getpid())
        for child in active_children():
            self._node.enter(STATE_KEEPER, State.READY, child.pid or 0)  # no other one runs yet
        # A thread that is older than the blocking may still be handed a signal.
        for number in STOP_SIGNALS:
            signal.signal(number, lambda number, _: self.stop(number))
        Thread(target=self._run, name="supervisor", daemon=True).start()

    def stop(self, number: int) -> None:
        """Take in a stop signal: readiness fails at once, the rest follows."""
        now = monotonic()
        if self._stopped_at is None:
            self._node.enter(MAIN, State.DRAINING, os.getpid())
            self._stopped_at = now
            event("node.stopping", signal=signal.Signals(number).name)
        elif now - self._stopped_at > IMPATIENCE:
            event("node.killed", level="WARNING", signal=signal.Signals(number).name)
            _kill(self._processes())

    def _run(self) -> NoReturn:
        while True:
            received = signal.sigtimedwait(STOP_SIGNALS, TICK)
            # A process that was stopped and goes on (Ctrl-Z, `fg`) is woken without a signal: number 0.
            if received is not None and received.si_signo in STOP_SIGNALS:
                self.stop(received.si_signo)
            processes = self._processes()
            if not self._monitoring and any(process.state >= ProcessState.ACKED for process in processes):
                self._monitoring = True
                if self._stopped_at is None:
                    self._node.enter(MAIN, State.READY, os.getpid())
            if self._stopped_at is None:
                self._revive(processes, monotonic())
            else:
                self._see_out(processes, monotonic() - self._stopped_at)

    def _processes(self) -> list[Process]:
        """Those of all workers that were started at least once."""
        return [process for process in _processes_of(self._manager.transient) if process.pid]

    def _revive(self, processes: list[Process], now: float) -> None:
        for process in processes:
            life = self._lives.get(process.name)
            if life is None or life.pid != process.pid:
                life = Life(process.pid, now, life.deaths if life else 0)
                self._lives[process.name] = life
            if process.state not in (ProcessState.FAILED, ProcessState.COMPLETED):
                continue
            if life.restart_at is None:
                self._mourn(process, life, now)
            if life.restart_at is not None and life.restart_at <= now:
                life.restart_at = inf
                self._restart(process, life)

    def _mourn(self, process: Process, life: Life, now: float) -> None:
        number = number_of(process.name)
        life.deaths = deaths_in_a_row(life.deaths, now - life.since)
        pause = pause_before_restart(life.deaths)
        life.restart_at = now + pause
        self._node.leave(number, State.DOWN, life.pid or 0)
        _write_lines(self._board.bury(life.pid or 0))
        event(
            "worker.died", level="ERROR", number=number, pid=life.pid, status=process.exitcode, pause_s=pause
        )

    def _restart(self, process: Process, life: Life) -> None:
        number = number_of(process.name)
        restarts = self._node.count_restart(number)
        event("worker.restarted", level="WARNING", number=number, died_pid=life.pid, restarts=restarts)
        # The manager's own thread does it; the message is Sanic's own, as of `app.m.restart(name)`.
        self._manager.monitor_publisher.send(f"{process.name}:")

    def _see_out(self, processes: list[Process], elapsed: float) -> None:
        """Let the manager end the workers as soon as it listens to messages, and the rest after them."""
        living = [process for process in processes if process.is_alive()]
        if self._listeners is not None:
            for process in processes:
                if process not in living:
                    end(self._listeners.of(number_of(process.name)))
        if self._monitoring and not self._told:
            self._told = True
            self._manager.monitor_publisher.send("__TERMINATE__")
        elif not self._monitoring:
            # One that has started may have ended already, as it should, while another still starts.
            if any(process.exitcode for process in processes) or elapsed > START_LIMIT:
                self._abandon(processes)
        elif not living:
            # Sanic's own helpers (reloader, inspector) cannot hear it: they have the signals blocked, too.
            _kill(_processes_of(self._manager.durable))

    def _abandon(self, processes: list[Process]) -> NoReturn:
        """End a node that was told to stop and has not even started: the manager would wait on."""
        event("node.abandoned", level="WARNING")
        _kill(processes)
        for child in active_children():
            child.kill()
        sink().finish()
        os._exit(1)


def _processes_of(workers: dict[str, Worker]) -> list[Process]:
    return [cast(Process, process) for worker in list(workers.values()) for process in worker.processes]


def _kill(processes: list[Process]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            if process.pid:
                os.kill(process.pid, signal.SIGKILL)
