"""The main process's watch over its workers: it starts them, replaces those that die or hang, and ends all.

It stands in the place of the inside of Sanic's manager (`WorkerManager.run`), which waits for all workers to
come up before it looks at any, and kills the process group of each when one does not. What users know of
Sanic's manager works on: its processes, `manage`, and the messages of `app.m`. No process is signalled but
children of this one whose status was not collected yet, so that no id can be another's by now.

A worker that dies is started again, after a pause that grows with every death in a row. A node of which no
worker has ever come up ends when one has failed `TRIES` times in a row, with status 1, or has refused the
settings, with status 2: it would fail for ever, and its starter should see that.
"""

import os
import signal
from collections.abc import Mapping
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

from sanic.exceptions import ServerKilled
from sanic.worker.constants import ProcessState
from sanic.worker.manager import WorkerManager
from sanic.worker.process import Worker

from coregateway.logs.events import configure, event
from coregateway.node.children import Children, is_worker, write_lines
from coregateway.node.listeners import Listeners, number_of
from coregateway.node.lives import TRIES, Life
from coregateway.node.managed_processes import ManagedProcesses, Process, let_take_signals, processes_of
from coregateway.node.orphans import Orphans
from coregateway.node.probing import ProbeSettings, Probing
from coregateway.node.process_signals import (
    RELOAD,
    STOP_SIGNALS,
    SignalQueue,
    warn_of_reload,
)
from coregateway.node.reload import Reload
from coregateway.node.scaling import Scaling
from coregateway.node.service_manager import service_manager
from coregateway.node.state import MAIN, STATE_KEEPER, Node, State
from coregateway.node.worker_states import outlive_keeper
from coregateway.settings.model import Settings
from coregateway.settings.process import EXIT_WRONG_SETTINGS
from coregateway.shared_memory import Board

TICK = 0.1
"""Seconds between two looks at the workers."""

BUSY_TICK = 0.01
"""The same while an answer is due as soon as they have taken new settings."""

START_LIMIT = 10.0
"""Seconds that workers which are still starting may take to do so after a stop signal."""

DRAIN_MARGIN = 10.0
"""Seconds beyond those of `[shutdown]` that a worker may take to end."""

SCALE = "__SCALE__:"
"""What Sanic's message begins with that asks for another number of workers."""

IMPATIENCE = 1.0
"""Seconds after the first stop signal from which on another one ends everything at once. Before, it is the
same one come twice: `timeout` and some supervisors signal the process and its group."""


def write_last_lines(board: Board) -> None:
    """Write the log lines of workers that did not live to do so; for the end of the main process."""
    for part in board.parts:
        if not part.living:
            write_lines(part.pending.take())


class Supervisor:
    """What the main thread of the main process does from the first worker on. Its clock is `monotonic`."""

    def __init__(
        self,
        manager: WorkerManager,
        board: Board,
        listeners: Listeners | None,
        *,
        watchdog: float,
        drain: float,
        probing: Probing | None = None,
    ) -> None:
        """In seconds: `watchdog` that a worker may stand still, 0: for ever; `drain` that one may take.
        `probing`: None where nothing is probed."""
        outlive_keeper(manager)
        self._manager = manager
        self._node = Node(board)
        self._workers = board.workers
        self._listeners = listeners
        self._drain = drain
        self._probing = probing
        self._children = Children(board, manager.worker_state, watchdog)
        self._scaling = Scaling(manager, self._node, listeners, self._children, self._start)
        self._managed = ManagedProcesses(manager)
        self._orphans = Orphans()
        self._service_manager = service_manager()
        self._signals = SignalQueue()
        self._lives: dict[str, Life] = {}
        """By the names of the workers."""
        self._stopped_at: float | None = None
        self._status = 0
        """With which the node ends."""
        self.reload: Reload | None = None
        """None: the settings of this node never change."""

    def take_over(self) -> None:
        """Have Sanic's manager run this; for `main_process_ready`."""
        self._node.enter(MAIN, State.READY, os.getpid())
        for child in active_children():
            if child.name.startswith("SyncManager"):
                self._node.enter(STATE_KEEPER, State.READY, child.pid or 0)
        manage = self._manager.manage  # pyright: ignore[reportUnknownMemberType] -- untyped

        def manage_aware(*arguments: Any, **options: Any) -> Worker:
            worker = manage(*arguments, **options)
            let_take_signals(worker)
            return worker

        for worker in self._manager.workers:
            let_take_signals(worker)
        vars(self._manager).update(
            run=self.run, shutdown=self._stop, kill=self._end_at_once, manage=manage_aware
        )

    def run(self) -> None:
        """Start the workers, and watch them until the last one has ended.

        Raises `SystemExit` with status 2, or Sanic's `ServerKilled` for status 1, when none has come up.
        """
        self._wait(0.0)  # what came while the main process got ready: no worker need start then
        try:
            self._watch()
        finally:
            if self._probing is not None:
                self._probing.end()
        # Sanic waits up to 10 s for processes that its notes call alive. The notes of workers that scaling
        # or a restart has ended still do.
        self._manager.worker_state.clear()
        self._manager.cleanup()
        if self._status == EXIT_WRONG_SETTINGS:
            raise SystemExit(self._status)
        if self._status:
            raise ServerKilled

    def _watch(self) -> None:
        if self._probing is not None and self._stopped_at is None:
            self._probing.begin(monotonic())
        for worker, process in processes_of(self._manager):
            if worker.auto_start:
                self._start(process)
            else:
                process.set_state(ProcessState.NONE, force=True)
        while not self._has_ended():
            self._wait(BUSY_TICK if self.reload is not None and self.reload.is_busy else TICK)
            self._hear()
            self._look(monotonic())

    # What comes from outside

    def _wait(self, limit: float) -> None:
        """Take the signals that have come, or wait so many seconds for one."""
        while (number := self._signals.next(limit)) is not None:
            self._take(number)
            limit = 0.0

    def _take(self, number: int) -> None:
        if number in STOP_SIGNALS:
            self._stop(signal.Signals(number).name)
        elif number == RELOAD and self.reload is None:
            warn_of_reload()
        elif number == RELOAD and self.reload is not None and self._stopped_at is None:
            self.reload.reload(signal.SIGHUP.name, monotonic())

    def wake(self) -> None:
        """Have the workers look at what the node runs with. They do so by and by; this is sooner."""
        for child in self._children:
            if child.is_up and child.process.pid:
                os.kill(child.process.pid, RELOAD)

    def follow(self, settings: Settings, probes: ProbeSettings) -> None:
        """Log, watch, drain and probe by new settings."""
        configure(settings.log_level, settings.log_format)
        self._drain = settings.shutdown.delay + settings.shutdown.grace
        self._children.watch(settings.watchdog)
        if self._probing is not None:
            self._probing.follow(probes, monotonic())

    def _stop(self, by: str | None = None) -> None:
        """Take in that the node is to stop, by a signal or `app.m`: readiness fails at once."""
        now = monotonic()
        if self._stopped_at is None:
            self._stopped_at = now
            self._node.enter(MAIN, State.DRAINING, os.getpid())
            event("node.stopping", signal=by)
            for child in self._children:
                child.process.terminate()  # it sees by and by that the node stops; this is sooner
        elif now - self._stopped_at > IMPATIENCE:
            event("node.killed", level="WARNING", signal=by)
            self._children.kill()

    def _end_at_once(self) -> None:
        """As Sanic's `kill`, but for the main process, which collects its children first."""
        self._stop()
        self._children.kill()

    def _hear(self) -> None:
        """Do what workers ask for by `app.m`, in Sanic's own messages."""
        while self._manager.monitor_subscriber.poll(0):
            try:
                self._obey(self._manager.monitor_subscriber.recv())
            except Exception as error:
                event("node.message_failed", level="ERROR", exception=error)

    def _obey(self, message: Any) -> None:
        if message == "__TERMINATE__":
            self._stop()
        elif isinstance(message, tuple):
            self._manager._handle_manage(*message)  # pyright: ignore -- no public way, and untyped
        elif message.startswith(SCALE):
            if self._stopped_at is None:
                self._scaling.want(int(message.removeprefix(SCALE)))
        elif message and message != "__TERMINATE_EARLY__":  # a start that fails is seen by its end
            self._manager._handle_message(message)  # pyright: ignore[reportPrivateUsage] -- no public way

    # Watching

    def _look(self, now: float) -> None:
        living = {child.pid or 0: child for child in active_children()}
        self._children.look(living, now)
        self._orphans.look(now, living)
        self._note_keeper(living)
        for worker, process in processes_of(self._manager):
            if process.pid and not process.is_alive() and process.state < ProcessState.FAILED:
                how = ProcessState.FAILED if process.exitcode else ProcessState.COMPLETED
                process.set_state(how, force=True)
            if is_worker(process.name):
                self._look_at(process, now)
            elif not worker.tracked and not worker.has_alive_processes():
                self._manager.remove_worker(worker)
        self._service_manager.look(
            now,
            ready=self._node.ready(),
            reloads=self.reload is not None and self.reload.is_busy,
            stops=self._stopped_at is not None,
        )
        if self._stopped_at is None:
            self._scaling.look()
            if self._probing is not None:
                self._probing.look(now)
            if self.reload is not None:
                self.reload.turn(now)
        else:
            self._see_out(living, now - self._stopped_at)

    def _look_at(self, process: Process, now: float) -> None:
        """Note that a worker has come up, and start one again that has died."""
        life = self._lives.setdefault(process.name, Life())
        if process.pid != life.pid:
            life.begin(process.pid)
        if process.is_alive():
            if life.up_at is None and self._children.is_up(process.pid):
                life.up_at = now
                process.state = ProcessState.ACKED  # for Sanic, which replaces workers one by one
            return
        if life.restart_at is None and self._stopped_at is None:
            self._mourn(process, life, now)
        if life.restart_at is not None and life.restart_at <= now and self._stopped_at is None:
            number = number_of(process.name)
            restarts = self._node.count_restart(number)
            event("worker.restarted", level="WARNING", number=number, died_pid=life.pid, restarts=restarts)
            life.restart_at = None
            self._start(process)

    def _mourn(self, process: Process, life: Life, now: float) -> None:
        number = number_of(process.name)
        pause = life.end(now)
        self._node.leave(number, State.DOWN, life.pid or 0)
        status = process.exitcode
        event("worker.died", level="ERROR", number=number, pid=life.pid, status=status, pause_s=pause)
        if self._children.has_come_up:
            return
        if status == EXIT_WRONG_SETTINGS:
            self._give_up(status, "a worker has refused the settings")
        elif life.deaths >= TRIES:
            self._give_up(1, f"no worker has come up, and one has failed {TRIES} times")

    def _give_up(self, status: int, reason: str) -> None:
        """End a node that would never serve."""
        self._status = status
        self._stopped_at = monotonic()
        self._node.enter(MAIN, State.DRAINING, os.getpid())
        event("node.failed", level="ERROR", message=f"{reason}: the gateway ends", status=status)
        self._children.kill()

    def _start(self, process: Process) -> None:
        """Start a process for the first time, or again."""
        if self._stopped_at is not None:
            return
        try:
            if process.state is ProcessState.IDLE:
                process.start()
            else:
                process.restart()
        except OSError as error:  # no memory, no process, no descriptor is left: it counts as a death
            event("process.not_started", level="ERROR", name=process.name, exception=error)

    def _note_keeper(self, living: Mapping[int, BaseProcess]) -> None:
        """Forget the process of Sanic's notes when it has ended: its id may be another's soon."""
        keeper = self._node.pid(STATE_KEEPER)
        if keeper and keeper not in living:
            self._node.enter(STATE_KEEPER, State.DOWN, 0)
            message = "the process of Sanic's notes has ended: the gateway serves on without app.m.workers"
            event("keeper.died", level="ERROR", message=message, pid=keeper)

    # The end

    def _see_out(self, living: Mapping[int, BaseProcess], elapsed: float) -> None:
        """End what does not end in its time, and what is not needed without workers."""
        if self._listeners is not None:
            for number in set(range(self._workers)) - {child.number for child in self._children}:
                self._listeners.end(number)
        for child in self._children:
            limit = self._drain + DRAIN_MARGIN if child.is_up else START_LIMIT
            if elapsed > limit and not child.is_killed:
                child.is_killed = True
                message = f"worker {child.number} has not ended in {limit:g} s: it is killed"
                event("worker.killed", level="ERROR", message=message, number=child.number)
                child.process.kill()
        if not self._children:
            self._managed.see_out(living, elapsed)

    def _has_ended(self) -> bool:
        return self._stopped_at is not None and not self._children and not self._managed.any_lives
