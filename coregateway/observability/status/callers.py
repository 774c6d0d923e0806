"""Refused callers by reason, and the state of issuers' keys, forward authentication, rates and the store.

For `/status` and the page.
"""

from collections.abc import Mapping
from time import time
from typing import Any

from coregateway.observability.metrics import families
from coregateway.observability.metrics.families import Family
from coregateway.observability.metrics.reading import Snapshot
from coregateway.observability.status.nearest import fullest_of, nearest_of
from coregateway.observability.status.store import store_answers
from coregateway.policy.rates import OUTCOMES
from coregateway.prober.key_sets import decoded
from coregateway.settings import Settings
from coregateway.settings.forward_auth import parts_of
from coregateway.shared_memory import Board

COUNTED: tuple[Family, ...] = (
    *(families.AUTH, families.AUTH_REFUSED, families.AUTH_FORWARD_SECONDS, families.AUTH_FORWARD_FAILURES),
    *(families.RATE_DECISIONS, families.CONCURRENCY_REJECTED),
)
"""What of the node's metrics it tells."""

MOST = 20
"""Rows of what is refused."""


def callers_of(settings: Settings, board: Board, snapshot: Snapshot | None) -> dict[str, Any]:
    """The parts `auth` and `rates` of the state. `snapshot`: with `COUNTED`; None: nothing is counted."""
    return {"auth": _auth(settings, board, snapshot), "rates": _rates(settings, board, snapshot)}


def _auth(settings: Settings, board: Board, snapshot: Snapshot | None) -> dict[str, Any]:
    given = settings.auth
    known = decoded(board.key_sets.read()) if given.jwt else {}
    key_sets: list[dict[str, Any]] = []
    for name, row in given.jwt.items():
        keys = known.get(name)
        age = time() - keys.fetched if keys is not None and keys.fetched else None
        key_sets.append(
            {
                "name": name,
                "keys": len(keys.keys) if keys is not None else 0,
                "age_s": None if age is None else round(max(age, 0.0), 1),
                "good_for_s": None if age is None else round(max(row.stale - age, 0.0), 1),
                "problem": keys.problem if keys is not None else "",
            }
        )
    return {
        "outcomes": None if snapshot is None else _outcomes(snapshot),
        "refused": None if snapshot is None else _refused(snapshot),
        "key_sets": key_sets,
        "services": [
            {"name": name, "url": parts_of(row.url)[0]} | _service(name, snapshot)
            for name, row in given.forward.items()
        ],
    }


def _outcomes(snapshot: Snapshot) -> dict[str, dict[str, int]]:
    """By method, then by what came of it."""
    found: dict[str, dict[str, int]] = {}
    for (_, method, outcome), number in snapshot.values(families.AUTH).items():
        of_method = found.setdefault(method, {})
        of_method[outcome] = of_method.get(outcome, 0) + int(number)
    return found


def _refused(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The most frequent causes first."""
    ordered = sorted(snapshot.values(families.AUTH_REFUSED).items(), key=lambda pair: -pair[1])
    return [
        {"method": method, "reason": reason, "count": int(number)}
        for (method, reason), number in ordered[:MOST]
    ]


def _service(name: str, snapshot: Snapshot | None) -> dict[str, Any]:
    if snapshot is None:
        return {"answered": None, "failed": None}
    *counts, seconds = snapshot.histogram(families.AUTH_FORWARD_SECONDS, name)
    answered = int(sum(counts))
    return {
        "answered": answered,
        "mean_ms": round(1000 * seconds / answered, 2) if answered else None,
        "failed": failures_of(name, snapshot),
    }


def failures_of(service: str, snapshot: Snapshot) -> dict[str, int]:
    """Of one service, by their cause."""
    return {
        reason: int(number)
        for (name, reason), number in snapshot.values(families.AUTH_FORWARD_FAILURES).items()
        if name == service
    }


def _rates(settings: Settings, board: Board, snapshot: Snapshot | None) -> dict[str, Any]:
    living = [part for part in board.parts if part.living]
    answers = store_answers(living) if settings.store.url else None
    return {
        "policies": [
            {"name": name, "rate": row.rate, "enforced": row.enforce, **_decisions(name, snapshot)}
            for name, row in settings.rates.items()
        ],
        "concurrency": [
            {
                "name": name,
                "max": row.max,
                "enforced": row.enforce,
                "rejected": None
                if snapshot is None
                else int(snapshot.value(families.CONCURRENCY_REJECTED, name)),
            }
            for name, row in settings.concurrency.items()
        ],
        "store": None if answers is None else "up" if answers else "down",
        "nearest": nearest_of(living) if settings.rates else [],
        "nearest_in_flight": fullest_of(board, living) if settings.concurrency else [],
    }


def _decisions(name: str, snapshot: Snapshot | None) -> Mapping[str, int | None]:
    if snapshot is None:
        return dict.fromkeys(OUTCOMES)
    return {outcome: int(snapshot.value(families.RATE_DECISIONS, name, outcome)) for outcome in OUTCOMES}
