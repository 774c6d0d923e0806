"""Has the gateway become slower? A paired run against one peer, in less than two minutes.

python benchmarks/guard.py [--record]

Both servers run at the same time and take the load in turns. The exit status is 1 if a ratio has dropped by
more than a tenth from the one in `guard.json`; `--record` writes that file instead. It wants a machine that
does nothing else: the ratio of CPU time bears some company, that of requests per second hardly any.
"""

import json
import sys
from argparse import ArgumentParser

import reports
from figures import Spread, drops, ratio
from peers import BENCHMARKS
from processes import prepare
from rounds import Missing, serving, upstream
from scenarios import Figures, Setup, saturating

RECORD = BENCHMARKS / "guard.json"
PEERS = ("haproxy", "caddy")
"""What it may be held against; the first is the default."""
PAIRS = 10
SECONDS = 3.0
MAY_DROP = 0.1


def main() -> int:
    parser = ArgumentParser(description="Fail if the gateway's ratio to a peer has dropped.")
    parser.add_argument("--peer", choices=PEERS, help=f"with --record; {PEERS[0]} by default")
    parser.add_argument("--record", action="store_true", help="write what is measured into guard.json")
    options = parser.parse_args()
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() and not options.record else None
    if recorded is None and not options.record:
        parser.error("nothing is recorded: run it with --record")
    peer = recorded["peer"] if recorded else options.peer or PEERS[0]
    prepare()
    try:
        spreads = measure(peer)
    except Missing:
        sys.stderr.write(f"{peer} is not installed: see benchmarks/README.md\n")
        return 2
    for name, spread in spreads.items():
        before = f", recorded {recorded['ratios'][name]:.3f}" if recorded else ""
        print(f"{name}, ahead of {peer}: {spread.text('{:.3f}'.format)}{before}")
    ratios = {name: round(spread.middle, 4) for name, spread in spreads.items()}
    if recorded is None:
        about = reports.surroundings() | {"command": "benchmarks/guard.py --record"}
        RECORD.write_text(json.dumps({"peer": peer, "ratios": ratios, **about}, indent=1) + "\n")
        return 0
    dropped = drops(recorded["ratios"], ratios, MAY_DROP)
    for words in dropped:
        print(words)
    return 1 if dropped else 0


def measure(peer: str) -> dict[str, Spread]:
    """How far ahead the gateway is; more is better for both ratios."""
    load = saturating("/small", 50, warm_up=0)
    pairs: list[dict[str, Figures]] = []
    with (
        upstream(Setup()) as (port, folder),
        serving("gateway", Setup(), port, folder) as gateway,
        serving(peer, Setup(), port, folder) as other,
    ):
        for server in (gateway, other):
            load(server, 2)
        for number in range(PAIRS):
            # Who comes first changes, so that what drifts does not favour one of them.
            order = (gateway, other) if number % 2 else (other, gateway)
            pairs.append({server.name: load(server, SECONDS) for server in order})
    return {
        "requests/s": ratio(pairs, "gateway", peer, "requests/s"),
        "CPU per request": ratio(pairs, peer, "gateway", "CPU µs"),
    }


if __name__ == "__main__":
    sys.exit(main())
