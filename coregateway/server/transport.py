"""The transport of a client connection, as asyncio has it, over a `Poll`.

A read brings no more than is allowed, so that what waits for slow backends stays small (`allowance`). Who
writes is told of every byte that the kernel does not take at once.
"""

import os
from asyncio import AbstractEventLoop, Transport
from collections.abc import Callable, Sequence
from contextlib import suppress
from socket import SHUT_WR, socket
from typing import TYPE_CHECKING, Any, Final, cast

from coregateway.addresses import plain_peer
from coregateway.allowance import MUCH, allowance
from coregateway.server.poll import IN, OUT, Poll, Watched

if TYPE_CHECKING:
    from coregateway.server.downstream import Downstream

_AT_ONCE: Final = 1024
"""Pieces that one system call takes (IOV_MAX)."""

_READS: Final = 4
"""Reads of one client in a turn of the loop, at most; as long as each brings all that it may."""

_read: Final[Callable[[int, int], bytes]] = os.read
_write: Final[Callable[[int, Any], int]] = os.write


class ClientTransport(Watched):
    """Of one connected socket, which it owns; nothing happens before `begin`."""

    __slots__ = (
        "_closing",
        "_has_ended",
        "_is_paused",
        "_loop",
        "_lost",
        "_poll",
        "_protocol",
        "_sock",
        "_streams",
        "_unsent",
        "_writes_end",
    )

    def __init__(self, loop: AbstractEventLoop, poll: Poll, sock: socket) -> None:
        """`sock` must not block."""
        self._loop = loop
        self._poll = poll
        self._sock = sock
        self._protocol: Downstream | None = None
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
        self._unsent: list[memoryview] = []
        self.descriptor = sock.fileno()
        self.events = 0

    def as_transport(self) -> Transport:
        """Itself. A compiled class cannot derive from one that is not, so the type checker does not know."""
        return cast(Transport, self)

    def begin(self, protocol: "Downstream") -> None:
        """Read from now on, and tell `protocol`."""
        self._protocol = protocol
        if not self._closing:
            self._poll.watch(self, IN)

    def stream(self) -> None:
        """Let a read bring more, as a body is to be passed on."""
        self._streams = True

    def catch_up(self) -> None:
        """Do at once what would be done in its turn: a limit has passed, and what is here came before it."""
        if self.events:
            self.ready(self.events)

    # What the poll tells

    def ready(self, events: int) -> None:
        if events != IN and self._unsent:
            self._write_on()
        if not events & ~OUT:
            return
        for _ in range(_READS):
            if self._closing:
                return
            if self._is_paused:
                self._poll.watch(self, self.events & ~IN)
                return
            if not self._read():
                return

    def _read(self) -> bool:
        """Pass on what the client has sent; whether there is likely to be more."""
        most = allowance.size if self._streams else allowance.ahead
        try:
            data = _read(self.descriptor, most)
        except BlockingIOError:
            return False
        except OSError as error:
            self._lose(error)
            return False
        protocol = cast("Downstream", self._protocol)
        size = len(data)
        if not size:
            self._has_ended = True
            if protocol.eof_received():
                self._poll.watch(self, self.events & ~IN)
            else:
                self.close()
            return False
        if size <= MUCH:
            protocol.data_received(data)
            return False
        allowance.spend(size)
        protocol.data_received(data)
        return size == most

    def fail(self, error: Exception) -> None:
        self._loop.call_exception_handler(
            {"message": "a client connection has failed", "exception": error, "transport": self}
        )
        self._lose(error)

    # What asyncio's transports have

    def pause_reading(self) -> None:
        self._is_paused = True  # the poll is asked to be quiet only when it is not

    def resume_reading(self) -> None:
        self._is_paused = False
        if not (self._closing or self._has_ended):
            self._poll.watch(self, self.events | IN)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data or self._closing or self._writes_end:
            return
        if self._unsent:
            self._unsent.append(memoryview(data))
            return
        try:
            sent = _write(self.descriptor, data)
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
            sent = os.writev(self.descriptor, pieces)
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
        self._closing = True
        if self._unsent:
            self._poll.watch(self, OUT)
        else:
            self._lose(None)

    def abort(self) -> None:
        self._lose(None)

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self._unsent))

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
        self._poll.watch(self, self.events | OUT)
        if self._protocol is not None:
            self._protocol.pause_writing()

    def _write_on(self) -> None:
        try:
            sent = os.writev(self.descriptor, self._unsent[:_AT_ONCE])
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
            return
        self._unsent = _without(self._unsent, sent)
        if self._unsent:
            return
        self._poll.watch(self, self.events & ~OUT)
        if self._writes_end:
            self._shut()
        if self._protocol is not None:
            self._protocol.resume_writing()
        if self._closing:
            self._lose(None)

    def _shut(self) -> None:
        with suppress(OSError):  # the client has left
            self._sock.shutdown(SHUT_WR)

    def _lose(self, error: Exception | None) -> None:
        self._closing = True
        if not self._lost:
            self._lost = True
            self._unsent = []
            self._poll.watch(self, 0)
            self._loop.call_soon(self._end, error)

    def _end(self, error: Exception | None) -> None:
        protocol, self._protocol = self._protocol, None
        try:
            if protocol is not None:
                protocol.connection_lost(error)
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
