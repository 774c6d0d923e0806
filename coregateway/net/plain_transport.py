"""The transport of a client connection in the clear, over an `Epoll`.

A read brings no more than the worker's `ReadBudget` allows, so that what waits for slow backends stays small.
The receiver is told of every byte that the kernel does not take at once.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import EPIPE
from socket import MSG_TRUNC, SHUT_WR, socket
from typing import Any, Final, cast

from coregateway.model.addresses import plain_peer
from coregateway.net.epoll import IN, OUT
from coregateway.net.read_budget import MUCH
from coregateway.net.transport import Receiver, Transport
from coregateway.net.worker_io import WorkerIO

_AT_ONCE: Final = 1024
"""Pieces that one system call takes (IOV_MAX)."""

_READS: Final = 4
"""Reads of one client in a turn of the loop, at most; as long as each brings all that it may."""

_DROPPED: Final = 256 * 1024
"""Bytes that are dropped of one client in a turn of the loop, at most, once `discard` was called."""

_SPLICE_FLAGS: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK

_dropped: Final = bytearray(_DROPPED)
"""Takes what is dropped where the kernel copies it all the same. It is never read, so all may share it."""

_read: Final[Callable[[int, int], bytes]] = os.read
_write: Final[Callable[[int, Any], int]] = os.write


class PlainTransport(Transport):
    """See the module, and `Transport`."""

    __slots__ = (
        "_budget",
        "_closing",
        "_discards",
        "_epoll",
        "_has_ended",
        "_is_paused",
        "_loop",
        "_lost",
        "_receiver",
        "_sock",
        "_spliced",
        "_streams",
        "_unsent",
        "_writes_end",
    )

    def __init__(self, io: WorkerIO, sock: socket) -> None:
        """`sock` must not block."""
        self._loop = io.loop
        self._epoll = io.epoll
        self._budget = io.read_budget
        self._sock = sock
        self._receiver: Receiver | None = None
        self._closing = False
        """Whether nothing more is read, nor taken to be written."""
        self._lost = False
        """Whether the end of it is told, or about to be."""
        self._has_ended = False
        """Whether the client sends no more."""
        self._writes_end = False
        """Whether nothing follows what is unsent."""
        self._is_paused = False
        self._streams = False
        """Whether what comes is likely to be passed on at once."""
        self._discards = False
        """Whether what comes is dropped."""
        self._spliced: Callable[[], None] | None = None
        """Called when `splice` may go on, or never will; None: it is not in use."""
        self._unsent: list[memoryview] = []
        self.descriptor = self.watched = sock.fileno()
        self.events = 0

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        if not self._closing:
            self._epoll.watch(self, IN)

    def stream(self) -> None:
        self._streams = True

    def discard(self) -> None:
        self._discards = True
        self.resume_reading()

    def catch_up(self) -> None:
        if self.events:
            self.ready(self.events)

    # What the epoll tells

    def ready(self, events: int) -> None:
        if events != IN:
            if self._unsent:
                self._write_on()
            elif self._spliced is not None and events & OUT:
                self._epoll.watch(self, self.events & ~OUT)
                self._spliced()
        if not events & ~OUT:
            return
        for _ in range(_READS):
            if self._closing:
                return
            if self._is_paused:
                self._epoll.watch(self, self.events & ~IN)
                return
            if not self._read():
                return

    def _read(self) -> bool:
        """Pass on what the client has sent; whether there is likely to be more."""
        if self._discards:
            self._drop()
            return False
        budget = self._budget
        most = budget.size if self._streams else budget.ahead
        try:
            data = _read(self.watched, most)
        except BlockingIOError:
            return False
        except OSError as error:
            self._lose(error)
            return False
        size = len(data)
        if not size:
            self._read_end()
            return False
        if size <= MUCH:
            self._receive(data)
            return False
        budget.spend(size)
        self._receive(data)
        return size == most

    def _receive(self, data: bytes) -> None:
        cast(Receiver, self._receiver).data_received(data)

    def _drop(self) -> None:
        """Drop some of what the client has sent: where the kernel can do that (tcp(7)), nothing is copied."""
        try:
            if not self._sock.recv_into(_dropped, _DROPPED, MSG_TRUNC):
                self._read_end()
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(error)

    def _read_end(self) -> None:
        """The client sends no more."""
        self._has_ended = True
        if cast(Receiver, self._receiver).eof_received():
            self._epoll.watch(self, self.events & ~IN)
        else:
            self.close()

    def fail(self, error: Exception) -> None:
        self._loop.call_exception_handler(
            {"message": "a client connection has failed", "exception": error, "transport": self}
        )
        self._lose(error)

    # What asyncio's transports have

    def pause_reading(self) -> None:
        self._is_paused = not self._discards  # the epoll is asked to be quiet only when it is not

    def resume_reading(self) -> None:
        self._is_paused = False
        if not (self._closing or self._has_ended):
            self._epoll.watch(self, self.events | IN)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data or self._closing or self._writes_end:
            return
        if self._unsent:
            self._unsent.append(memoryview(data))
            return
        try:
            sent = _write(self.watched, data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose(error)
            return
        if sent < len(data):
            self._keep([memoryview(data)[sent:]])

    def writelines(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        if self._closing or self._writes_end:
            return
        if len(pieces) > _AT_ONCE:
            pieces = [b"".join(pieces)]
        if self._unsent:
            self._unsent += map(memoryview, pieces)
            return
        try:
            sent = os.writev(self.watched, pieces)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose(error)
            return
        if rest := _without(pieces, sent):
            self._keep(rest)

    def write_eof(self) -> None:
        if not (self._closing or self._writes_end):
            self._writes_end = True
            if not self._unsent:
                self._shut()

    def close(self) -> None:
        if self._closing:
            return
        self._refuse()
        if self._unsent:
            self._epoll.watch(self, OUT)
        else:
            self._lose(None)

    def abort(self) -> None:
        self._lose(None)

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self._unsent))

    # A body that does not pass through this process

    def begin_splice(self, call: Callable[[], None]) -> None:
        self._spliced = call

    def splice(self, pipe: int, size: int) -> int:
        if self._closing or self._writes_end:
            raise BrokenPipeError(EPIPE, "closing")
        if not self._unsent:
            try:
                return os.splice(pipe, self.watched, size, flags=_SPLICE_FLAGS)
            except BlockingIOError:
                self._epoll.watch(self, self.events | OUT)
        return 0

    def end_splice(self) -> None:
        if self._spliced is not None:
            self._spliced = None
            if not self._unsent and self.events & OUT:
                self._epoll.watch(self, self.events & ~OUT)

    def get_extra_info(self, name: str, default: object = None) -> Any:
        with suppress(OSError):  # the client has left
            match name:
                case "socket":
                    return self._sock
                case "sockname":
                    return self._sock.getsockname()
                case "peername":
                    return plain_peer(self._sock.getpeername())
                case _:
                    pass
        return default

    # The parts of it

    def _keep(self, unsent: list[memoryview]) -> None:
        """The kernel does not take this now."""
        self._unsent = unsent
        self._epoll.watch(self, self.events | OUT)
        if self._receiver is not None:
            self._receiver.pause_writing()

    def _write_on(self) -> None:
        try:
            sent = os.writev(self.watched, self._unsent[:_AT_ONCE])
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
            return
        self._unsent = _without(self._unsent, sent)
        if self._unsent:
            return
        self._epoll.watch(self, self.events & ~OUT)
        if self._spliced is not None:
            self._spliced()
        if self._writes_end:
            self._shut()
        if self._receiver is not None:
            self._receiver.resume_writing()
        if self._closing:
            self._lose(None)

    def _shut(self) -> None:
        with suppress(OSError):  # the client has left
            self._sock.shutdown(SHUT_WR)

    def _refuse(self) -> None:
        """Take nothing more to be written, and tell the batched writer and the splice at once."""
        self._closing = True
        if self._receiver is not None:
            self._receiver.closing = True
        call, self._spliced = self._spliced, None
        if call is not None:
            call()

    def _lose(self, error: Exception | None) -> None:
        if not self._closing:
            self._refuse()
        if not self._lost:
            self._lost = True
            self._unsent = []
            self._epoll.watch(self, 0)
            self._loop.call_soon(self._end, error)

    def _end(self, error: Exception | None) -> None:
        receiver, self._receiver = self._receiver, None
        try:
            if receiver is not None:
                receiver.connection_lost(error)
        finally:
            self._sock.close()


def _without(pieces: Sequence[bytes | bytearray | memoryview], size: int) -> list[memoryview]:
    """What is left of pieces when so many bytes of them are gone."""
    rest: list[memoryview] = []
    for piece in pieces:
        if size >= len(piece):
            size -= len(piece)
        else:
            rest.append(memoryview(piece)[size:])
            size = 0
    return rest
