"""May a failed attempt be made again? Pure.

A request is never sent twice unless that is provably harmless (RFC 9110 §9.2.2).
"""

from typing import Final

from coregateway.model.errors import ConnectFailed, GatewayError, NameUnresolved, UpstreamClosed

IDEMPOTENT: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
"""RFC 9110 §9.2.2, without TRACE, which is never forwarded."""

RESTED: Final = 2.0
"""Seconds. A request that is not idempotent goes out on a connection that is new or was idle for less:
backends close idle connections (uvicorn and Node after 5 s), and what is under way at that moment is lost."""

REPLAYABLE: Final = 65_536
"""Bytes of a request body that are kept to be sent again; a longer body is streamed and not kept."""


def may_retry(error: GatewayError, method: str, *, attempt: int, attempts: int, replayable: bool) -> bool:
    """Whether attempt number `attempt` (the first is 1) of at most `attempts` may be followed by another.

    `replayable`: the request has no body, or the gateway still holds all of it.
    """
    if isinstance(error, UpstreamClosed) and error.reused and not error.sent:
        return True  # the connection was found unfit before anything was tried on it
    if attempt >= attempts:
        return False
    if isinstance(error, ConnectFailed):
        # Unlike after ConnectTimeout there is time left; without any address there is nothing to try.
        return not isinstance(error, NameUnresolved)
    if not isinstance(error, UpstreamClosed):
        return False
    return not error.sent or (error.reused and replayable and method in IDEMPOTENT)
