"""`coregateway status`: what the gateway at an admin address says of itself, for people or as JSON."""

import sys
from collections.abc import Sequence
from time import time
from typing import Any

from coregateway.cli.admin_address import NoAnswer, get, no_gateway
from coregateway.cli.columns import aligned
from coregateway.net.tls_server import Certificate
from coregateway.settings.tls_report import certificate_in_words

BACKENDS = (
    *("BACKEND", "UPSTREAM", "STATE", "SINCE", "IN FLIGHT"),
    *("QUEUED", "CONNECTIONS", "REQUESTS", "ERRORS"),
)
NEAREST = ("NEAREST TO ITS LIMIT", "KEY", "LEFT", "NEXT ONE")
WORKERS = (
    *("WORKER", "PID", "STATE", "SINCE", "RESTARTS", "SETTINGS"),
    *("CONNECTIONS", "IN FLIGHT", "LOOP LAG"),
)


def main(address: str, *, as_json: bool) -> int:
    """Ask the gateway at `address` (host:port) and print its state; returns the exit status."""
    try:
        answer = get(address, "/status")
        if answer.status != 200 or "backends" not in answer.told:
            raise no_gateway(address, answer)
    except NoAnswer as reason:
        sys.stderr.write(f"coregateway status: {reason}\n")
        return 1
    sys.stdout.write(answer.text if as_json else table(answer.told, address, time()))
    if as_json:
        sys.stdout.write("\n")
    return 0


def table(status: dict[str, Any], address: str, now: float) -> str:
    """The state as text, in columns; `now` in seconds since the epoch."""
    ready = "ready" if status["ready"] else "not ready"
    age = _ago(status["started"], now)
    settings = status["settings"]
    lines = [
        f"CoreGateway {status['version']} at {address}: {ready}, started {age} ago",
        f"settings: version {settings['version']}, {settings['hash']}",
        *_certificates(status.get("tls"), now),
        "",
    ]
    backends: list[Sequence[str]] = [BACKENDS]
    remarks: list[str] = []
    for name, backend in status["backends"].items():
        own = _count(backend["queued"]), _connections(backend["connections"])
        own += _count(backend["requests"]), _count(backend["errors"])
        for number, upstream in enumerate(backend["upstreams"]):
            here = upstream["url"], upstream["state"], _ago(upstream["since"], now)
            here += (_count(upstream["in_flight"]),)
            backends.append((name, *here, *own) if number == 0 else ("", *here, *[""] * len(own)))
            if upstream["state"] not in ("up", "unknown"):
                remarks.append(f"  {name}: {upstream['url']} is {upstream['state']}, {upstream['reason']}")
        if backend.get("breaker") in ("open", "half_open"):
            remarks.append(f"  {name}: its breaker is {backend['breaker'].replace('_', ' ')}")
        if ended := backend.get("slow_clients"):
            remarks.append(f"  {name}: {_count(ended)} requests of slow clients were ended for others")
    lines += [*aligned(backends), *remarks, ""]
    if near := _nearest(status.get("rates", {})):
        lines += [*aligned([NEAREST, *near]), ""]
    workers: list[Sequence[str]] = [WORKERS]
    for worker in status["workers"]:
        whole = map(
            _count,
            (worker["restarts"], worker["settings_version"], worker["connections"], worker["in_flight"]),
        )
        who = worker["name"], str(worker["pid"]), worker["state"], _ago(worker["since"], now)
        workers.append((*who, *whole, f"{worker['loop_lag_ms']:g} ms"))
    return "\n".join([*lines, *aligned(workers), ""])


def _certificates(tls: dict[str, Any] | None, now: float) -> list[str]:
    known = (
        [Certificate(tuple(each["names"]), each["not_after"]) for each in tls["certificates"]] if tls else []
    )
    return [f"certificate: {certificate_in_words(each, now)}" for each in known]


def _nearest(rates: dict[str, Any]) -> list[Sequence[str]]:
    """Keys of rates and of requests in flight, the one with the least left first."""
    found: list[tuple[float, Sequence[str]]] = []

    def add(row: dict[str, Any], left: int, most: int, following: str) -> None:
        next_one = "-" if left else following
        found.append(
            (left / most, (row["policy"], _printable(row["key"]), f"{left:,} of {most:,}", next_one))
        )

    for row in rates.get("nearest", ()):
        add(row, row["remaining"], row["quota"], f"in {max(row['wait_s'], 1):,.0f} s")
    for row in rates.get("nearest_in_flight", ()):
        add(row, max(row["max"] - row["in_flight"], 0), row["max"], "when one ends")
    return [row for _, row in sorted(found, key=lambda each: each[0])]


def _printable(key: str) -> str:
    """A name that comes from a token may hold what a terminal obeys."""
    return "".join(character if character.isprintable() else "?" for character in key)


def _connections(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _ago(since: float | None, now: float) -> str:
    """How long ago that was, in the two largest units that say something."""
    if since is None:
        return "-"
    seconds = max(int(now - since), 0)
    for unit, size, smaller, part in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds} s"
