"""What the node finds out by itself of its upstreams: how they are (`health`), where they are (`dns`).

All times are in seconds. Checks and look-ups are the node's: their number does not depend on that of workers.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from coregateway.settings.table import Table
from coregateway.settings.values import HealthPath, Pause, PositiveCount, Seconds, list_as_tuple

_RANGE = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")


def _statuses(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        span(text)
    return texts


def span(text: str) -> tuple[int, int]:
    """The first and the last status of a range: of `"200-399"` or `"204"`. Raises ValueError."""
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise ValueError(text)
    return first, last


Statuses = Annotated[
    tuple[str, ...],
    BeforeValidator(list_as_tuple),
    AfterValidator(_statuses),
    Field(
        min_length=1, description='a list of one or more statuses such as "204" or ranges such as "200-399"'
    ),
]


class HealthSettings(Table):
    """Of a backend: how each of its addresses is asked whether it is well."""

    path: HealthPath = None
    """What to GET at the backend to see that it is well; empty: it is not asked."""
    interval: Pause = 10.0
    """Between two checks of an address, ± 20 %; 0: only `/health` asks."""
    unhealthy_interval: Seconds = 2.0
    """The same while the address is down."""
    timeout: Seconds = 2.0
    """For a check as a whole, the connection included."""
    fall: PositiveCount = 3
    """Failed checks in a row until an address is down. The first check of all decides alone."""
    rise: PositiveCount = 2
    """Passed checks in a row until it is up again."""
    statuses: Statuses = ("200-399",)
    """Of answers that pass."""


class DnsSettings(Table):
    """Of the host names in `urls`."""

    refresh: Seconds = 5.0
    """Between two look-ups of a name."""
    hold: Pause = 60.0
    """For which the last good answer is kept over failures and empty answers."""
