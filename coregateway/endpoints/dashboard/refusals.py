"""Whom the gateway refuses or ends, and why, as the page shows it.

Callers, rates, limits, requests that do not fit the documents of backends, slow clients.
"""

from collections.abc import Mapping
from typing import Any

from coregateway.observability.diagnosis.caller_rules import WHY
from coregateway.observability.metrics.reading import Snapshot
from coregateway.observability.status.callers import callers_of
from coregateway.settings import Settings
from coregateway.shared_memory import Board


def refusals(
    settings: Settings, board: Board, snapshot: Snapshot | None, backends: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Parts of the picture; None for what the settings have not, and lists that are empty where nothing was
    refused. `snapshot`: as for `callers_of`; `backends`: as `/status` tells them."""
    given = settings.auth
    told = callers_of(settings, board, snapshot)
    auth = told["auth"]
    for row in auth["refused"] or ():
        row["why"] = WHY.get(row["reason"], "").format(table=row["method"] or "jwt.NAME")
    if settings.dashboard.on_main_port:
        # addresses of clients and names of callers are not for everybody
        told["rates"] |= {"nearest": [], "nearest_in_flight": []}
    return {
        "callers": auth if given.consumers or given.jwt or given.forward else None,
        "rates": told["rates"] if settings.rates or settings.concurrency else None,
        "validation": _validation(backends),
        "slow_clients": [
            [name, backend["slow_clients"]] for name, backend in backends.items() if backend["slow_clients"]
        ],
    }


MISMATCHES = 40
"""Rows of requests that do not fit."""


def _validation(backends: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The mode of each backend whose requests are held against its document, and what did not fit, the most
    frequent first; None: nothing is held against documents."""
    known = {name: row["validation"] for name, row in backends.items()}
    modes = {name: row["mode"] for name, row in known.items() if row["mode"] != "off"}
    rows = [{"backend": name} | each for name, row in known.items() for each in row["mismatches"]]
    rows.sort(key=lambda row: -row["count"])
    return {"modes": modes, "mismatches": rows[:MISMATCHES]} if modes or rows else None
