"""Endure what clients and operators do.

    python -m tests.endurance [--aborts 10000] [--slow-heads 2000] [--slow-readers 500] [--reloads 100]

Prints figures, and each promise that did not hold; exit status 1 if there is any. A number of 0 leaves a part
out. With the default numbers it takes about two minutes; others who compute on the
machine meanwhile count as disturbance.
"""

import asyncio
import sys
from argparse import ArgumentParser

from tests.endurance import aborts, holders, reloads

LIMIT = 10.0
"""`timeouts.client` of the gateway that slow clients meet, in seconds."""

CALM = 10.0
"""Seconds for which the load of good requests is watched before slow clients come."""

DISTURBANCE = 0.05
"""Seconds by which the p99 of good requests may rise while slow clients hold their connections."""


SOCKETS = 50
"""WebSockets that are open over all reloads."""

PAUSE = 0.8
"""Seconds between two reloads."""


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.endurance", description="Endure what clients do.")
    parser.add_argument("--aborts", type=int, default=10_000, help="clients who leave at random moments")
    parser.add_argument("--slow-heads", type=int, default=2000, help="clients who send heads byte by byte")
    parser.add_argument("--slow-readers", type=int, default=500, help="clients who stop reading")
    parser.add_argument(
        "--reloads", type=int, default=100, help="reloads with 50 WebSockets open, one a second"
    )
    options = parser.parse_args()
    broken: list[str] = []
    if options.aborts:
        left = asyncio.run(aborts.run(options.aborts))
        broken += _told(left, left.broken)
    if options.reloads:
        reloaded = asyncio.run(reloads.run(options.reloads, SOCKETS, pause=PAUSE))
        broken += _told(reloaded, reloaded.broken)
    numbers: dict[holders.Kind, int] = {"heads": options.slow_heads, "readers": options.slow_readers}
    for kind, number in numbers.items():
        if number:
            held = asyncio.run(holders.run(kind, number, limit=LIMIT, calm=CALM, disturbance=DISTURBANCE))
            broken += _told(held, held.broken)
    return int(bool(broken))


def _told(figures: object, broken: list[str]) -> list[str]:
    lines = [str(figures), *(f"BROKEN: {promise}" for promise in broken), ""]
    sys.stdout.write("\n".join(lines))
    sys.stdout.flush()
    return broken


if __name__ == "__main__":
    sys.exit(main())
