"""Ports of 127.0.0.1 for tests, such that no other test takes them by chance."""

import random
import socket
from collections.abc import Generator
from contextlib import contextmanager


def bind_free(sock: socket.socket) -> int:
    """Bind a socket to a free port, which is returned.

    Not one that the kernel picks: those are also what it gives to outgoing connections, so that under load
    one may be taken as soon as it is free again.
    """
    while True:
        try:
            sock.bind(("127.0.0.1", random.randrange(20000, 32000)))
        except OSError:
            continue
        return sock.getsockname()[1]


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        return bind_free(probe)


@contextmanager
def refusing() -> Generator[str]:
    """The URL of a backend that refuses connections. While the context lasts, nobody can listen there."""
    with socket.socket() as taken:
        yield f"http://127.0.0.1:{bind_free(taken)}"
