"""Whether a load test has passed. Pure.

The p99 is held against the limit for each kind of request by itself: in the whole mix a slow kind hides
behind the many quick ones. Failures count over the whole mix: one of few would be a large share of its kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """What was measured of one kind of request; `p99` in milliseconds."""

    name: str
    requests: int
    failures: int
    p99: float


def shortcomings(kinds: Sequence[Kind], max_p99: float, max_failures: float) -> list[str]:
    """In words, nothing if all is well. `max_p99` in milliseconds, `max_failures` a share from 0 to 1."""
    requests = sum(kind.requests for kind in kinds)
    if not requests:
        return ["nothing was measured"]
    found = [
        f"{kind.name}: p99 is {kind.p99:.0f} ms, more than {max_p99:g} ms"
        for kind in kinds
        if kind.requests and kind.p99 > max_p99
    ]
    failures = sum(kind.failures for kind in kinds)
    if failures > max_failures * requests:
        found.append(f"{failures} of {requests} requests failed, more than a share of {max_failures:g}")
    return found
