"""What checks and look-ups add to the state of an upstream, for /status. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from coregateway.prober.knowledge import Known
from coregateway.prober.standing import Standing


def probed(told: Mapping[str, Any], known: Known | None) -> dict[str, Any]:
    """The state of an upstream, `told` by the requests of all workers, with what the prober knows of it.

    Failing checks, or a name that leads nowhere, make it `down`; passing ones make `up` what no request has
    met yet. What operators or ejection say stays. `addresses` are there for a name, `check` for checks.
    """
    if known is None:
        return {}
    added: dict[str, Any] = {}
    standings = known.standings
    if known.hosts is not None:
        added["addresses"] = [
            {"address": hosts[0], "check": _check(standings.get(hosts[0]))} for hosts in known.hosts
        ]
    elif standings:
        added["check"] = _check(known.at(None))
    if told["state"] in ("up", "down", "unknown"):
        added |= _state(told["state"], known)
    return added


def _state(state: str, known: Known) -> dict[str, Any]:
    standings = known.standings.values()
    if known.hosts == () and known.problem:
        return {"state": "down", "reason": f"its name cannot be resolved: {known.problem}"}
    if standings and all(standing.state == "down" for standing in standings):
        first = min(standings, key=lambda standing: standing.since)
        begun = datetime.fromtimestamp(first.since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        reason = f"it fails its checks since {begun}: {first.reason}"
        return {"state": "down", "reason": reason, "since": round(first.since, 3)}
    if state == "unknown" and any(standing.state == "up" for standing in standings):
        since = min(standing.since for standing in standings if standing.state == "up")
        return {"state": "up", "reason": "it passes its checks", "since": round(since, 3)}
    return {}


def _check(standing: Standing | None) -> dict[str, Any] | None:
    if standing is None:
        return None
    return {
        "state": standing.state,
        "reason": standing.reason or None,
        "since": round(standing.since, 3) or None,
        "last": round(standing.checked, 3) or None,
        "took_ms": round(standing.took * 1000, 1),
    }
