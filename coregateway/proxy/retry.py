"""May a failed attempt be made again, and how? Pure.

A request is never sent twice unless that is provably harmless (RFC 9110 §9.2.2).
"""

from typing import Final

from coregateway.model.errors import (
    ConnectFailed,
    ConnectTimeout,
    GatewayError,
    NameUnresolved,
    RetriedStatus,
    UpstreamClosed,
)

IDEMPOTENT: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
"""RFC 9110 §9.2.2, without TRACE, which is never forwarded."""

RESTED: Final = 2.0
"""Seconds. A request that is not idempotent goes out on a connection that is new or was idle for less:
backends close idle connections (uvicorn and Node after 5 s), and what is under way at that moment is lost."""

REPLAYABLE: Final = 65_536
"""Bytes of a request body that are kept to be sent again; a longer body is streamed and not kept."""

NEVER: Final = 0
AT_ONCE: Final = 1
"""Nothing was sent, and another upstream or a new connection may take it."""
LATER: Final = 2
"""Nothing was sent, and there is only the same upstream: after a pause."""
REPEATED: Final = 3
"""It may have been sent: within the budget of the node, after a pause."""


def way_on(
    error: GatewayError,
    method: str,
    *,
    attempt: int,
    attempts: int,
    replayable: bool,
    others: bool = False,
    lone: bool = True,
) -> int:
    """How attempt number `attempt` (the first is 1) of at most `attempts` may be followed by another.

    `replayable`: the request has no body, or the gateway still holds all of it. `others`: there is an
    upstream that it was not sent to. `lone`: the backend has but one.
    """
    if isinstance(error, UpstreamClosed) and error.reused and not error.sent:
        return AT_ONCE  # the connection was found unfit before anything was tried on it
    if isinstance(error, ConnectFailed | ConnectTimeout) and not lone:
        return AT_ONCE if others else NEVER  # once at each, however many there are
    if attempt >= attempts:
        return NEVER
    if isinstance(error, ConnectFailed):
        # Unlike after ConnectTimeout there is time left; without any address there is nothing to try.
        return NEVER if isinstance(error, NameUnresolved) else LATER
    if isinstance(error, RetriedStatus):
        return REPEATED if replayable and method in IDEMPOTENT else NEVER
    if not isinstance(error, UpstreamClosed):
        return NEVER
    if not error.sent:
        return AT_ONCE
    return REPEATED if error.reused and replayable and method in IDEMPOTENT else NEVER


def longest_pause(repetition: int, backoff: float, max_backoff: float) -> float:
    """Seconds before repetition number `repetition` (the first is 1), at most: the pause is drawn at random
    up to that, so that callers that failed together do not come again together."""
    return min(backoff * 2.0 ** min(repetition - 1, 32), max_backoff)
