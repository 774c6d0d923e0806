"""Sockets beneath transports: their addresses, limits, second descriptors, and the hard end."""

import os
from socket import IPPROTO_TCP, SO_LINGER, SOL_SOCKET, TCP_NOTSENT_LOWAT, socket
from struct import pack
from typing import Any, Final, cast
from typing import Protocol as Interface

from coregateway.model.addresses import plain_peer

UNSENT: Final = 128 * 1024
"""Bytes that the kernel takes for a peer beyond those that are on their way to it, per connection.

Without a limit it takes megabytes for a peer that reads nothing. Several hundred such peers keep a worker
busy with copying while others wait, and can use up the machine's memory for TCP (`tcp_mem` in tcp(7)).
"""

_AT_ONCE = pack("ii", 1, 0)


class OverSocket(Interface):
    """A transport of either side, which knows its socket."""

    def get_extra_info(self, name: str) -> Any: ...
    def is_closing(self) -> bool: ...
    def abort(self) -> None: ...


def limit_unsent(sock: socket) -> None:
    """Hold a TCP socket to `UNSENT` (tcp(7), TCP_NOTSENT_LOWAT).

    Connections inherit the limit from the listening socket that they come in by.
    """
    sock.setsockopt(IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT)


def peer_address(sock: socket) -> str:
    """The IP address of the other end; empty for a Unix socket, and when the peer has left already."""
    try:
        address: object = sock.getpeername()
    except OSError:
        return ""
    plain = plain_peer(address)
    return str(cast("tuple[object, ...]", plain)[0]) if isinstance(plain, tuple) else ""


def duplicate(transport: OverSocket) -> socket:
    """A transport's socket by a second descriptor, to take the place of a transport that ends.

    The second descriptor outlives the transport's own and knows nothing of what the transport decides: while
    the transport lives, nothing may be written by it.

    Raises OSError where no descriptor is free.
    """
    known = transport.get_extra_info("socket")
    return socket(known.family, known.type, known.proto, os.dup(known.fileno()))


def reset(transport: OverSocket) -> None:
    """Close at once, by a reset (RFC 9293 §3.5.2). What was written and has not arrived is lost.

    The peer cannot take it for the end of what was sent.
    """
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _AT_ONCE)
    transport.abort()
