"""Which of a backend's upstreams may get requests, by how each of them stands. Pure.

An upstream that is not usable gets none while others can take them. In tiers, for a small group of upstreams
must not be overrun, nor a whole backend given up for a rumour (Envoy's panic threshold, HAProxy's backups):

- with less than half of the weight usable, ejected ones are used again, too;
- those that fail their check, or have just refused a connection, only when nothing else is left;
- those that were drained by hand, never.
"""

from collections.abc import Sequence
from typing import Final

USABLE: Final = 0
EJECTED: Final = 1
"""By the requests that failed there."""
UNFIT: Final = 2
"""By a check that failed, or by its last connect, which failed within `upstream.endpoint.AVOIDED`."""
DRAINED: Final = 3
"""By hand."""

PANIC: Final = 0.5
"""Share of the weight that is usable, below which ejected upstreams are used again."""


def open_tier(standings: Sequence[int], weights: Sequence[int]) -> int:
    """The worst standing that gets requests, or -1 when no upstream may get any."""
    total = usable = 0
    found = [False, False, False]
    for standing, weight in zip(standings, weights, strict=True):
        if standing == DRAINED:
            continue
        total += weight
        found[standing] = True
        if standing == USABLE:
            usable += weight
    if usable and usable >= PANIC * total:
        return USABLE
    if found[USABLE] or found[EJECTED]:
        return EJECTED
    return UNFIT if found[UNFIT] else -1
