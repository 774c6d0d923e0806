"""What a part of the gateway costs: the gateway against itself without it, in the same run.

python benchmarks/costs.py [--only strictness,observability,tracing] [--starts 4] [--rounds 10] [--seconds 1]

Both run side by side on one core; the load (wrk) and the upstream (nginx) share another, and meet the two in
turn, in pairs whose order changes. After so many rounds both are started anew: where a process happens to lie
in memory makes it some percent faster or slower for as long as it lives. What is compared is the CPU time per
request, and the 99th percentile of the time to an answer when each of 16 clients asks again at once, as lower
quartiles of all rounds with the part and without it, for what else a machine does only ever adds to them.
The median of the ratios of each pair, and their spread, stand behind it. The exit status is 1 above a limit.
"""

import json
import socket
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import generators
from figures import calm, ratio
from peers import BENCHMARKS, KEY, Peer, Site, gateway
from processes import Server, free_ports, prepare, running
from rounds import upstream
from scenarios import Figures, Setup
from tokens import issued

from coregateway.compiled import INTERPRETED
from coregateway.policy.keys import hash_of

CONNECTIONS = 16

BROWSER = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Cache-Control": "max-age=0",
    "Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark; consent=1",
    "DNT": "1",
    "Referer": "http://gateway.example/docs",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
}
CHUNKED = r"""
local piece = "100\r\n" .. string.rep("x", 256) .. "\r\n"
function init()
  local head = "POST " .. wrk.path .. " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
  chunked = head .. string.rep(piece, 4) .. "0\r\n\r\n"
end
function request() return chunked end
"""
VALIDATED = {
    "name": "agent",
    "note": "n" * 100,
    "tags": ["a" * 8] * 20,
    "items": [{"id": number, "label": "x" * 10, "on": True, "value": 1.5} for number in range(12)],
}
"""What `validated.json` allows; as JSON, 1 KiB."""

ISSUED = issued()
CREDENTIALS = {"X-API-Key": KEY, "Authorization": f"Bearer {ISSUED.token}"}
"""Where one of these is asked for, the other is none."""
LOADS = {
    "small GET": "",
    "browser's GET": "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in BROWSER.items()),
    "1 KiB chunked POST": CHUNKED,
    "1 KiB JSON POST": 'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
    f"wrk.body = [[{json.dumps(VALIDATED)}]]",
    "keyed GET": f'wrk.headers["X-API-Key"] = "{KEY}"',
    "GET with a token": f'wrk.headers["Authorization"] = "Bearer {ISSUED.token}"',
}
"""Requests, as lines of wrk's script."""


@dataclass(frozen=True)
class Cost:
    """A part of the gateway: the settings with and without it, and how much it may cost."""

    on: dict[str, str]
    off: dict[str, str]
    may: float
    """The ratio of CPU time."""
    loads: tuple[str, ...] = ("small GET",)
    application: str = ""
    """What is served without the part, in the place of the gateway. It replaces what could be compiled, so
    both run interpreted then."""
    added: str = ""
    """What is served with the part, in the place of the gateway."""
    connections: int = CONNECTIONS
    watched: bool = False
    """The part is the live page, open somewhere: one gateway, with it and without it in turn."""


def routes(number: int) -> dict[str, str]:
    """The settings of so many routes, none of which the load takes."""
    return {
        f"ROUTES__R{each}__{key}": value
        for each in range(number)
        for key, value in (("PATH", f"/api/v{each}/things/*"), ("BACKEND", "coredinator"))
    }


TOKENS = {
    "AUTH__JWT__BENCH__ISSUER": "bench",
    "AUTH__JWT__BENCH__AUDIENCES": "bench",
    "AUTH__JWT__BENCH__JWKS": ISSUED.keys,
    "BACKENDS__COREDINATOR__AUTH__REQUIRE": "jwt.bench",
}
RATE_AND_FIELDS = {
    "RATES__A__RATE": "1000000/s",
    "RATES__A__KEY": "consumer",
    "LIMITS__RATES": "a",
    "REQUEST__SET": '{ X-Env = "prod", X-Client = "${client}" }',
    "RESPONSE__SET": '{ Cache-Control = "no-store" }',
}
"""A rate, two fields of requests and one of responses."""

COSTS = {
    "strictness": Cost({}, {}, 1.05, tuple(LOADS)[:3], "lenient_app:app"),
    "observability": Cost(
        {"DASHBOARD__ENABLED": "true"},
        {"METRICS__ENABLED": "false", "DASHBOARD__ENABLED": "false", "ACCESS_LOG__SAMPLE": "0"},
        1.1,
    ),
    "live page": Cost({}, {}, 1.02, connections=50, watched=True),
    "tracing": Cost({"TRACING__ENABLED": "true", "TRACING__SAMPLE": "0.1"}, {}, 1.05),
    "500 routes": Cost(routes(500), routes(2), 1.02, connections=50),
    "field rules": Cost(
        {
            "REQUEST__SET": '{ X-Env = "prod", X-Client = "${client}" }',
            "RESPONSE__SET": '{ Cache-Control = "no-store" }',
        },
        {},
        1.12,
        connections=50,
    ),
    "key": Cost(
        {"AUTH__CONSUMERS__BENCH__KEYS": hash_of(KEY), "BACKENDS__COREDINATOR__AUTH__REQUIRE": "keys"},
        {},
        1.12,
        ("keyed GET",),
        connections=50,
    ),
    # 4 µs of about 25.
    "token": Cost(TOKENS, {}, 1.16, ("GET with a token",), connections=50),
    # 2 µs of about 25.
    "rate": Cost({"RATES__A__RATE": "1000000/s", "LIMITS__RATES": "a"}, {}, 1.08, connections=50),
    "in flight": Cost({"CONCURRENCY__A__MAX": "1000", "LIMITS__CONCURRENCY": "a"}, {}, 1.12, connections=50),
    "key with rate and fields": Cost(
        {
            "AUTH__CONSUMERS__BENCH__KEYS": hash_of(KEY),
            "BACKENDS__COREDINATOR__AUTH__REQUIRE": "keys",
            **RATE_AND_FIELDS,
        },
        {},
        1.5,
        ("keyed GET",),
        connections=50,
    ),
    "token with rate and fields": Cost(
        TOKENS | RATE_AND_FIELDS, {}, 1.5, ("GET with a token",), connections=50
    ),
    # 20 µs of about 35.
    "validation": Cost(
        {
            "BACKENDS__COREDINATOR__OPENAPI__FILE": str(BENCHMARKS / "validated.json"),
            "BACKENDS__COREDINATOR__VALIDATION__MODE": "enforce",
        },
        {},
        1.6,
        ("1 KiB JSON POST",),
        connections=50,
    ),
    # Middleware. The last two limits are generous: the documentation promises nothing of these.
    "reading": Cost({}, {}, 1.35, added="middleware_app:reads", connections=50),
    "reading coroutine": Cost({}, {}, 1.35, added="middleware_app:reads_as_coroutine", connections=50),
    "setting": Cost({}, {}, 1.7, added="middleware_app:sets", connections=50),
    "reading elevenfold": Cost({}, {}, 3.0, added="middleware_app:reads_elevenfold", connections=50),
    "waiting": Cost({}, {}, 3.0, added="middleware_app:waits", connections=50),
}


def main() -> int:
    parser = ArgumentParser(description="What parts of the gateway cost, as a ratio of CPU time.")
    parser.add_argument("--only", default=",".join(COSTS), help="names, comma-separated")
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=10, help="of each start")
    parser.add_argument("--seconds", type=int, default=1)
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(COSTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    prepare()
    kept = [measure(name, COSTS[name], options) for name in names]
    return 0 if all(kept) else 1


def measure(name: str, cost: Cost, options: Namespace) -> bool:
    """Print what one part costs; whether that is within its limit."""
    pairs: dict[str, list[dict[str, Figures]]] = {load: [] for load in cost.loads}
    for _ in range(options.starts):
        for load, found in measured(cost, options.rounds, options.seconds).items():
            pairs[load] += found
    kept = True
    for load, found in pairs.items():
        cpu, p99 = (
            (calm(found, "on", key) / calm(found, "off", key), ratio(found, "on", "off", key))
            for key in ("CPU µs", "p99 ms")
        )
        print(
            f"{name}, {load}: CPU time x {cpu[0]:.3f}, at most {cost.may}; p99 x {p99[0]:.2f} "
            f"(of pairs: {cpu[1].text('{:.3f}'.format)}; {p99[1].text('{:.2f}'.format)})",
            flush=True,
        )
        kept = kept and cpu[0] <= cost.may
    return kept


def measured(cost: Cost, rounds: int, seconds: float) -> dict[str, list[dict[str, Figures]]]:
    """Pairs of both for each load, after one start."""
    pairs: dict[str, list[dict[str, Figures]]] = {load: [] for load in cost.loads}
    [admin] = free_ports(1)
    with upstream(Setup()) as (port, folder), ExitStack() as running_servers:
        start, interpreted = running_servers.enter_context, bool(cost.application)
        on = start(serving("on", port, folder, cost.on, cost.added, interpreted=interpreted, admin=admin))
        off = on
        if not cost.watched:
            off = start(serving("off", port, folder, cost.off, cost.application, interpreted=interpreted))
        both = {"on": on, "off": off}
        for load in cost.loads:
            for number in range(-1, rounds):
                pair: dict[str, Figures] = {}
                for which in both if number % 2 else reversed(both):
                    with watching(admin) if cost.watched and which == "on" else nullcontext():
                        pair[which] = figures(both[which], load, seconds, cost.connections)
                if number >= 0:  # the first one warms up
                    pairs[load].append(pair)
    return pairs


@contextmanager
def watching(admin: int) -> Generator[None]:
    """The live page is open: the stream of events that feeds it, from its first picture on."""
    with socket.create_connection(("127.0.0.1", admin)) as page, page.makefile("rb") as told:
        page.sendall(b"GET /dashboard/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while (line := told.readline()).rstrip() != b"event: whole":
            if not line:
                raise SystemExit("the live page has ended")
        yield  # what comes meanwhile fits into the socket's buffer


def serving(
    name: str,
    behind: int,
    folder: Path,
    settings: dict[str, str],
    application: str = "",
    *,
    interpreted: bool,
    admin: int = 0,
) -> AbstractContextManager[Server]:
    """The gateway with these settings, running; `admin`: the port of its admin address, 0: any."""
    port, other = free_ports(2)
    peer = gateway(Site(port, behind, admin or other, folder))
    settings = {"TRACING__ENDPOINT": f"http://127.0.0.1:{behind}", **settings}
    environment = {f"COREGATEWAY_{key}": value for key, value in settings.items()}
    if interpreted:
        environment[INTERPRETED] = "1"
    peer = replace(peer, environment=peer.environment | environment)
    if application:
        command = [sys.executable, "-m", "sanic", application, "--host", "127.0.0.1", "--port", str(port)]
        peer = Peer(command, peer.environment | {"PYTHONPATH": f"{BENCHMARKS}:{BENCHMARKS.parent}"})
    return running(name, port, peer, folder, fields=CREDENTIALS)


def figures(server: Server, load: str, seconds: float, connections: int) -> Figures:
    before = server.cpu()
    found = generators.saturating(server.url("/small"), connections, seconds, lua=LOADS[load])
    if found.errors:
        raise SystemExit(f"{server.name} has met with {found.errors} errors")
    return {"CPU µs": (server.cpu() - before) / found.requests * 1e6, "p99 ms": found.p99}


if __name__ == "__main__":
    sys.exit(main())
