"""The hard end of a connection, which nobody takes for the end of what was sent on it."""

from asyncio import Transport
from socket import SO_LINGER, SOL_SOCKET
from struct import pack

_AT_ONCE = pack("ii", 1, 0)


def reset(transport: Transport) -> None:
    """Close at once, by a reset (RFC 9293 §3.5.2). What was written and has not arrived is lost."""
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _AT_ONCE)
    transport.abort()
