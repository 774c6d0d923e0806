"""The one writer of a process to its standard output.

Every line of the process's log goes through its `LogWriter`, which keeps three promises that a plain `print`
breaks:

- Lines of several processes never mix. A write carries whole lines, and no more than its destination takes in
  one piece: 4,096 bytes where it is a pipe (Linux' PIPE_BUF, pipe(7)).
- A reader that stops reading never stalls the process. Writes do not block; what does not fit waits in memory
  up to a bound, then lines are dropped and counted, and the count is logged when the reader is back.
- A process that is killed loses no line: those that wait are kept where another process finds them (`keep`).

All limits here are per process.
"""

import time
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, get_ident

from coregateway.logs.stdout import Destination
from coregateway.shared_memory.pending import Pending

MAX_LINE = 4096
"""Bytes of a line, its newline included. No destination takes less in one piece."""

MAX_PENDING = 1024 * 1024
"""Bytes that may wait for a reader that does not read, per process."""

FLUSH_SIZE = 32 * 1024
"""Bytes that are written without waiting for the timer."""

FLUSH_DELAY = 0.02
"""Seconds that a line may wait for others to share its write."""


class LogWriter:
    """Collects lines and writes them in groups.

    Any thread may use it, and so may signal handlers and finalizers that interrupt its own methods: lines are
    kept in a deque, whose operations are atomic, and a call that finds a flush under way leaves it the line.

    `dropped_line` renders the line that reports how many lines were dropped.
    """

    def __init__(self, destination: Destination, dropped_line: Callable[[int], bytes]) -> None:
        self._destination = destination
        self._dropped_line = dropped_line
        self._lines: deque[bytes] = deque()  # in each one line, or some
        self._size = 0  # of all; may drift by a line in a race, and is right again when they run out
        self._data: bytes = b""  # lines on their way out
        self._start = 0  # of what remains of them
        self._due = 0  # the size that calls for a flush
        self._reported: int = 0  # of the dropped lines
        self._report: int = 0  # what the report on its way out tells; 0: there is none
        self._pending: Pending | None = None
        self._kept = False  # whether what is on its way out stands there, too
        self.dropped_total: int = 0
        """Lines that were dropped since the process began; never falls."""
        self._flushing = Lock()
        self._loop: AbstractEventLoop | None = None
        self._loop_thread = 0
        self._armed = False

    @property
    def dropped(self) -> int:
        """Lines that were dropped and not reported yet."""
        return self.dropped_total - self._reported

    def write(self, line: bytes) -> None:
        """Take one complete line, its newline included.

        Raises ValueError for a line of more than 4,096 bytes: cutting it here would leave invalid JSON, so
        fitting it is the encoder's duty.
        """
        if len(line) > MAX_LINE:
            raise ValueError(f"a log line of {len(line)} bytes, more than {MAX_LINE}")
        self.write_all(line)

    def write_all(self, data: bytes) -> None:
        """As `write`, for several lines of at most 4,096 bytes each; the caller vouches for their lengths.

        They wait together, and are dropped together.
        """
        self._lines.append(data)
        if self._pending is not None:
            self._pending.add(data)
        self._size = size = self._size + len(data)
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

    def keep(self, pending: Pending) -> None:
        """From now on keep each line in shared memory, too, until it has left.

        What another process has left there leaves from here first. What the destination has taken counts as
        gone: a `WriterThread` may still hold it.
        """
        for line in pending.take().splitlines(keepends=True):
            self.write(line)
        self.flush()
        if self._kept:
            pending.add(self._data[self._start :])
        for lines in list(self._lines):
            pending.add(lines)
        self._pending = pending

    def detach(self) -> None:
        """Write what was collected, and from now on each line at once; to be called before the loop ends."""
        self._loop = None
        self.flush()

    def flush(self) -> None:
        """Write as much as the reader takes now, without waiting."""
        drained = True
        # Look again: lines may have come while the lock was held, and their writers do not wait for it.
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
                lines = self._lines.pop()
                self._size -= len(lines)
                self.dropped_total += lines.count(b"\n")
                if self._pending is not None:
                    self._pending.dropped(lines)

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
                end = self._start + self._destination.piece
                if end < len(self._data):
                    end = self._data.rfind(b"\n", self._start, end) + 1
                self._left(send(self._data[self._start : end]))
        except BlockingIOError:
            return False
        except OSError:
            # The reader is gone or the disk is full. A later write may succeed again: a named pipe gets
            # a new reader, a disk gets space. Until then nothing is worth keeping.
            self._lose_all()
            return False
        return True

    def _left(self, count: int) -> None:
        self._start += count
        if self._pending is not None and self._kept:
            self._pending.left(count)

    def _take(self) -> bool:
        """Have lines on their way out; False when there are none."""
        if self._start == len(self._data):
            lines = self._lines
            self._data = data = b"".join([lines.popleft() for _ in range(len(lines))])
            self._start = 0
            self._report = 0
            self._kept = True
            self._size = self._size - len(data) if lines else 0
            if not data and self.dropped:
                # All else was taken: the reader is back.
                self._report = self.dropped
                self._reported += self._report
                self._data = self._dropped_line(self._report)
                self._kept = False
        return bool(self._data)

    def _lose_all(self) -> None:
        # Half a line may be out already: the next one must not become its end.
        if self._data != b"\n":
            if self._report:
                self._reported -= self._report
            else:
                self.dropped_total += self._data.count(b"\n", self._start)
            torn = self._start > 0 and not self._data.endswith(b"\n", 0, self._start)
            self._data = b"\n" if torn else b""
        self.dropped_total += sum(lines.count(b"\n") for lines in self._lines)
        self._lines.clear()
        self._size = 0
        self._start = 0
        self._report = 0
        self._kept = False
        if self._pending is not None:
            self._pending.clear()
