"""A child process that never outlives its parent, whatever ends the parent. Linux only."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when the thread that started it is gone."""

_libc = ctypes.CDLL(None, use_errno=True)


class Child:
    """A Python module that runs as a process, in a session of its own.

    The session keeps a terminal's Ctrl-C away from it: its parent decides when it ends, and in what order.
    `inherited` are the descriptors that it may use; without an `environment` it has its parent's.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        inherited: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        parent = os.getpid()

        def end_with_parent() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it was gone before the call
                os._exit(1)

        self._process = subprocess.Popen(  # noqa: S603 -- our own modules
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            pass_fds=inherited,
            env=environment,
            start_new_session=True,
            preexec_fn=end_with_parent,  # safe: this process has no threads
        )
        self.pid = self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def end(self, seconds: float) -> int:
        """Ask it to end, and kill it and what it started when it has not after that time."""
        self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            return self._process.wait()
