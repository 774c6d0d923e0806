"""Ports of 127.0.0.1 for tests, such that no other test takes them by chance."""

import os
import random
import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import chain, cycle

PORTS = range(20_000, 32_000)
"""Not those that the kernel picks: these are also what it gives to outgoing connections, so that under load
one may be taken as soon as it is free again."""

SHARES = 8


def ports_of(worker: str) -> Iterator[int]:
    """The ports of one process of pytest-xdist ("gw3"), or of another process (""), again and again.

    Processes have shares of their own, and each takes one port after the other. So a port that was found free
    stays free until the process that was told of it has started to listen there.
    """
    share = PORTS[int(worker.removeprefix("gw") or 0) % SHARES :: SHARES]
    first = random.randrange(len(share))
    return cycle(chain(share[first:], share[:first]))


_ports = ports_of(os.environ.get("PYTEST_XDIST_WORKER", ""))


def bind_free(sock: socket.socket, host: str = "127.0.0.1") -> int:
    """Bind a socket to a free port, which is returned."""
    while True:
        port = next(_ports)
        try:
            sock.bind((host, port))
        except OSError:
            continue
        return port


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        return bind_free(probe)


@contextmanager
def refusing() -> Generator[str]:
    """The URL of a backend that refuses connections. While the context lasts, no process can listen there."""
    with socket.socket() as taken:
        yield f"http://127.0.0.1:{bind_free(taken)}"
