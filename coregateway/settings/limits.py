"""The tables `[timeouts]` and `[limits]`: how long things may take, and how many of them there may be.

A backend and a route may have limits of time of their own, with those of the node for what they do not say.
"""

from typing import Any

from pydantic import model_validator

from coregateway.settings.rates import PolicyNames
from coregateway.settings.table import Table
from coregateway.settings.values import BodySize, Count, GatherSize, HeadSize, Pause, PositiveCount, Seconds

YIELDING = frozenset({("limits", "max_keepalive_connections")})
"""Keys whose defaults give way to what other keys say, and contradict none."""


class TimeoutSettings(Table):
    """All in seconds."""

    connect: Seconds = 5.0
    """To open a connection to a backend."""
    read: Seconds = 30.0
    """Until the response head is complete, 1xx responses included; then of silence from the backend."""
    write: Seconds = 10.0
    """Of a backend that takes no bytes."""
    pool: Seconds = 5.0
    """Waiting for a free connection."""
    client: Seconds = 30.0
    """For a client to send its whole request head, and of silence in its body."""
    idle: Seconds = 75.0
    """Of an idle client connection between two requests."""
    linger: Pause = 30.0
    """That a client whose answer came early may go on sending; 0: its connection is closed at once."""
    total: Pause = 0.0
    """For a request as a whole: from its head to the last byte of a response that is no event
    stream and opens no tunnel; 0: no limit."""


class RequestLimits(Table):
    """Per request, for the whole gateway."""

    max_head: HeadSize = 16384
    """Bytes of the request head."""
    max_body: BodySize = 104857600
    """Bytes of the request body, however it is framed; 0: no limit."""
    gather: GatherSize = 65536
    """Bytes of a body that must have come, or all of it, before a connection to a backend is taken for it; a
    middleware may read 16 times as many."""


class LimitSettings(Table):
    """Of connections: per worker and address of a backend, so that none uses up another's. `max_queued` is
    per worker and backend, `request` per request."""

    max_connections: PositiveCount = 50
    """Connections to one address of a backend."""
    max_keepalive_connections: Count = 20
    """At most `max_connections`, to which the default gives way: to lower the one must not need both."""
    keepalive_expiry: Seconds = 30.0
    """Seconds that an idle connection to a backend is kept."""
    max_queued: Count = 1000
    """Requests that may wait for a connection."""
    max_streams: Count = 1000
    """Tunnels and event streams, per worker and address; they do not count to `max_connections`."""
    client_rate: Count = 1024
    """Bytes/s; a client that is slower over 3 s, while other requests wait for its connection, loses it.
    0: none does."""
    request: RequestLimits = RequestLimits()
    rates: PolicyNames = ()
    """Those of `[rates.NAME]` that hold for every backend and route that says none itself."""
    concurrency: PolicyNames = ()
    """The same of `[concurrency.NAME]`."""

    @model_validator(mode="before")
    @classmethod
    def _yield_to_max_connections(cls, table: dict[str, Any]) -> dict[str, Any]:
        most = table.get("max_connections")
        if not isinstance(most, int) or "max_keepalive_connections" in table:
            return table
        kept: int = cls.model_fields["max_keepalive_connections"].default
        return {**table, "max_keepalive_connections": min(kept, most)}
