"""What becomes of requests when upstreams fail: ejection, breaker, retries. Times are in seconds.

Each table may also stand under a backend, and overrides the node's key by key; the budget of retries is the
node's alone.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from coregateway.settings.table import Table
from coregateway.settings.values import (
    Count,
    Pause,
    PositiveCount,
    Seconds,
    Share,
    Switch,
    distinct,
    list_as_tuple,
)

_RANGE = re.compile(r"([45][0-9]{2})(?:-([45][0-9]{2}))?")


def _as_text(value: object) -> object:
    return str(value) if type(value) is int else value


def _retried(text: str) -> str:
    retried_statuses((text,))
    return text


def retried_statuses(texts: tuple[str, ...]) -> frozenset[int]:
    """The statuses that `retries.statuses` names. Raises ValueError."""
    found: set[int] = set()
    for text in texts:
        match = _RANGE.fullmatch(text)
        if match is None or int(match[1]) > int(match[2] or match[1]):
            raise ValueError(text)
        found |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(found)


RetriedStatuses = Annotated[
    tuple[Annotated[str, BeforeValidator(_as_text), AfterValidator(_retried)], ...],
    BeforeValidator(list_as_tuple),
    AfterValidator(distinct),
    Field(description='a list of distinct statuses from 400 to 599 such as 503, or ranges such as "502-504"'),
]

Ratio = Annotated[
    float, Field(gt=0, le=1, allow_inf_nan=False, description="a share above 0, no more than 1")
]


class EjectionSettings(Table):
    """Of an upstream by the requests that fail there; counts are the node's."""

    enabled: Switch = True
    failures: PositiveCount = 5
    """In a row: connections that failed, were lost, took too long, or brought no valid HTTP."""
    duration: Seconds = 30.0
    """Of the first ejection; the next ones last as many times as long."""
    max_duration: Seconds = 300.0
    max_share: Share = 0.5
    """Of a backend's upstreams that may be ejected at a time; one at least, unless it is 0."""


class BreakerSettings(Table):
    """Of a backend as a whole; counts are the node's."""

    enabled: Switch = False
    ratio: Ratio = 0.5
    """Of the tries in the window that failed, from which on it opens."""
    window: Seconds = 10.0
    minimum: PositiveCount = 20
    """Tries in the window, below which it stays closed."""
    open: Seconds = 10.0
    """Until one request may try whether the backend is well again."""


class RetrySettings(Table):
    """Of one request."""

    attempts: PositiveCount = 3
    """Tries of one request in all, the first included; those that failed to connect to one of several
    upstreams are not counted."""
    backoff: Pause = 0.025
    """Before the second try; it doubles with each, and is drawn at random up to that."""
    max_backoff: Pause = 0.25
    statuses: RetriedStatuses = ()
    """Of answers after which a request with an idempotent method is tried again."""


class NodeRetrySettings(RetrySettings):
    """With what holds for the whole node."""

    budget: Share = 0.2
    """Of the requests in flight: those that may be repetitions at a time."""
    budget_minimum: Count = 3
    """Repetitions that are always allowed at a time."""
