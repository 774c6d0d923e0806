"""`coregateway status`: what the gateway at an admin address says of itself, for people or as JSON."""

import json
import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from time import time
from typing import Any

from coregateway.settings.mistakes import shown
from coregateway.settings.values import split_authority

PATIENCE = 5.0
"""Seconds for the gateway to answer."""


BACKENDS = (
    *("BACKEND", "UPSTREAM", "STATE", "SINCE", "IN FLIGHT"),
    *("QUEUED", "CONNECTIONS", "REQUESTS", "ERRORS"),
)
WORKERS = ("WORKER", "PID", "STATE", "SINCE", "RESTARTS", "CONNECTIONS", "IN FLIGHT", "LOOP LAG")


class NoAnswer(Exception):
    """No gateway there; the text is for the user."""


def main(address: str, *, as_json: bool) -> int:
    """Ask the gateway at `address` (host:port) and print its state; returns the exit status."""
    try:
        body = _ask(address)
    except NoAnswer as reason:
        sys.stderr.write(f"coregateway status: {reason}\n")
        return 1
    sys.stdout.write(body if as_json else table(json.loads(body), address, time()))
    if as_json:
        sys.stdout.write("\n")
    return 0


def _ask(address: str) -> str:
    if not address:
        raise NoAnswer("admin.address is switched off in these settings (another one: --address HOST:PORT)")
    host, port = split_authority(address) or ("", None)
    if port is None:
        raise NoAnswer(f"--address: expected host:port, found {shown(address)}")
    connection = HTTPConnection(host, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/status", headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read().decode()
        if response.status == 200 and "backends" in json.loads(body):
            return body
        reason = f"status {response.status}"
    except (OSError, HTTPException, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    finally:
        connection.close()
    reason = " ".join(reason.split())
    if reason[1:2].islower():
        reason = reason[0].lower() + reason[1:]
    raise NoAnswer(f"no gateway answers at {address}: {reason}")


def table(status: dict[str, Any], address: str, now: float) -> str:
    """The state as text, in columns; `now` in seconds since the epoch."""
    ready = "ready" if status["ready"] else "not ready"
    age = _ago(status["started"], now)
    lines = [f"CoreGateway {status['version']} at {address}: {ready}, started {age} ago", ""]
    backends: list[Sequence[str]] = [BACKENDS]
    remarks: list[str] = []
    for name, backend in status["backends"].items():
        own = _count(backend["queued"]), _connections(backend["connections"])
        own += _count(backend["requests"]), _count(backend["errors"])
        for number, upstream in enumerate(backend["upstreams"]):
            here = upstream["url"], upstream["state"], _ago(upstream["since"], now)
            here += (_count(upstream["in_flight"]),)
            backends.append((name, *here, *own) if number == 0 else ("", *here, *[""] * len(own)))
            if upstream["state"] == "down":
                remarks.append(f"  {name}: {upstream['url']} is down, {upstream['reason']}")
    lines += [*_aligned(backends), *remarks, ""]
    workers: list[Sequence[str]] = [WORKERS]
    for worker in status["workers"]:
        whole = map(_count, (worker["restarts"], worker["connections"], worker["in_flight"]))
        who = worker["name"], str(worker["pid"]), worker["state"], _ago(worker["since"], now)
        workers.append((*who, *whole, f"{worker['loop_lag_ms']:g} ms"))
    return "\n".join([*lines, *_aligned(workers), ""])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


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
