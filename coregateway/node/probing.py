"""The main process's watch over the node's prober: it starts it before the workers, and replaces it when it
dies or hangs.

It is killed rather than stopped: nothing that it does needs an end (`prober.process`).
"""

import os
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

from coregateway.logs.events import Format, event
from coregateway.node.children import write_lines
from coregateway.node.lives import LONG_LIFE, pause_before_restart
from coregateway.node.watchdog import Watchdog
from coregateway.prober import process as prober
from coregateway.prober.knowledge import forget
from coregateway.prober.plan import Plan
from coregateway.shared_memory import Board

START = 5.0
"""Seconds that it may take to start until readiness does without its first round."""

SILENCE = 10.0
"""Seconds without a sign of life after which it is replaced."""


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """What the prober needs of the settings."""

    plan: Plan
    log_level: str
    log_format: Format


class Probing:
    """See the module. For the main thread of the main process; the clock is `monotonic`."""

    def __init__(self, board: Board, settings: ProbeSettings) -> None:
        self._board = board
        self._settings = settings
        self._process: BaseProcess | None = None
        self._started_at = 0.0
        self._deaths = 0
        self._restart_at: float | None = None
        self._watchdog = Watchdog(SILENCE)

    @property
    def pid(self) -> int:
        """Of its process; 0: there is none."""
        return (self._process.pid or 0) if self._process is not None else 0

    def begin(self, now: float) -> None:
        """Start it for the first time; readiness waits for its first round."""
        if self._settings.plan.patience:
            self._board.probed.await_until(now + START + self._settings.plan.patience)
        self._start(now)

    def follow(self, settings: ProbeSettings, now: float) -> None:
        """Have it ask what other settings say; what is known stays."""
        if settings == self._settings:
            return
        self._settings = settings
        self.end()
        self._start(now)

    def look(self, now: float) -> None:
        """Replace it when it has died, and kill it when it hangs."""
        process = self._process
        if process is None:
            if self._restart_at is not None and self._restart_at <= now:
                self._start(now)
            return
        if process.is_alive():
            part = self._board.part_of(self.pid)
            if part is not None and self._watchdog.look(now, {self.pid: part.beats}):
                message = f"the prober has stood still for {SILENCE:g} s: it is killed"
                event("prober.hung", level="ERROR", message=message, pid=self.pid)
                process.kill()
            return
        self._deaths = 1 if now - self._started_at >= LONG_LIFE else self._deaths + 1
        pause = pause_before_restart(self._deaths)
        message = "the process that checks upstreams and resolves names has ended: what is known stays"
        status = process.exitcode
        event("prober.died", level="ERROR", message=message, pid=self.pid, status=status, pause_s=pause)
        self._bury()
        self._restart_at = now + pause

    def end(self) -> None:
        """Kill it, and collect its status."""
        self._restart_at = None
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._bury()

    def _start(self, now: float) -> None:
        self._restart_at = None
        self._started_at = now
        settings = self._settings
        if settings.plan.is_empty:
            forget(self._board.probed)
            return
        arguments = self._board, settings.plan, settings.log_level, settings.log_format, os.getpid()
        # A daemon, for multiprocessing waits for any other child at the end of its parent, however that ends.
        process = get_context("spawn").Process(
            target=prober.run, args=arguments, name=prober.NAME, daemon=True
        )
        try:
            process.start()
        except OSError as error:  # no memory, no process, no descriptor is left
            event("process.not_started", level="ERROR", name=prober.NAME, exception=error)
            self._deaths += 1
            self._restart_at = now + pause_before_restart(self._deaths)
            return
        self._process = process

    def _bury(self) -> None:
        write_lines(self._board.bury(self.pid))
        self._process = None
