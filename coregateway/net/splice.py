"""The rest of a large body, from one connection to another inside the kernel: splice(2).

A body of a known length need not be looked at, so it need not be copied into the process and out of it again:
its pages pass from socket to socket through a pipe, for a third of the CPU time. What is on the way waits in
the pipe; while the sink takes nothing, nothing is read from the source.

Only the transport of the sink writes to it: a connection that is closing takes nothing more, and what was
written before has left. Of the source there is a second descriptor, to read from; it is closed as soon as the
splice has ended, whatever became of it.

It passes in pieces, and others have their turn after each. But each wakes both peers, which takes a third of
the CPU time: while nobody else is served at once (`outbox`), pieces are larger.

Where the kernel cannot do that, or no pipe is free, bodies are copied as ever.
"""

import os
import socket
import struct
from asyncio import AbstractEventLoop, Future, Transport
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from errno import EINVAL
from fcntl import F_GETPIPE_SZ, F_SETPIPE_SZ, fcntl
from typing import Any, Protocol

from coregateway.net.batched_writer import outbox
from coregateway.net.deadline import Deadline
from coregateway.net.sockets import duplicate

WORTH = 256 * 1024
"""Bytes that must be left of a body. Preparing for it takes as long as copying some ten thousand, but of what
is small most has come already."""

PIECE = 192 * 1024
"""Bytes of one body that may have to wait in the pipe: an exchange may hold 256 KiB."""

LARGE_PIECE = 1024 * 1024
"""Bytes that are passed on at once while nobody waits for a turn, as far as the sink has room for them."""

CALM = 32
"""Pieces in a row without anything of others in the outbox, after which nobody is taken to wait for a turn.
Their streams and tunnels are not seen there: these may wait for a large piece, about half a millisecond."""

PIPES = 64
"""Bodies that pass like this at once, per worker. Each takes three descriptors, and an account without
privileges may have 64 MiB in pipes (pipe(7))."""

_CAPACITY = 256 * 1024
"""Bytes of a pipe. More than a piece: one that came in small segments takes more pages than it fills."""

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


class Sink(Protocol):
    """Where a body goes: see `PlainTransport`."""

    def begin_splice(self, call: Callable[[], None]) -> None: ...
    def splice(self, pipe: int, size: int) -> int: ...
    def end_splice(self) -> None: ...
    def is_closing(self) -> bool: ...
    def get_extra_info(self, name: str, default: object = None) -> Any: ...


class Pipe:
    """Raises OSError where no descriptor is free."""

    __slots__ = ("into", "is_wide", "out_of", "size")

    def __init__(self) -> None:
        self.out_of, self.into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.is_wide = False
        """Whether it was widened."""
        self.size = 0
        """Bytes that may be in it."""
        self._resize(_CAPACITY)

    def widen(self) -> None:
        """Make it fit for large pieces, if the account may have that."""
        self.is_wide = True
        self._resize(LARGE_PIECE)

    def _resize(self, size: int) -> None:
        with suppress(PermissionError):  # the account has had its share: it stays as small as it is
            fcntl(self.into, F_SETPIPE_SZ, size)
        self.size = fcntl(self.into, F_GETPIPE_SZ)

    def close(self) -> None:
        os.close(self.into)
        os.close(self.out_of)


class Pipes:
    """The pipes of one worker. One that is empty again is used again."""

    def __init__(self) -> None:
        self._spare: list[Pipe] = []
        self._made = 0
        self.most = PIPES
        """How many there may be."""

    def take(self) -> Pipe | None:
        """An empty pipe; None where all are in use, or cannot be had."""
        if self._spare:
            return self._spare.pop()
        if self._made >= self.most:
            return None
        try:
            pipe = Pipe()
        except OSError:
            return None
        self._made += 1
        return pipe

    @property
    def lent(self) -> int:
        """How many are in use."""
        return self._made - len(self._spare)

    def give_back(self, pipe: Pipe, *, empty: bool) -> None:
        """A wide one is not kept, so that there is one at a time, more or less."""
        if empty and not pipe.is_wide:
            self._spare.append(pipe)
        else:
            pipe.close()
            self._made -= 1


pipes = Pipes()
"""This worker's."""


class Splice:
    """One body on its way between two TCP connections; nothing else may be read or written meanwhile.

    It watches a descriptor of its own for the source: the loop lets nobody else watch a transport's.
    """

    __slots__ = (
        "_blocked",
        "_calm",
        "_ended",
        "_held",
        "_late",
        "_left",
        "_loop",
        "_patience",
        "_pipe",
        "_seen",
        "_silence",
        "_sink",
        "_source",
        "passed",
    )

    def __init__(self, loop: AbstractEventLoop, source: Transport, sink: Sink, pipe: Pipe) -> None:
        """`close` must follow. Raises OSError where no descriptor is free."""
        self._loop = loop
        self._pipe = pipe
        self._source = duplicate(source)
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
            self._loop.add_reader(self._source, self._fill)
        return await self._ended

    def interrupt(self) -> None:
        """Let it end as it is."""
        self._end(End.INTERRUPTED)

    def close(self) -> None:
        self._rest()
        pipes.give_back(self._pipe, empty=not self._held)

    def _fill(self) -> None:
        """The source has brought something. One piece of it: others want their turn."""
        size = min(self._left, self._piece())
        try:
            self._held = os.splice(self._source.fileno(), self._pipe.into, size, flags=_FLAGS)
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
                self._loop.remove_reader(self._source)
            elif self._held == before:
                return
            self._late.within(self._patience)
            return
        if not self._left:
            self._end(End.COMPLETE)
            return
        if self._blocked:
            self._blocked = False
            self._loop.add_reader(self._source, self._fill)
        self._late.within(self._silence)

    def _piece(self) -> int:
        """Bytes that the next piece may have."""
        if outbox.turns != self._seen or pipes.lent > 1:
            self._seen = outbox.turns
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
        if self._source.fileno() >= 0:
            self._loop.remove_reader(self._source)
            self._source.close()


def prepare(loop: AbstractEventLoop, source: Transport, sink: Sink) -> Splice | None:
    """A splice between two connections, or None where that cannot be."""
    pipe = pipes.take()
    if pipe is None:
        return None
    try:
        return Splice(loop, source, sink, pipe)
    except OSError:
        pipes.give_back(pipe, empty=True)
        return None
