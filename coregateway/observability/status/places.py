"""Where the state of the node stands: keys of slots in a part's `series`, and what their numbers are.

Times are seconds since the epoch, 0.0: never. All of it is one worker's; `overview` makes it the node's.
"""

from hashlib import blake2b

from coregateway.shared_memory.series import MAX_KEY

WORKER = "status.worker"
CONNECTIONS = 0
"""Of clients, on the main port."""
LAG = 1
"""Seconds, the most by which its loop was late in the last `reporter.PERIOD`."""
WORKING = 2
"""Requests for backends that are under way."""


def pool(backend: str) -> str:
    """The key of a backend's pool."""
    return f"status.pool\x1f{backend}"


ACTIVE = 0
"""Connections to the backend, by state: with an exchange, at rest, being opened."""
IDLE = 1
OPENING = 2
QUEUED = 3
"""Requests that wait for a connection."""
IN_FLIGHT = 4
"""Requests under way, those included."""
BUSY_TIME = 5
"""Seconds that connections carried exchanges, and that requests waited for one, over all of them."""
QUEUED_TIME = 6
STREAMING = 7
"""Connections that carry a tunnel or an event stream, and count to no limit of connections."""
SLOW_CLIENTS = 8
"""How many exchanges were ended because others waited for what their clients held, from the beginning."""
ENDED = 9
"""Of idle connections that the backend ended of late: how many, and the least and most seconds of rest."""
SHORTEST = 10
LONGEST = 11


def upstream(backend: str, url: str) -> str:
    """The key of one of a backend's addresses, by its URL: a reload may put others into the settings."""
    key = f"status.upstream\x1f{backend}\x1f{url}"
    if len(key.encode()) <= MAX_KEY:
        return key
    return f"status.upstream\x1f~{blake2b(key.encode(), digest_size=16).hexdigest()}"


ANSWERED = 0
"""When it did last."""
FAILED = 1
FAILING_SINCE = 2
"""When the first of the failures came that no answer to this worker has followed."""
FAILURES = 3
"""How many of them there were."""
CAUSE = 4
"""Of the last one: a place in `CAUSES`."""
RECOVERED = 5
"""When the first answer came after the last failure, or at all."""
ACTIVE_HERE = 6
"""Connections with an exchange."""
CONNECTS = 7
"""Connections that were tried, from the beginning."""
REFUSALS = 8
"""Those that its host refused, that were not there in time, whose name could not be resolved, and the rest of
those that could not be had."""
TIMEOUTS = 9
UNRESOLVED = 10
UNREACHABLE = 11
SURPLUSES = 12
"""How often a connection brought bytes that no request asked for, from the beginning."""

CAUSES = (
    "",
    "connect_failed",
    "connect_timeout",
    "upstream_closed",
    "upstream_protocol",
    "read_timeout",
    "write_timeout",
    "tls_name",
    "tls_time",
    "tls_chain",
    "tls_handshake",
)
