"""What signals to a process of the node mean.

    SIGTERM, SIGINT, SIGQUIT    drain, then end
    SIGHUP                      read the settings again (`reload`)
    SIGUSR1                     open log files again; there are none, so nothing
    SIGUSR2, SIGALRM            nothing

All of them are blocked in the main process (`hold_signals`), hence in every process that it starts, from
their first moment on. The main process waits for them (`SignalQueue`), a worker takes them once it serves
(`handle_signals`): none finds a process that is not prepared for it.
"""

import signal
from asyncio import AbstractEventLoop
from collections import deque
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


class SignalQueue:
    """The signals of the main process, in the order in which they come.

    A thread that is older than the blocking, as one of a plugin may be, can be handed a signal. Python calls
    the handler in the main thread then, wherever that stands: it may hold the lock of the log. Hence the
    handler only notes the number.
    """

    def __init__(self) -> None:
        self._handed = deque[int]()
        for number in SIGNALS:
            signal.signal(number, lambda number, _: self._handed.append(number))

    def next(self, limit: float) -> int | None:
        """The next one; waits for it, at most `limit` seconds. None: none has come."""
        if not self._handed:
            # A process that was stopped and goes on (Ctrl-Z, `fg`) is woken without a signal: number 0.
            received = signal.sigtimedwait(SIGNALS, limit)
            if received is not None and received.si_signo:
                return received.si_signo
        return self._handed.popleft() if self._handed else None


def handle_signals(loop: AbstractEventLoop, stop: Callable[[], None], hang_up: Callable[[], None]) -> None:
    """Give the signals of a process that serves their meaning. The terminal sends SIGHUP to all: beside a
    main process, which reads the settings again, `hang_up` only looks whether there are new ones."""
    for number in SIGNALS:
        if number in STOP_SIGNALS:
            loop.add_signal_handler(number, stop)
        elif number == RELOAD:
            loop.add_signal_handler(number, hang_up)
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
    event("node.reload_unavailable", level="WARNING", message="SIGHUP: there are no settings to read again")


def _nothing() -> None:
    pass
