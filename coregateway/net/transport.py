"""What a client's connection and the way its bytes take promise each other, whatever that way is.

A `Transport` carries bytes: in the clear (`plain_transport`), or through a layer that changes them. A
`Receiver` is told of what comes. The methods that asyncio's transports and protocols have mean the same here;
a compiled class cannot derive from those.
"""

from collections.abc import Callable, Sequence
from typing import Any

from mypy_extensions import mypyc_attr

from coregateway.net.batched_writer import Writer
from coregateway.net.epoll import Watched


class Receiver(Writer):
    """The side of a connection that a transport tells of what happens to it."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """The peer has sent something."""
        raise NotImplementedError

    def eof_received(self) -> bool:
        """The peer sends no more; whether the transport stays open."""
        raise NotImplementedError

    def pause_writing(self) -> None:
        """The kernel does not take all that was written."""
        raise NotImplementedError

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        raise NotImplementedError

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; called once."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Transport(Watched):
    """Of one connected socket, which it owns; nothing is read before `start`.

    Nothing is written past a transport that is closing: a splice asks the transport for every piece, and the
    decision to close sets the receiver's `closing`, which the batched writer looks at before it writes to the
    descriptor.
    """

    __slots__ = ("descriptor",)

    descriptor: int
    """Of the socket, if bytes that are written to it reach the peer as they are; -1: all bytes must pass
    through `write` or `writelines`, and the kernel cannot splice."""

    def start(self, receiver: Receiver) -> None:
        """Read from now on, and tell the receiver."""
        raise NotImplementedError

    # Reading

    def pause_reading(self) -> None:
        """Read no more for now. While the transport discards, this does nothing."""
        raise NotImplementedError

    def resume_reading(self) -> None:
        """Read on, whether it was paused or not."""
        raise NotImplementedError

    def stream(self) -> None:
        """Let a read bring more from now on, as a body is passed on at once."""
        raise NotImplementedError

    def discard(self) -> None:
        """Drop all that comes from now on; the receiver is told of the peer's end alone."""
        raise NotImplementedError

    def catch_up(self) -> None:
        """Read and write now what the socket is ready for: a limit has passed, and bytes came before."""
        raise NotImplementedError

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write in order, now as far as the kernel takes it. A transport that is closing drops it.

        `pause_writing` is called, before this returns, when anything is left.
        """
        raise NotImplementedError

    def writelines(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        """As `write`, pieces behind each other."""
        raise NotImplementedError

    def get_write_buffer_size(self) -> int:
        """Bytes that were written and that the kernel has not taken."""
        raise NotImplementedError

    def write_eof(self) -> None:
        """Close for writing, behind everything that was written; reading goes on."""
        raise NotImplementedError

    # A body that does not pass through this process; only where there is a `descriptor`

    def begin_splice(self, call: Callable[[], None]) -> None:
        """Let `splice` be used. `call` is called whenever that may go on, and once when it never will.

        `end_splice` must follow; nothing may be written meanwhile.
        """
        raise NotImplementedError

    def splice(self, pipe: int, size: int) -> int:
        """Send so many bytes out of a pipe, at most; returns how many. 0: `call` tells when to go on.

        Raises OSError: the peer has left, or the connection is closing.
        """
        raise NotImplementedError

    def end_splice(self) -> None:
        """`splice` is used no more; the second call does nothing."""
        raise NotImplementedError

    # The end

    def close(self) -> None:
        """Read no more, and close once everything that was written is taken."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close now. What was not taken is lost, and `connection_lost` follows in the next turn."""
        raise NotImplementedError

    def is_closing(self) -> bool:
        """Whether `close` or `abort` was called, or the connection has failed."""
        raise NotImplementedError

    def get_extra_info(self, name: str, default: object = None) -> Any:
        """`socket`, `sockname` and `peername`; the default for all else, and once the peer has left."""
        raise NotImplementedError
