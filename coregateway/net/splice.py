"""The rest of a large body, from one connection to another inside the kernel: splice(2).

A body of a known length need not be looked at, so it need not be copied into the process and out of it again:
its pages pass from socket to socket through a pipe, for a third of the CPU time. What is on the way waits in
the pipe; while the sink takes nothing, nothing is read from the source.

Only the transport of the sink writes to it: a connection that is closing takes nothing more, and what was
written before has left. The splice reads from the source by a second descriptor, which it closes as soon as
it has ended, whatever became of it.

A body passes in pieces, and other connections have their turn after each. But each piece wakes both peers,
which takes a third of the CPU time: while no small answers leave (`BatchedWriter.turns`), pieces are larger.

Where the kernel cannot do that, or no pipe is free, or the bytes of a side are changed on their way (it has
no descriptor), bodies are copied as ever.
"""

import os
import socket
import struct
from asyncio import Future
from enum import Enum, auto
from errno import EINVAL

from coregateway.net.deadline import Deadline
from coregateway.net.epoll import IN, Watched
from coregateway.net.pipes import WIDE, Pipe
from coregateway.net.transport import Transport
from coregateway.net.worker_io import WorkerIO

WORTH = 256 * 1024
"""Bytes that must be left of a body. Preparing for it takes as long as copying some ten thousand, but of what
is small most has come already."""

PIECE = 192 * 1024
"""Bytes of one body that may have to wait in the pipe: an exchange may hold 256 KiB."""

LARGE_PIECE = WIDE
"""Bytes of a piece, at most, while no other connection waits for a turn and the sink has room for them."""

CALM = 32
"""Pieces in a row during which the batched writer has had nothing to write, after which no other connection
is taken to wait for a turn. Streams and tunnels do not write through it: these may wait for a large piece,
about half a millisecond."""

_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK

_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")
_SNDBUF, _WMEM_QUEUED = 3, 5
"""What a socket may queue and has queued, in bytes (linux/sock_diag.h)."""


class End(Enum):
    """How a splice has ended."""

    COMPLETE = auto()
    UNABLE = auto()
    """The kernel does not splice these; nothing has passed."""
    INTERRUPTED = auto()
    SOURCE_ENDED = auto()
    SOURCE_LATE = auto()
    SINK_ENDED = auto()
    SINK_LATE = auto()


class Splice(Watched):
    """One body on its way between two TCP connections; nothing else may be read or written meanwhile.

    It watches a descriptor of its own for the source: a loop does not let a transport's be watched. The
    worker's epoll tells of it, because uvloop does not call a reader whose connection was reset (libuv gives
    POLLERR as an error of the descriptor).
    """

    __slots__ = (
        "_blocked",
        "_calm",
        "_ended",
        "_held",
        "_io",
        "_late",
        "_left",
        "_patience",
        "_pipe",
        "_seen",
        "_silence",
        "_sink",
        "_source",
        "passed",
    )

    def __init__(self, io: WorkerIO, source: int, sink: Transport, pipe: Pipe) -> None:
        """See `prepare`. Raises OSError where no descriptor is free."""
        self._io = io
        loop = io.loop
        self._pipe = pipe
        self._source = self.watched = os.dup(source)
        """-1: it is closed."""
        self.events = 0
        self._sink = sink
        self._late = Deadline(loop, self._expired)
        self._ended: Future[End] = loop.create_future()
        self._blocked = False
        self._left = self._held = 0
        self._calm = self._seen = 0
        self._silence = self._patience = 0.0
        self.passed = 0
        """Bytes that the sink has taken."""

    async def run(self, size: int, *, silence: float, patience: float) -> End:
        """Pass on so many bytes.

        `silence`: seconds that the source may bring nothing; `patience`: that the sink may take nothing.
        """
        self._left = size
        self._silence = silence
        self._patience = patience
        if self._sink.is_closing():
            self._end(End.SINK_ENDED)
        if not self._ended.done():
            self._sink.begin_splice(self._sink_changed)
            self._late.within(silence)
            self._io.epoll.watch(self, IN)
        return await self._ended

    @property
    def is_blocked(self) -> bool:
        """Whether the sink has not taken all of what has come."""
        return self._blocked

    def interrupt(self) -> None:
        """Let it end as it is."""
        self._end(End.INTERRUPTED)

    def close(self) -> None:
        self._rest()
        self._io.pipes.take_back(self._pipe, empty=not self._held)

    # What the epoll tells

    def ready(self, events: int) -> None:  # noqa: ARG002 -- whatever it is, reading shows it
        self._fill()

    def fail(self, error: Exception) -> None:
        self._rest()
        if not self._ended.done():
            self._ended.set_exception(error)

    def abort(self) -> None:
        self._end(End.INTERRUPTED)

    # Piece by piece

    def _fill(self) -> None:
        """The source has brought something. One piece of it: others want their turn."""
        size = min(self._left, self._piece())
        try:
            self._held = os.splice(self._source, self._pipe.into, size, flags=_FLAGS)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(End.UNABLE if error.errno == EINVAL and not self.passed else End.SOURCE_ENDED)
            return
        if not self._held:
            self._end(End.SOURCE_ENDED)
            return
        self._left -= self._held
        self._drain()

    def _drain(self) -> None:
        """The sink takes something, or may."""
        before = self._held
        try:
            while self._held:
                moved = self._sink.splice(self._pipe.out_of, self._held)
                if not moved:
                    break
                self._held -= moved
                self.passed += moved
        except OSError:
            self._end(End.SINK_ENDED)
            return
        if self._held:
            if not self._blocked:
                self._blocked = True
                self._io.epoll.watch(self, 0)
            elif self._held == before:
                return
            self._late.within(self._patience)
            return
        if not self._left:
            self._end(End.COMPLETE)
            return
        if self._blocked:
            self._blocked = False
            self._io.epoll.watch(self, IN)
        self._late.within(self._silence)

    def _piece(self) -> int:
        """Bytes that the next piece may have."""
        turns = self._io.writer.turns
        if turns != self._seen or self._io.pipes.lent > 1:
            self._seen = turns
            self._calm = 0
        self._calm += 1
        if self._calm <= CALM:
            return min(PIECE, self._pipe.size)
        if not self._pipe.is_wide:
            self._pipe.widen()
        return min(PIECE + self._room(), self._pipe.size)

    def _room(self) -> int:
        """Bytes that the sink takes without having to wait.

        Of what it may queue its kernel takes some for itself, less than a KiB for each 64 (a twentieth, where
        they arrived in scraps): room for that is left.
        """
        try:
            sink: socket.socket = self._sink.get_extra_info("socket")
            memory = _MEMINFO.unpack(sink.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))
        except OSError:
            return 0
        return max(0, memory[_SNDBUF] - memory[_WMEM_QUEUED]) * 15 // 16

    def _expired(self) -> None:
        before = self._left, self._held
        if self._blocked:
            self._drain()
        else:
            self._fill()
        if (self._left, self._held) == before:  # it is not that the whole process has rested
            self._end(End.SINK_LATE if self._blocked else End.SOURCE_LATE)

    def _sink_changed(self) -> None:
        """The sink takes more, or is closing."""
        if self._sink.is_closing():
            self._end(End.SINK_ENDED)
        else:
            self._drain()

    def _end(self, end: End) -> None:
        self._rest()
        if not self._ended.done():
            self._ended.set_result(end)

    def _rest(self) -> None:
        """Let go of both connections."""
        self._late.close()
        self._sink.end_splice()
        if self._source >= 0:
            self._io.epoll.watch(self, 0)
            os.close(self._source)
            self._source = -1


def prepare(io: WorkerIO, source: int, sink: Transport) -> Splice | None:
    """A splice between two connections, or None where that cannot be; `close` must follow.

    `source`: the descriptor of the connection that brings the body; -1: it has none.
    """
    if source < 0 or sink.descriptor < 0:
        return None
    pipe = io.pipes.lend_pipe()
    if pipe is None:
        return None
    try:
        return Splice(io, source, sink, pipe)
    except OSError:
        io.pipes.take_back(pipe, empty=True)
        return None
