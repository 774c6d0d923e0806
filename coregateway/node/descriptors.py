"""How many descriptors a worker may have, and for how many clients that is."""

import os
import resource
import sys
from contextlib import suppress

ASIDE = 64
"""Descriptors kept aside for the admin address, and for what comes and goes."""

FOR_PIPES = 16
"""The share of the descriptors that may be in use for pipes is one of so many."""

PER_PIPE = 4
"""Descriptors of a body that passes through one (`splice`)."""


def raise_limit() -> None:
    """Let this process, and those that it starts, have as many descriptors as the system grants them."""
    with suppress(OSError, ValueError):  # more than the kernel has room for: it stays as it is
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int:
    """Descriptors that this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def room_for_clients(limit: int, in_use: int, upstreams: int, pipes: int) -> int:
    """Connections of clients, at most, beside what is `in_use` already and so many connections to upstreams.

    What is kept aside is half of the limit at most.
    """
    aside = upstreams + pipes * PER_PIPE + ASIDE
    return max(limit - in_use - min(aside, limit // 2), 1)


def in_use() -> int:
    """Descriptors that this process has."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return ASIDE
