"""What backends and routes have of the tables above them, where they say nothing of their own.

A backend has the node's `timeouts`, `ejection`, `breaker` and `retries`, key by key; a route has those of its
one backend, or of all. What a row says itself wins.
"""

from collections.abc import Mapping
from typing import Any

from coregateway.settings.auth_rules import REQUIREMENT
from coregateway.settings.resilience import NodeRetrySettings, RetrySettings
from coregateway.settings.table import Table

INHERITED = ("timeouts", "ejection", "breaker", "retries")
"""Tables of a backend whose keys are the node's where it gives none of its own."""

NODE_ONLY = frozenset(NodeRetrySettings.model_fields) - frozenset(RetrySettings.model_fields)
"""Keys of those tables that are the node's alone."""


def with_complete_rows(
    tables: Mapping[str, Any], default_backends: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The tables of `Settings` with complete rows of backends and routes, those that are enabled.

    `default_backends`: the rows that are there where the tables name no backends at all.
    """
    node_wide = {
        table: {key: value for key, value in _given(tables.get(table, {})).items() if key not in NODE_ONLY}
        for table in INHERITED
    }
    limits = _given(tables.get("limits", {}))
    most = _given(limits.get("request", {})).get("max_body")
    everywhere = {key: limits[key] for key in ("rates", "concurrency") if key in limits}
    required = {"require": _given(tables.get("auth", {})).get("default", ())}
    backends: dict[str, Any] = {}
    for name, table in tables.get("backends", default_backends).items():
        row = _given(table)
        if row.get("enabled") is False:
            continue
        completed = {table: {**node_wide[table], **_given(row.get(table, {}))} for table in INHERITED}
        completed["auth"] = {**required, **_given(row.get("auth", {}))}
        backends[name] = {**everywhere, **row, **completed}
        if most is not None:
            backends[name].setdefault("max_body", most)
    routes = {
        name: {**everywhere, **_completed_route(row, backends, node_wide["timeouts"], most, required)}
        for name, table in tables.get("routes", {}).items()
        if (row := _given(table)).get("enabled") is not False
    }
    return {**tables, "backends": backends, "routes": routes}


def _completed_route(
    row: Mapping[str, Any],
    backends: Mapping[str, Any],
    node_wide: Mapping[str, Any],
    most: int | None,
    required: Mapping[str, Any],
) -> dict[str, Any]:
    """A route with what it has of its one backend, or of all, where it says nothing itself."""
    named: str | Mapping[str, int] = row.get("backend", "")
    names = [named] if isinstance(named, str) else [*named]
    heir: Mapping[str, Any] = backends.get(names[0], {}) if len(names) == 1 else {}
    completed = {
        **row,
        "timeouts": {**node_wide, **_given(heir.get("timeouts", {})), **_given(row.get("timeouts", {}))},
    }
    # Of several backends it has what all of them have; where they differ it must say its own (`auth_rules`).
    all_have = [_given(backends[name]["auth"]) for name in names if name in backends] or [required]
    shared = {key: all_have[0][key] for key in REQUIREMENT if key in all_have[0]}
    completed["auth"] = {**required, **shared, **_given(row.get("auth", {}))}
    completed["validation"] = {**_given(heir.get("validation", {})), **_given(row.get("validation", {}))}
    given = heir.get("max_body", most)
    if given is not None:
        completed.setdefault("max_body", given)
    for key in ("allow", "deny", "rates", "concurrency"):
        if key in heir:
            completed.setdefault(key, heir[key])
    return completed


def _given(table: Table | Mapping[str, Any]) -> Mapping[str, Any]:
    return (
        {name: getattr(table, name) for name in table.model_fields_set} if isinstance(table, Table) else table
    )
