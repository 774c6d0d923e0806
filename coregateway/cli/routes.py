"""`coregateway routes`: all routes in the order in which they win, for people or as JSON."""

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

from coregateway.cli.columns import aligned
from coregateway.cli.inspection import inspected
from coregateway.settings import Settings

HEADING = ("ROUTE", "HOSTS", "PATH", "METHODS", "FIELDS", "TO")


def main(settings: Settings, *, as_json: bool) -> int:
    """Print the routes; returns the exit status."""
    found = asyncio.run(_routes(settings))
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if as_json else table(found))
    return 0


async def _routes(settings: Settings) -> list[dict[str, Any]]:
    async with inspected(settings) as inspection:
        return inspection.routes()


def table(routes: Sequence[dict[str, Any]]) -> str:
    """One line for each."""
    rows = [
        (
            route["name"],
            ", ".join(route["hosts"]) or "any",
            route["path"],
            ", ".join(route["methods"]),
            ", ".join(f"{name}: {value}" for name, value in route["headers"].items()) or "-",
            route["to"],
        )
        for route in routes
    ]
    return "\n".join([*aligned([HEADING, *rows]), ""])
