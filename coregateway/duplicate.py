"""A second descriptor of a connection, which outlives the one that its transport has.

It knows nothing of what its transport decides. So nothing is written by it while there is another: it is for
reading, or takes the place of a transport that ends.
"""

import os
from asyncio import Transport
from socket import socket


def duplicate(transport: Transport) -> socket:
    """A transport's socket by a descriptor of our own.

    Raises OSError where no descriptor is free.
    """
    known = transport.get_extra_info("socket")
    return socket(known.family, known.type, known.proto, os.dup(known.fileno()))
