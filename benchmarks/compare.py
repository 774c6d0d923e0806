"""The gateway and its peers, side by side, in interleaved rounds: see benchmarks/README.md.

python benchmarks/compare.py [--scenarios 'get-*,rate-1000'] [--peers caddy,nginx] [--rounds 3] [--seconds 3]
"""

import sys
from argparse import ArgumentParser

import reports
from peers import PEERS
from processes import prepare
from rounds import measure
from scenarios import QUICK, SCENARIOS, chosen


def main() -> int:
    parser = ArgumentParser(description="Compare the gateway with its peers, core for core.")
    parser.add_argument("--peers", default=",".join(PEERS), help="names, separated by commas")
    parser.add_argument("--scenarios", default=QUICK, help="names or patterns, separated by commas")
    parser.add_argument("--full", action="store_true", help="every scenario; takes hours with every peer")
    parser.add_argument("--list", action="store_true", help="print the names of scenarios and peers, and end")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.list:
        print(*(f"{name:12}{each.title}" for name, each in SCENARIOS.items()), sep="\n")
        print("peers:", *PEERS)
        return 0
    names = list(dict.fromkeys([reports.OWN, *options.peers.split(",")]))
    if unknown := [name for name in names if name not in PEERS]:
        parser.error(f"no peer {', '.join(unknown)}; there are {', '.join(PEERS)}")
    scenarios = chosen("*" if options.full else options.scenarios)
    prepare()
    about = reports.surroundings()
    rounds = measure(names, scenarios, options.rounds, options.seconds)
    text = reports.as_markdown(rounds, about)
    print(text)
    file = reports.new_file("compare", ".json")
    file.write_text(reports.as_json(rounds, about))
    file.with_suffix(".md").write_text(text)
    try:
        from plots import draw
    except ModuleNotFoundError:
        sys.stderr.write("matplotlib is not installed (make bench installs it): no plots\n")
    else:
        draw(rounds, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
