"""The workers of one node: what makes several processes one gateway.

`found` begins a node in its main process, `attach` makes an application live as a worker of it: it tells the
others when it serves and when it drains, and it drains so that no exchange is cut off that could complete.
Readings of `app.ctx.node` are per node; `app.ctx.draining` is the worker's own.

The drain of a node, in its order: readiness fails on all workers; after `shutdown.delay` seconds, in which
load balancers look elsewhere and responses already say `Connection: close`, each worker ends its listening
socket and new connections are refused; idle connections are closed; exchanges in flight have
`shutdown.grace` seconds to complete. A worker that is replaced does the same, but leaves the socket to its
successor; one that is taken away (`scaling`) ends it as in the drain of the node.
"""

import asyncio
import os
import select
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from multiprocessing import active_children, parent_process
from socket import socket
from time import monotonic
from typing import Any

from sanic import Sanic

from coregateway.logs.events import event
from coregateway.node.listeners import Listeners, worker_number
from coregateway.node.orphans import Orphans
from coregateway.node.probing import ProbeSettings, Probing
from coregateway.node.process_signals import (
    handle_signals,
    hold_signals,
    ignore_signals,
    release_signals,
    warn_of_reload,
)
from coregateway.node.reload import Reload, SettingsLife
from coregateway.node.running import RunningState
from coregateway.node.state import MAIN, STATE_KEEPER, Node, State
from coregateway.node.supervisor import Supervisor, write_last_lines
from coregateway.settings.model import ShutdownSettings
from coregateway.settings.process import started_by_sanic
from coregateway.shared_memory import Board

TICK = 0.25
"""Seconds between a worker's looks at the node: whether it stops, and who its main process and its successor
are. A signal tells sooner, but may be lost or never be sent."""

SETTLE = 0.02
"""Seconds between the end of the listening socket and that of idle connections: the last connection that was
accepted has brought its request. Short, because uvloop polls without rest on an ended socket."""

HANDSHAKES = 0.2
"""Seconds, at least, in which a worker that is taken away still accepts connections that were under way."""

EMPTYING = 0.2
"""Seconds, at most, to accept the connections that wait already when the listening socket is to be ended."""

type App = Sanic[Any, Any]


def found(app: App, board: Board, running: RunningState | None = None) -> None:
    """Begin a node in this process, which will be its main process; for `prepare()`.

    Blocks the signals: from here on they wait for the node's supervisor. Not for `single_process`.
    """
    hold_signals()
    # Set as attributes, Sanic would warn of whatever is not of multiprocessing; these are made to be shared.
    vars(app.shared_ctx).update(board=board, running=running)
    if started_by_sanic(sys.argv) and sys.modules["__main__"].__spec__ is None:
        # As under `python -m sanic`: else every process that is spawned runs the script again, for nothing
        # but the time that it takes to import Sanic's command line.
        sys.modules["__main__"].__spec__ = find_spec("sanic.__main__")


def attach(
    app: App,
    shutdown: ShutdownSettings,
    watchdog: float,
    probes: ProbeSettings | None = None,
    life: SettingsLife | None = None,
) -> None:
    """Give an application a worker's life. It is ready after all other listeners that were added before.

    `watchdog`: seconds that a worker may take to come up, or its loop stand still; 0: for ever.
    `probes`: what the node's prober asks; None: nothing. `life`: of the settings; None: they never change.
    """
    app.config.GRACEFUL_SHUTDOWN_TIMEOUT = shutdown.grace
    app.ctx.draining = False

    async def supervise(app: App) -> None:
        board = _board(app)
        if board is not None:
            drain = shutdown.delay + shutdown.grace
            probing = Probing(board, probes) if probes is not None else None
            supervisor = Supervisor(
                app.manager, board, listeners_of(app), watchdog=watchdog, drain=drain, probing=probing
            )
            running = _running(app)
            if life is not None and running is not None:
                probes_of = life.probes
                supervisor.reload = Reload(
                    running,
                    Node(board),
                    life.source,
                    room=len(board.verdicts),
                    wake=supervisor.wake,
                    follow=lambda settings: supervisor.follow(settings, probes_of(settings)),
                )
            supervisor.take_over()

    async def start(app: App) -> None:
        worker = Worker(app, _board(app), listeners_of(app), shutdown.delay, life)
        app.ctx.process = worker
        app.ctx.board = worker.board
        app.ctx.part = worker.part
        app.ctx.node = worker.node
        app.ctx.running = _running(app)
        worker.start()

    async def serve(app: App) -> None:
        app.ctx.process.serve()

    async def leave(app: App) -> None:
        app.ctx.process.leave()

    async def end_node(app: App) -> None:
        board = _board(app)
        if board is not None:
            write_last_lines(board)

    app.register_listener(supervise, "main_process_ready")
    app.register_listener(end_node, "main_process_stop")
    app.register_listener(start, "before_server_start")
    app.register_listener(serve, "after_server_start")
    app.register_listener(leave, "after_server_stop")


def is_alone(app: App) -> bool:
    """Whether this process is its own main process; once the worker has begun."""
    return app.ctx.process.is_alone


class Worker:
    """The life of this process as a worker. Without a board it is the only one, and its own main process."""

    def __init__(
        self,
        app: App,
        board: Board | None,
        listeners: Listeners | None,
        delay: float,
        life: SettingsLife | None,
    ) -> None:
        self.board: Board = board or getattr(app.ctx, "board", None) or Board(1)
        self.node = Node(self.board)
        self._app = app
        self._delay = delay
        self._listeners = listeners
        self._number = worker_number()
        self._pid = os.getpid()
        self.part = self.board.claim(self._pid, self._number)
        if self.part is None:
            event("worker.uncounted", level="WARNING", number=self._number)
        parent = parent_process()
        self._parent = parent.pid if board and parent else 0
        self._orphans = Orphans()
        self._drain_task: asyncio.Task[None] | None = None
        self._life = life
        self._running = _running(app) if life is not None else None
        self._revision = 0
        """Of what the node runs with: what was taken, or could not be."""
        self._reload: Reload | None = None
        """Of a process that serves alone."""

    @property
    def is_alone(self) -> bool:
        """Whether it is its own main process."""
        return not self._parent

    def start(self) -> None:
        """Say that this worker comes, unless it comes to replace one that still serves."""
        if self.node.state(self._number) is not State.READY:
            self.node.enter(self._number, State.STARTING, self._pid)

    def serve(self) -> None:
        """Say that this worker listens, and be ready to be stopped."""
        running = self._running
        if running is not None and self._life is not None and not self._parent:
            room = len(self.board.verdicts)
            self._reload = Reload(running, self.node, self._life.source, room=room, wake=self._take)
        self._take()
        self.node.enter(self._number, State.READY, self._pid)
        loop = asyncio.get_running_loop()
        if loop.remove_signal_handler(signal.SIGTERM):  # Sanic's, which does not survive a second signal
            handle_signals(loop, self.stop, self._hang_up)
        release_signals()
        if not self._parent:
            self.node.enter(MAIN, State.READY, self._pid)
        self._look()

    def _hang_up(self) -> None:
        """SIGHUP: the main process sends it where there is something new; alone, it asks for that."""
        if self._reload is not None:
            self._reload.reload("SIGHUP", monotonic())
        elif self._parent:
            self._take()
        else:
            warn_of_reload()

    def _take(self) -> None:
        """Take in what the node runs with, where that is new."""
        state = self._running
        if state is None or self._life is None or state.revision == self._revision:
            return
        running = state.read()
        if running is None:
            return  # the next look finds it
        self._revision = running.revision
        try:
            self._life.apply(running)
        except Exception as error:
            message = f"worker {self._number} goes on with the settings that it has"
            event(
                "settings.not_taken", level="ERROR", message=message, version=running.version, exception=error
            )
        else:
            self._delay = running.settings.shutdown.delay
            self.node.note_taken(self._number, running.version, running.revision, self._pid)

    def leave(self) -> None:
        """Say that this worker has ended."""
        self.node.leave(self._number, State.DOWN, self._pid)
        if self.part is not None:
            self.part.leave()
        if self._reload is not None:
            self._reload.close()
        keeper = self.node.pid(STATE_KEEPER)
        if self._is_orphan and keeper:
            with suppress(ProcessLookupError):  # another worker was first
                os.kill(keeper, signal.SIGKILL)  # no other process would end it

    def stop(self) -> None:
        """Drain, then stop; once."""
        if self._drain_task is not None:
            return
        loop = asyncio.get_running_loop()
        ignore_signals(loop)
        self._app.ctx.draining = True
        self.node.leave(self._number, State.DRAINING, self._pid)
        if not self._parent:
            self.node.enter(MAIN, State.DRAINING, self._pid)
        event("worker.draining", number=self._number)
        self._drain_task = loop.create_task(self._drain())

    async def _drain(self) -> None:
        retires = self.node.state(self._number) is State.RETIRED
        await asyncio.sleep(max(self._delay, HANDSHAKES) if retires else self._delay)
        if self._listeners is not None and (self.node.stopping or retires):
            found = (self._listeners, self._listeners.clear)
            if owned := [each for each in found if each is not None and not each.passed]:
                await _empty(owned)
                self._listeners.end()
            await asyncio.sleep(SETTLE)
        self._app.stop(terminate=False)

    @property
    def _is_orphan(self) -> bool:
        return self._parent != 0 and os.getppid() != self._parent

    def _look(self) -> None:
        """Every `TICK`, to the end: show that the loop turns, and look whether to stop.

        That is with the node, after its main process, or when a successor took the place.
        """
        loop = asyncio.get_running_loop()
        loop.call_later(TICK, self._look)
        if self.part is not None:
            self.part.beat()
        self._take()
        if self._reload is not None:
            self._reload.turn(monotonic())
        if not self._parent:
            if self._orphans.is_init:
                self._orphans.look(loop.time(), {child.pid or 0 for child in active_children()})
            return
        if self._is_orphan:
            self.node.enter(MAIN, State.DRAINING, self._pid)
        if self.node.stopping or self.node.pid(self._number) not in (self._pid, 0):
            self.stop()


async def _empty(listeners: Iterable[socket]) -> None:
    """Let the loop accept what waits in backlogs; not for longer than `EMPTYING`, should it never end."""
    loop = asyncio.get_running_loop()
    waiting = select.poll()
    for listener in listeners:
        listener.listen(0)  # a connection that begins now tries again, and is refused then
        waiting.register(listener, select.POLLIN)
    end_at = loop.time() + EMPTYING
    while waiting.poll(0) and loop.time() < end_at:  # noqa: ASYNC110 - the kernel sets no event
        await asyncio.sleep(0)


def _board(app: App) -> Board | None:
    return getattr(app.shared_ctx, "board", None)


def _running(app: App) -> RunningState | None:
    return getattr(app.shared_ctx, "running", None) or getattr(app.ctx, "running", None)


def listeners_of(app: App) -> Listeners | None:
    """The sockets that this process serves on; None where they were made elsewhere."""
    sock = app.state.server_info[0].settings.get("sock") if app.state.server_info else None
    return sock if isinstance(sock, Listeners) else None
