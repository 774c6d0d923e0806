"""The figures that the gateway is to reach, measured in paired rounds of one run, in ten minutes or so.

python benchmarks/targets.py [--rounds 5]

Prints a Markdown table for benchmarks/README.md and saves all rounds. Exit status 1 if a target is not met.
"""

import math
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import generators
import reports
from figures import Spread, ratio, readable, spread
from generators import Unanswered
from processes import prepare
from rounds import Missing, Rounds, say, serving, upstream
from scenarios import IDLE, SCENARIOS, Figures, Setup, idle

RATE = "requests/s"
CPU = "CPU µs"
P99 = "p99 ms"
MEASURED: Mapping[str, tuple[str, ...]] = {
    "gateway": ("get-c50", "rate-1000", "64k-c50", "1g"),
    "caddy": ("get-c50", "rate-1000", "64k-c50", "1g"),
    "nginx": ("rate-1000", "64k-c50", "1g"),
    "haproxy": ("get-c50",),
    "sanic-aiohttp": ("get-c50",),
    "first-version": ("get-c50",),
}
"""What each server is measured by, in this order, in every round."""
CROWD = "get-c1000", "get-c50"
TEAM = "workers-2", "workers-1"
"""Scenarios of which the first is compared with the second, both of the gateway."""
SECONDS = 3.0
LONGER = {"rate-1000": 6.0}
"""Seconds: a 99th percentile wants more requests."""


@dataclass(frozen=True)
class Target:
    """A measure, what is asked of it, and how it is read off the rounds."""

    measure: str
    limit: float
    at_least: bool
    read: Callable[[Rounds], Spread]

    @property
    def asked(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"

    def met(self, found: Spread) -> bool:
        return found.middle >= self.limit if self.at_least else found.middle <= self.limit


def against(scenario: str, peer: str, key: str) -> Callable[[Rounds], Spread]:
    return lambda rounds: ratio(rounds[scenario], "gateway", peer, key)


def own(pair: tuple[str, str], key: str) -> Callable[[Rounds], Spread]:
    """The gateway in one scenario against itself in another, round by round."""
    one, other = pair
    return lambda rounds: Spread.of([found[one][key] / found[other][key] for found in rounds[_turns(pair)]])


def _turns(pair: tuple[str, str]) -> str:
    """Names the measurement of both in turns."""
    return " and ".join(pair)


TARGETS = (
    Target("small GET, c = 50: requests/s, times Caddy", 1.8, True, against("get-c50", "caddy", RATE)),
    Target("the same, times HAProxy", 0.35, True, against("get-c50", "haproxy", RATE)),
    Target("the same, times FastAPI + httpx", 65, True, against("get-c50", "first-version", RATE)),
    Target("the same, times Sanic + aiohttp", 3, True, against("get-c50", "sanic-aiohttp", RATE)),
    Target("CPU per request, small GET, of Caddy's", 0.55, False, against("get-c50", "caddy", CPU)),
    Target("c = 1,000 against c = 50: requests/s", 0.8, True, own(CROWD, RATE)),
    Target("errors at c = 1,000", 0, False, lambda rounds: spread(rounds[_turns(CROWD)], CROWD[0], "errors")),
    Target("p99 at 1,000 requests/s, of Caddy's", 1, False, against("rate-1000", "caddy", P99)),
    Target("the same, of nginx's", 2.5, False, against("rate-1000", "nginx", P99)),
    Target("64 KiB responses: requests/s, times Caddy", 1.3, True, against("64k-c50", "caddy", RATE)),
    Target("the same, times nginx", 0.5, True, against("64k-c50", "nginx", RATE)),
    Target("1 GiB streamed: MiB/s, times Caddy", 1.3, True, against("1g", "caddy", "MiB/s")),
    Target("the same, times nginx", 0.5, True, against("1g", "nginx", "MiB/s")),
    Target(
        f"{IDLE[-1]:,} idle connections, KiB each",
        12,
        False,
        lambda rounds: spread(rounds["idle"], "gateway", "KiB each"),
    ),
    Target("2 workers against 1: CPU per request", 1.05, False, own(TEAM, CPU)),
)


def main() -> int:
    parser = ArgumentParser(description="Measure what the gateway is to reach.")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    prepare()
    about = reports.surroundings()
    rounds = measure(options.rounds)
    text, met = table(rounds)
    print(reports.heading(about), text, sep="\n\n")
    reports.new_file("targets", ".json").write_text(reports.as_json(rounds, about))
    return 0 if met else 1


def measure(count: int) -> Rounds:
    scenarios = {*(name for names in MEASURED.values() for name in names), "idle"}
    scenarios |= {_turns(pair) for pair in (CROWD, TEAM)}
    found: Rounds = {name: [{} for _ in range(count)] for name in scenarios}
    for number in range(count):
        say(f"round {number + 1} of {count}")
        with upstream(Setup()) as (port, folder):
            for name, measured in MEASURED.items():
                try:
                    with serving(name, Setup(), port, folder) as server:
                        for scenario in measured:
                            seconds = LONGER.get(scenario, SECONDS)
                            figures = SCENARIOS[scenario].measure(server, seconds)
                            found[scenario][number][name] = figures
                except Missing:
                    say(f"{name} is not installed: skipped")
                except Unanswered as failure:
                    say(f"{name} failed: {failure}")
            for pair in (CROWD, TEAM):
                try:
                    found[_turns(pair)][number] = in_turns(pair, port, folder)
                except Unanswered as failure:
                    say(f"{_turns(pair)}: {failure}")
            with serving("gateway", Setup(), port, folder) as server:
                generators.saturating(server.url("/small"), 50, 1)
                found["idle"][number]["gateway"] = {"KiB each": idle(server, IDLE[-1], server.resident())}
    return found


def in_turns(pair: tuple[str, str], port: int, folder: Path) -> dict[str, Figures]:
    """Two scenarios, there and back, of a server each: what else the machine does meanwhile falls on both."""
    one, other = pair
    with (
        serving("gateway", SCENARIOS[one].setup, port, folder) as server,
        serving("gateway", SCENARIOS[other].setup, port, folder) as another,
    ):
        turns: list[tuple[str, Figures]] = [
            (name, SCENARIOS[name].measure(server if name == one else another, SECONDS))
            for name in (one, other, other, one)
        ]
    return {
        name: {key: mean(figures[key] for whose, figures in turns if whose == name) for key in turns[0][1]}
        for name in pair
    }


def table(rounds: Rounds) -> tuple[str, bool]:
    """Markdown, and whether every target is met."""
    lines = ["| measure | target | measured | met |", "|---|---|---|---|"]
    all_met = True
    for target in TARGETS:
        try:
            found = target.read(rounds)
        except (ValueError, KeyError):  # a peer is missing or failed
            found = Spread(math.nan, math.nan, math.nan)
        met = target.met(found)
        all_met = all_met and met
        measured = "not measured" if math.isnan(found.middle) else found.text(readable)
        lines.append(f"| {target.measure} | {target.asked} | {measured} | {'yes' if met else 'no'} |")
    return "\n".join(lines), all_met


if __name__ == "__main__":
    sys.exit(main())
