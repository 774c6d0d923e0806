"""What is measured of a server, each scenario by its name.

A scenario takes a server that runs and gives figures by their names, which carry their units. CPU time is
that of the server's own processes, user and system, divided by what was done meanwhile.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Self

import generators
from generators import Load, Unanswered
from peers import KEY
from processes import Server

CONNECTIONS = (1, 10, 50, 200, 1000)
RATES = (500, 1000, 2000)
STREAMS = 1000
IDLE = (1000, 5000, 10_000)
IDLE_OVER_TLS = 2000
WORKERS = (1, 2, 4)

type Figures = dict[str, float]


@dataclass(frozen=True)
class Setup:
    """How the servers are started: `connections` to the upstream at most, per worker."""

    workers: int = 1
    connections: int = 50
    streams: bool = False
    """In front of the backend of streams instead of nginx."""
    fresh: bool = False
    """Not shared with other scenarios."""
    tls: bool = False
    """Clients come over TLS 1.3."""
    guarded: bool = False
    """As `Site.guarded`."""


@dataclass(frozen=True)
class Scenario:
    """`measure` takes a server and the seconds of one measurement. Servers that lack `needs` are left out."""

    name: str
    title: str
    measure: Callable[[Server, float], Figures]
    setup: Setup = Setup()
    needs: str = ""
    lead: str = "requests/s"
    """The figure whose ratio to each peer is shown, beside that of CPU time."""


def saturating(
    path: str, connections: int, *, post: bool = False, warm_up: float = 1, lua: str = ""
) -> Callable[[Server, float], Figures]:
    def measure(server: Server, seconds: float) -> Figures:
        url = server.url(path)
        if warm_up:
            generators.saturating(url, connections, warm_up, post=post, lua=lua)
        before = server.cpu()
        load = generators.saturating(url, connections, seconds, post=post, lua=lua)
        return _figures(load, server.cpu() - before) | {"RSS MiB": server.resident()}

    return measure


def connecting(server: Server, seconds: float) -> Figures:
    """Each request on a connection of its own."""
    lua = 'wrk.headers["Connection"] = "close"\n'
    url = server.url("/small")
    generators.saturating(url, 50, 1, lua=lua)
    before = server.cpu()
    load = generators.saturating(url, 50, seconds, lua=lua)
    figures = _figures(load, server.cpu() - before)
    return {"connections/s": figures.pop("requests/s"), **figures}


def idle_over_tls(server: Server, _: float) -> Figures:
    """What an idle connection takes of a server that has worked before, as in `memory`."""
    generators.saturating(server.url("/small"), 50, 1)
    warm = server.resident()
    return {f"KiB each of {IDLE_OVER_TLS}": idle(server, IDLE_OVER_TLS, warm)}


def at_rate(rate: int) -> Callable[[Server, float], Figures]:
    def measure(server: Server, seconds: float) -> Figures:
        url = server.url("/small")
        generators.saturating(url, generators.H2LOAD_CLIENTS, 1)
        before = server.cpu()
        load = generators.at_rate(url, rate, seconds)
        spent = server.cpu() - before
        # The load leaves out the first requests, the CPU time does not.
        return _figures(load, spent) | {"CPU µs": spent / (rate * seconds) * 1e6}

    return measure


def _figures(load: Load, cpu: float) -> Figures:
    return {
        "requests/s": load.rate,
        "CPU µs": cpu / max(load.requests, 1) * 1e6,
        "p50 ms": load.p50,
        "p99 ms": load.p99,
        "p99.9 ms": load.p999,
        "errors": load.errors,
    }


def large(server: Server, _: float) -> Figures:
    with StreamClient("download", server.url("/1g"), 1024**3, 0) as client:
        before = server.cpu()
        figures = client.measured()
        return figures | {"CPU ms/GiB": (server.cpu() - before) * 1e3, "RSS MiB": server.resident()}


def events(server: Server, seconds: float) -> Figures:
    with StreamClient("events", server.url("/events"), STREAMS, seconds) as client:
        before = server.cpu()
        figures = client.measured()
        spent = server.cpu() - before
    return figures | {"CPU µs": spent / max(figures.pop("count"), 1) * 1e6, "RSS MiB": server.resident()}


def websocket(server: Server, seconds: float) -> Figures:
    with StreamClient("websocket", server.url("/echo"), STREAMS, seconds) as client:
        before = server.cpu()
        figures = client.measured()
        spent = server.cpu() - before
    return figures | {"CPU µs": spent / max(figures.pop("count"), 1) * 1e6, "RSS MiB": server.resident()}


def memory(server: Server, seconds: float) -> Figures:
    """At rest, per idle connection, under load.

    What an idle connection takes is the growth of resident memory over a server that has worked before, whose
    heap is as large as work needs it; the kernel's own buffers are not in it.
    """
    figures = {"at rest MiB": server.memory()}
    generators.saturating(server.url("/small"), 50, 1)
    warm = server.resident()
    for count in IDLE:
        figures[f"KiB each of {count}"] = idle(server, count, warm)
    generators.saturating(server.url("/64k"), 200, seconds)
    return figures | {"under load MiB": server.memory()}


def idle(server: Server, count: int, before: float) -> float:
    """KiB that the server has grown by for each of so many idle connections, from `before` MiB resident.

    They have asked once, and must be kept.
    """
    with StreamClient("idle", server.url("/small"), count, 0) as client:
        grown = server.resident() - before
        if lost := client.measured()["errors"]:
            raise Unanswered(f"{lost:.0f} of {count} idle connections were not kept")
    return grown * 1024 / count


class StreamClient:
    """`stream_client.py` as a process: all its connections are there when the context is entered."""

    def __init__(self, way: str, url: str, count: int, seconds: float) -> None:
        script = Path(__file__).with_name("stream_client.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), way, url, str(count), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        if self._line() != "ready\n":
            raise Unanswered("the stream client could not open its connections")
        return self

    def measured(self) -> Figures:
        if self._process.stdin is not None:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        line = self._line()
        if not line:
            raise Unanswered("the stream client ended without figures")
        return json.loads(line)

    def _line(self) -> str:
        return self._process.stdout.readline() if self._process.stdout is not None else ""

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


PAYLOADS = {
    "get": ("small GET", "/small"),
    "post": ("1 KiB POST", "/small"),
    "64k": ("64 KiB responses", "/64k"),
    "1m": ("1 MiB responses", "/1m"),
}

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        *(
            Scenario(
                f"{kind}-c{count}", f"{title}, c = {count:,}", saturating(path, count, post=kind == "post")
            )
            for kind, (title, path) in PAYLOADS.items()
            for count in CONNECTIONS
        ),
        *(
            Scenario(f"rate-{rate}", f"small GET, {rate:,} requests/s", at_rate(rate), lead="p99 ms")
            for rate in RATES
        ),
        *(
            Scenario(
                f"workers-{count}",
                f"small GET, c = 200, {count} worker{'s' * (count > 1)} on one core",
                saturating("/small", 200, warm_up=2),
                Setup(workers=count, fresh=True),
            )
            for count in WORKERS
        ),
        Scenario(
            "guarded-c50",
            "small GET with a key, a rate, two fields set upwards and one downwards, c = 50",
            saturating("/small", 50, lua=f'wrk.headers["X-API-Key"] = "{KEY}"\n'),
            Setup(guarded=True),
            needs="guarded",
        ),
        Scenario("1g", "1 GiB streamed", large, needs="streaming", lead="MiB/s"),
        Scenario(
            "events",
            f"{STREAMS:,} event streams, 5 events/s each",
            events,
            Setup(connections=STREAMS + 100, streams=True),
            needs="streaming",
            lead="p99 ms",
        ),
        Scenario(
            "websocket",
            f"{STREAMS:,} WebSockets, echo",
            websocket,
            Setup(connections=STREAMS + 100, streams=True),
            needs="websocket",
            lead="round trips/s",
        ),
        *(
            Scenario(
                f"tls-{kind}-c50",
                f"{title} over TLS 1.3, c = 50",
                saturating(path, 50),
                Setup(tls=True),
                needs="tls",
            )
            for kind, (title, path) in PAYLOADS.items()
            if kind in ("get", "1m")
        ),
        Scenario(
            "tls-new",
            "connections over TLS 1.3, one small GET each, c = 50",
            connecting,
            Setup(tls=True),
            needs="tls",
            lead="connections/s",
        ),
        Scenario(
            "tls-memory",
            "memory of idle connections over TLS 1.3",
            idle_over_tls,
            Setup(tls=True, fresh=True),
            needs="tls",
            lead=f"KiB each of {IDLE_OVER_TLS}",
        ),
        Scenario("memory", "memory", memory, Setup(fresh=True), lead=f"KiB each of {IDLE[-1]}"),
    )
}
QUICK = "get-c50,post-c50,64k-c50,rate-1000"


def chosen(patterns: str) -> list[Scenario]:
    """By names or patterns (`get-*`), separated by commas; SystemExit for one that fits nothing."""
    found: dict[str, Scenario] = {}
    for pattern in patterns.split(","):
        fitting = {name: each for name, each in SCENARIOS.items() if fnmatch(name, pattern)}
        if not fitting:
            raise SystemExit(f"no scenario {pattern}; there are {', '.join(SCENARIOS)}")
        found |= fitting
    return list(found.values())


def by_setup(scenarios: Iterable[Scenario]) -> list[tuple[Setup, list[Scenario]]]:
    """Those that can share a server together, in order."""
    groups: list[tuple[Setup, list[Scenario]]] = []
    for scenario in scenarios:
        shared = [group for setup, group in groups if setup == scenario.setup and not setup.fresh]
        if shared:
            shared[0].append(scenario)
        else:
            groups.append((scenario.setup, [scenario]))
    return groups
