"""Ways to write to a standard output without ever waiting for its reader.

A destination opens a file description of its own: O_NONBLOCK and O_APPEND belong to the description, and all
processes started from one shell share the one that they inherit.
"""

import os
import socket
import stat
import sys
from queue import SimpleQueue
from threading import Thread
from typing import Protocol

AT_ONCE = 4096
"""Bytes of a write that a pipe takes in one piece or not at all: PIPE_BUF (pipe(7))."""

TO_A_FILE = 65_536
"""Bytes of a write to a regular file, which no other write to it divides. Four kilobytes at a time cost it a
third more, for each begins in the middle of a page."""


class Destination(Protocol):
    """Where the lines go."""

    @property
    def piece(self) -> int:
        """Bytes of one write, at most, for those of several processes not to mix."""
        ...

    def send(self, data: bytes) -> int:
        """Take bytes without waiting; the count of those taken.

        Raises BlockingIOError when nothing fits now, and another OSError when nothing ever arrives.
        """
        ...

    def settled(self) -> bool:
        """Whether all bytes that were taken have left the process."""
        ...


class Descriptor:
    """A pipe, file, terminal or device, opened anew through /proc.

    O_APPEND lets several processes log into one redirected file without overwriting each other.
    """

    def __init__(self, fd: int) -> None:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_NOCTTY
        self._fd = os.open(f"/proc/self/fd/{fd}", flags)
        self.piece = TO_A_FILE if stat.S_ISREG(os.fstat(self._fd).st_mode) else AT_ONCE

    def send(self, data: bytes) -> int:
        return os.write(self._fd, data)

    def settled(self) -> bool:
        return True


class StreamSocket:
    """A socket, such as the one that systemd gives its services; it cannot be opened anew."""

    piece = AT_ONCE

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=os.dup(fd))

    def __del__(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> int:
        return self._socket.send(data, socket.MSG_DONTWAIT)

    def settled(self) -> bool:
        return True


class WriterThread:
    """The fallback where the descriptor may not be opened anew: a thread that may block in its place.

    That is the case when stdout belongs to another user (a pipe handed down by `sudo -u`, a log file opened
    before privileges were dropped), and on systems without /proc. The descriptor stays shared, so a file
    needs no O_APPEND: all processes write at the one common offset.
    """

    piece = AT_ONCE
    _MAX_QUEUED = 16

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        self._taken = 0
        self._done = 0
        self._failure: OSError | None = None
        Thread(target=self._run, name="log-writer", daemon=True).start()

    def send(self, data: bytes) -> int:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if self._queue.qsize() >= self._MAX_QUEUED:
            raise BlockingIOError
        self._taken += 1
        self._queue.put(data)
        return len(data)

    def settled(self) -> bool:
        return self._taken == self._done

    def _run(self) -> None:
        while True:
            data = self._queue.get()
            try:
                while data:
                    data = data[os.write(self._fd, data) :]
            except OSError as error:
                self._failure = error
            self._done += 1


class Nowhere:
    """A standard output that was closed, or had lost its reader, when the process started."""

    piece = TO_A_FILE

    def send(self, data: bytes) -> int:
        return len(data)

    def settled(self) -> bool:
        return True


def open_destination(fd: int) -> Destination:
    """The way to write to `fd` without ever blocking on it; never raises for a stdout that is unusable."""
    try:
        kind = os.fstat(fd).st_mode
        if stat.S_ISSOCK(kind):
            return StreamSocket(fd)
        try:
            return Descriptor(fd)
        except (PermissionError, FileNotFoundError):
            return WriterThread(fd)
    except OSError:
        return Nowhere()


def stdout_destination() -> Destination:
    """The destination behind file descriptor 1.

    A process that was started without a stdout has given number 1 to some other file by now, and log lines in
    a client's socket would be worse than none. Python tells the two apart once, at its start.
    """
    return Nowhere() if sys.__stdout__ is None else open_destination(1)
