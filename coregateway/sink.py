"""The one writer of a process to its standard output.

Every line of the gateway's log, from whichever part of the process, goes through a `LineSink`. It keeps three
promises that a plain `print` breaks:

- Lines of several processes never mix. A write carries whole lines and at most 4,096 bytes (Linux' PIPE_BUF,
  pipe(7)): a pipe takes such a write in one piece or not at all.
- A reader that stops reading never stalls the process. Writes do not block; what does not fit waits in memory
  up to a bound, then lines are dropped and counted, and the count is logged when the reader is back.
- Nobody else's descriptor changes. O_NONBLOCK and O_APPEND belong to the open file description, which all
  processes started from one shell share, so the sink opens a description of its own.

All limits here are per process.
"""

import os
import socket
import stat
import sys
import time
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread, get_ident
from typing import Protocol

MAX_LINE = 4096
"""Bytes of a line, its newline included, and of one write."""

MAX_PENDING = 1024 * 1024
"""Bytes that may wait for a reader that does not read, per process."""

FLUSH_SIZE = 32 * 1024
"""Bytes that are written without waiting for the timer."""

FLUSH_DELAY = 0.02
"""Seconds that a line may wait for others to share its write."""


class Destination(Protocol):
    """Where the lines go."""

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

    def send(self, data: bytes) -> int:
        return os.write(self._fd, data)

    def settled(self) -> bool:
        return True


class StreamSocket:
    """A socket, such as the one that systemd gives its services; it cannot be opened anew."""

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


class LineSink:
    """Collects lines and writes them in groups.

    Any thread may use it, and so may signal handlers and finalizers that interrupt its own methods: lines are
    kept in a deque, whose operations are atomic, and whoever finds a flush under way leaves his line to it.

    `dropped_line` renders the line that reports how many lines were dropped.
    """

    def __init__(self, destination: Destination, dropped_line: Callable[[int], bytes]) -> None:
        self._destination = destination
        self._dropped_line = dropped_line
        self._lines: deque[bytes] = deque()
        self._size = 0  # of the lines; may drift by a line in a race, and is right again when they run out
        self._data: bytes = b""  # lines on their way out
        self._start = 0  # of what remains of them
        self._due = 0  # the size that calls for a flush
        self._dropped: int = 0
        self._reported: int = 0  # what the report among these lines tells
        self._flushing = Lock()
        self._loop: AbstractEventLoop | None = None
        self._loop_thread = 0
        self._armed = False

    @property
    def dropped(self) -> int:
        """Lines that were dropped and not reported yet."""
        return self._dropped

    def write(self, line: bytes) -> None:
        """Take one complete line, its newline included.

        Raises ValueError for a line of more than 4,096 bytes: cutting it here would leave invalid JSON, so
        fitting it is the encoder's duty.
        """
        length = len(line)
        if length > MAX_LINE:
            raise ValueError(f"a log line of {length} bytes, more than {MAX_LINE}")
        self._lines.append(line)
        self._size = size = self._size + length
        if size >= self._due:
            self._make_room()
        elif not self._armed:
            self._arm()

    def attach(self, loop: AbstractEventLoop) -> None:
        """Collect lines from now on for up to 20 ms; called in the thread that runs `loop`."""
        self._loop_thread = get_ident()
        self._loop = loop
        self._due = FLUSH_SIZE
        self._armed = False

    def detach(self) -> None:
        """Write what was collected, and from now on each line at once; to be called before the loop ends."""
        self._loop = None
        self.flush()

    def flush(self) -> None:
        """Write as much as the reader takes now, without waiting."""
        drained = True
        # The second look is for lines that came while the lock was held and whose writers left at once.
        while drained and self._waiting() and self._flushing.acquire(blocking=False):
            try:
                drained = self._drain()
            finally:
                self._flushing.release()
        if self._loop is None:
            self._due = 0
        elif drained:
            self._due = FLUSH_SIZE
        else:
            self._due = min(self._size + FLUSH_SIZE, MAX_PENDING - self._remaining())
            if not self._armed:
                self._arm()

    def finish(self, seconds: float = 1.0) -> None:
        """Wait until the reader has everything, at most `seconds`; for the end of the process."""
        deadline = time.monotonic() + seconds
        self.flush()
        while (self._waiting() or not self._destination.settled()) and time.monotonic() < deadline:
            time.sleep(0.005)
            self.flush()

    def _remaining(self) -> int:
        return len(self._data) - self._start

    def _waiting(self) -> bool:
        return bool(self._lines) or self._start < len(self._data)

    def _make_room(self) -> None:
        # Against a full buffer only the timer tries again: an attempt for every line would cost more than it.
        if self._loop is None or self._size + self._remaining() <= MAX_PENDING:
            self.flush()
        if self._size + self._remaining() > MAX_PENDING:
            with suppress(IndexError):
                self._size -= len(self._lines.pop())
                self._dropped += 1

    def _arm(self) -> None:
        loop = self._loop
        if loop is None:
            return
        if loop.is_closed():
            self.detach()
            return
        self._armed = True
        if get_ident() == self._loop_thread:
            loop.call_later(FLUSH_DELAY, self._on_timer)
        else:
            loop.call_soon_threadsafe(loop.call_later, FLUSH_DELAY, self._on_timer)

    def _on_timer(self) -> None:
        self._armed = False
        self.flush()

    def _drain(self) -> bool:
        """Write group after group; False when nothing more can be written for now."""
        send = self._destination.send
        try:
            while self._take():
                end = self._start + MAX_LINE
                if end < len(self._data):
                    end = self._data.rfind(b"\n", self._start, end) + 1
                self._start += send(self._data[self._start : end])
        except BlockingIOError:
            return False
        except OSError:
            # The reader is gone or the disk is full. A later write may succeed again: a named pipe gets
            # a new reader, a disk gets space. Until then nothing is worth keeping.
            self._lose_all()
            return False
        return True

    def _take(self) -> bool:
        """Have lines on their way out; False when there are none."""
        if self._start == len(self._data):
            lines = self._lines
            self._data = data = b"".join([lines.popleft() for _ in range(len(lines))])
            self._start = 0
            self._reported = 0
            self._size = self._size - len(data) if lines else 0
            if not data and self._dropped:
                # All else was taken: the reader is back.
                self._reported, self._dropped = self._dropped, 0
                self._data = self._dropped_line(self._reported)
        return bool(self._data)

    def _lose_all(self) -> None:
        # Half a line may be out already: the next one must not become its end.
        if self._data != b"\n":
            self._dropped += self._reported or self._data.count(b"\n", self._start)
            torn = self._start > 0 and not self._data.endswith(b"\n", 0, self._start)
            self._data = b"\n" if torn else b""
        self._dropped += len(self._lines)
        self._lines.clear()
        self._size = 0
        self._start = 0
        self._reported = 0
