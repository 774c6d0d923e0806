"""What was measured, as JSON and as Markdown, in `benchmarks/results`."""

import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from figures import Round, ratio, readable, servers, spread
from peers import BENCHMARKS
from rounds import Rounds
from scenarios import SCENARIOS

RESULTS = BENCHMARKS / "results"
OWN = "gateway"
CPU = ("CPU µs", "CPU ms/GiB")
"""The names of CPU time for what was done."""
PACKAGES = ("sanic", "uvloop", "httptools", "httpx", "aiohttp", "fastapi", "uvicorn", "caddyserver")
TOOLS = (
    ("nginx", "-v"),
    ("haproxy", "-v"),
    ("node", "--version"),
    ("wrk", "-v"),
    ("h2load", "--version"),
)


def new_file(kind: str, suffix: str) -> Path:
    RESULTS.mkdir(exist_ok=True)
    return RESULTS / f"{kind}-{time.strftime('%Y%m%dT%H%M%S')}{suffix}"


def surroundings() -> dict[str, Any]:
    """The machine and the versions of all that takes part."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    for tool, flag in TOOLS:
        if found := _version_of(tool, flag):
            versions[tool] = found
    modules = json.loads((BENCHMARKS / "fastify" / "package.json").read_text())["dependencies"]
    return {
        "command": " ".join(sys.argv),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "cpu": model[1] if model else platform.machine(),
        "kernel": platform.release(),
        "versions": versions | modules,
    }


def _version_of(tool: str, flag: str) -> str:
    try:
        run = subprocess.run([tool, flag], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    found = re.search(r"\d+\.\d[\w.]*", run.stdout + run.stderr)
    return found[0] if found else ""


def as_json(rounds: Rounds, about: dict[str, Any]) -> str:
    return json.dumps({**about, "rounds": rounds}, indent=1)


def as_markdown(rounds: Rounds, about: dict[str, Any]) -> str:
    """One table per scenario: medians with the lowest and the highest round, ratios to the gateway."""
    parts = [heading(about)]
    for name, each_rounds in rounds.items():
        if any(each_rounds):
            parts.append(f"### {SCENARIOS[name].title}\n\n" + table(name, each_rounds))
    return "\n\n".join(parts) + "\n"


def heading(about: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return f"`{about['command']}`, {about['time']}, {about['cpu']}, Linux {about['kernel']}; {versions}."


def table(scenario: str, rounds: Sequence[Round]) -> str:
    names = servers(rounds)
    columns = list(dict.fromkeys(key for each in rounds for figures in each.values() for key in figures))
    compared = [key for key in (SCENARIOS[scenario].lead, *CPU) if key in columns and OWN in names]
    lines = [_row(["server", *columns, *(f"gateway's {key} ÷ its" for key in compared)])]
    lines.append("|" + "---|" * (1 + len(columns) + len(compared)))
    for name in names:
        cells = [name, *(spread(rounds, name, key).text(readable) for key in columns)]
        cells += ["" if name == OWN else _ratio(rounds, name, key) for key in compared]
        lines.append(_row(cells))
    return "\n".join(lines)


def _ratio(rounds: Sequence[Round], name: str, key: str) -> str:
    try:
        return ratio(rounds, OWN, name, key).text(readable)
    except ValueError:
        return "none"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
