"""What signals to a process of the node mean.

    SIGTERM, SIGINT, SIGQUIT    drain, then end
    SIGHUP                      read the settings again; not there yet, so it is a WARNING
    SIGUSR1                     open log files again; there are none, so nothing
    SIGUSR2, SIGALRM            nothing

All of them are blocked in the main process (`hold_signals`), hence in every process that it starts, from
their first moment on. The main process waits for them (`sigtimedwait(2)`), a worker takes them once it serves
(`handle_signals`): none finds a process that is not prepared for it.
"""

import signal
from asyncio import AbstractEventLoop
from collections.abc import Callable
from multiprocessing import resource_tracker

from coregateway.logs.events import event

STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGQUIT})

RELOAD = signal.SIGHUP

SIGNALS = STOP_SIGNALS | {RELOAD, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM}
"""Those that have a meaning; else each of them would end its process at once."""


def hold_signals() -> None:
    """Block them in this thread, and in the processes and threads that it starts from now on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    # It is a process of the node, too. Its start unblocks some: now rather than with the first child.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def release_signals() -> None:
    """Let a process that is ready for them have the signals again."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def handle_signals(loop: AbstractEventLoop, stop: Callable[[], None], *, alone: bool) -> None:
    """Give the signals of a process that serves their meaning; `alone`: it is its own main process.

    Beside a main process only that one answers SIGHUP: the terminal sends it to all.
    """
    for number in SIGNALS:
        if number in STOP_SIGNALS:
            loop.add_signal_handler(number, stop)
        elif number == RELOAD and alone:
            loop.add_signal_handler(number, warn_of_reload)
        else:
            loop.add_signal_handler(number, _nothing)


def ignore_signals(loop: AbstractEventLoop) -> None:
    """Take none of them any more: the process ends already, as far as that is in its hands."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for number in SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    release_signals()


def warn_of_reload() -> None:
    """Tell that SIGHUP has changed nothing."""
    event(
        "node.reload_unavailable",
        level="WARNING",
        message="SIGHUP: this version cannot read its settings again; restart the gateway for new ones",
    )


def _nothing() -> None:
    pass
