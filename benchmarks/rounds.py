"""Interleaved rounds: every server in turn, as often as there are rounds, each with a fresh process."""

import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import upstreams
from generators import Unanswered
from peers import KEY, PEERS, Site
from processes import LOAD_CORE, Server, free_ports, running, started, wait_until_answered
from scenarios import Figures, Scenario, Setup, by_setup

from coregateway.demo.certificate import made

type Rounds = dict[str, list[dict[str, Figures]]]
"""By scenario, for each round the figures of the servers that were able to do it."""


def measure(names: Sequence[str], scenarios: Sequence[Scenario], rounds: int, seconds: float) -> Rounds:
    """A server that is missing, lacks what a scenario needs, or fails it, is left out of it with a word."""
    found: Rounds = {scenario.name: [{} for _ in range(rounds)] for scenario in scenarios}
    for number in range(rounds):
        for setup, group in by_setup(scenarios):
            with upstream(setup) as (port, folder):
                for name in names:
                    able = [scenario for scenario in group if scenario.needs not in PEERS[name].lacks]
                    for scenario in group:
                        if scenario not in able:
                            say(f"{name} is not able to do {scenario.name}: skipped")
                    if not able:
                        continue
                    try:
                        with serving(name, setup, port, folder) as server:
                            for scenario in able:
                                say(f"round {number + 1} of {rounds}: {scenario.name}: {name}")
                                found[scenario.name][number][name] = scenario.measure(server, seconds)
                    except Missing:
                        say(f"{name} is not installed: skipped")
                    except Unanswered as failure:
                        say(f"{name} failed: {failure}")
    return found


@contextmanager
def upstream(setup: Setup) -> Generator[tuple[int, Path]]:
    """The port of an upstream that runs, and a folder for the files of the servers in front of it."""
    start = upstreams.streams if setup.streams else upstreams.files
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's workers are another user
        [port] = free_ports(1)
        with started(start(port, folder), LOAD_CORE, folder / "upstream.out") as process:
            wait_until_answered(f"http://127.0.0.1:{port}/small", process)
            yield port, folder


class Missing(Exception):
    """A server is not installed."""


@contextmanager
def serving(name: str, setup: Setup, behind: int, folder: Path) -> Generator[Server]:
    """A server that runs in front of an upstream's port; Missing where it is not installed."""
    port, admin = free_ports(2)
    pair = certificate(folder) if setup.tls else ""
    site = Site(
        port, behind, admin, folder, setup.workers, setup.connections, setup.streams, pair, setup.guarded
    )
    peer = PEERS[name].start(site)
    if peer is None:
        raise Missing(name)
    fields = {"X-API-Key": KEY} if setup.guarded else {}
    with running(name, port, peer, folder, fields=fields, secured=setup.tls) as server:
        yield server


def certificate(folder: Path) -> str:
    """A file with a certificate (ECDSA P-256) and its key, the same for all servers of a folder."""
    file = folder / "tls.pem"
    if not file.exists():
        file.write_bytes(made(datetime.now(UTC)))
    return str(file)


def say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
