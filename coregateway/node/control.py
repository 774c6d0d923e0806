"""What a worker asks of the main process, and the answer.

A question is one datagram on a socket pair whose one end all workers have, with one end of a pair of its own
for the answer (unix(7), SCM_RIGHTS). So an answer finds its asker whatever else is asked meanwhile, and the
kernel ends the pair when either process does: nobody waits for one that is gone.
"""

import json
import socket
from asyncio import get_running_loop, timeout
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.reduction import DupFd
from typing import Any

QUESTION = 65_536
"""Bytes of a question, at most."""

ANSWER = 65_536
"""Bytes of an answer that are read at a time."""

TAKING = 1.0
"""Seconds that an asker may take to take its answer."""

type Told = dict[str, Any]
"""JSON."""


class NoAnswer(Exception):
    """The main process has ended, or stands still."""


class Question:
    """One that was asked, in the main process. `answer` must follow."""

    def __init__(self, told: Told, asker: socket.socket) -> None:
        self.told = told
        self._asker = asker

    def answer(self, told: Told) -> None:
        """Answer; an asker that has left meanwhile does not count."""
        with self._asker, suppress(OSError):
            self._asker.settimeout(TAKING)
            self._asker.sendall(json.dumps(told).encode())


class Control:
    """Both ends, in the main process; pickled for a worker that is being started, it has the asking one."""

    def __init__(self, asking: socket.socket | None = None) -> None:
        self._hearing: socket.socket | None = None
        if asking is None:
            asking, self._hearing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._hearing.setblocking(False)
        asking.setblocking(False)
        self._asking = asking

    def __reduce__(self) -> tuple[Callable[..., "Control"], tuple[Any, ...]]:
        return _inherit, (DupFd(self._asking.fileno()),)

    def close(self) -> None:
        """Close what this process has of it; for the end of a process that serves alone."""
        self._asking.close()
        if self._hearing is not None:
            self._hearing.close()
            self._hearing = None

    def questions(self) -> Iterator[Question]:
        """Those that have come, in the main process."""
        hearing = self._hearing
        while hearing is not None:
            try:
                data, descriptors, _, _ = socket.recv_fds(hearing, QUESTION, 1)
            except BlockingIOError:
                return
            if descriptors:  # else its sender had none left
                yield Question(json.loads(data), socket.socket(fileno=descriptors[0]))

    async def ask(self, told: Told, within: float) -> Told:
        """Ask the main process, which answers within so many seconds.

        Raises:
            NoAnswer: it did not.
        """
        here, there = socket.socketpair()
        loop = get_running_loop()
        answer = bytearray()
        with here:
            here.setblocking(False)
            try:
                with there:
                    socket.send_fds(self._asking, [json.dumps(told).encode()], [there.fileno()])
                async with timeout(within):
                    while data := await loop.sock_recv(here, ANSWER):
                        answer += data
            except (OSError, TimeoutError) as error:
                raise NoAnswer from error
        if not answer:
            raise NoAnswer
        return json.loads(answer)


def _inherit(handle: Any) -> Control:
    return Control(socket.socket(fileno=handle.detach()))
