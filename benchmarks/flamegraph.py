"""Where the gateway's time goes under load, as a flame graph (SVG) in benchmarks/results.

python benchmarks/flamegraph.py [--scenario get-c50] [--seconds 10] [--no-native]

py-spy, of the dependency group "bench", samples the worker's stacks, native frames included. It stops the
worker for each sample, so do not read speeds off such a run; it must be allowed to trace processes (root, or
`kernel.yama.ptrace_scope = 0`).
"""

import subprocess
import sys
import threading
from argparse import ArgumentParser
from pathlib import Path

import reports
from peers import SCRIPTS
from processes import Server, prepare
from rounds import serving, upstream
from scenarios import SCENARIOS

RATE = 250
"""Samples per second."""


def main() -> int:
    parser = ArgumentParser(description="Sample the gateway under load and draw a flame graph.")
    parser.add_argument("--scenario", default="get-c50", choices=[*SCENARIOS], metavar="NAME")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--no-native", dest="native", action="store_false", help="Python frames only")
    options = parser.parse_args()
    profiler = SCRIPTS / "py-spy"
    if not profiler.exists():
        sys.stderr.write("py-spy is not installed: `uv sync --group bench`\n")
        return 2
    prepare()
    scenario = SCENARIOS[options.scenario]
    file = reports.new_file(f"flamegraph-{scenario.name}", ".svg")
    with (
        upstream(scenario.setup) as (port, folder),
        serving("gateway", scenario.setup, port, folder) as server,
    ):
        # The load lasts longer than the sampling, which needs a moment to begin.
        load = threading.Thread(target=scenario.measure, args=(server, options.seconds + 3), daemon=True)
        load.start()
        command = [str(profiler), "record", "--pid", str(worker(server)), "--output", str(file)]
        command += [
            "--rate",
            str(RATE),
            "--duration",
            str(options.seconds),
            "--format",
            "flamegraph",
            "--function",
        ]
        status = subprocess.run([*command, *(["--native"] if options.native else [])], check=False).returncode
        load.join()
    if status == 0:
        print(file)
    return status


def worker(server: Server) -> int:
    """The process id of the gateway's busiest process: its one worker."""

    def environment(pid: int) -> bytes:
        return Path(f"/proc/{pid}/environ").read_bytes()

    [found] = [pid for pid in server.processes() if b"SANIC_WORKER_NAME=" in environment(pid)]
    return found


if __name__ == "__main__":
    sys.exit(main())
