"""The gateway and its peers, side by side: requests per second, CPU per request, memory, errors.

python benchmarks/compare.py [--peers caddy,nginx] [--connections 50] [--size 0] [--seconds 3] [--rounds 3]
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from argparse import ArgumentParser, Namespace
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent))
from peers import PEERS, PREFIX, Peer

SERVER_CORE, LOAD_CORE = 0, 1
SMALL = json.dumps({"status": "running", "agent": "agent-01", "values": list(range(10)), "note": "x" * 128})


@dataclass(frozen=True)
class Round:
    """One measurement of one server. `cpu` in microseconds per request, `rss` in MiB."""

    rate: float
    cpu: float
    errors: int
    rss: float
    p99: str


def main() -> int:
    parser = ArgumentParser(description="Compare the gateway with its peers, core for core.")
    parser.add_argument("--peers", default="caddy,haproxy,nginx,first-version", help="comma-separated names")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--size", type=int, default=0, help="bytes of the response instead of a small JSON")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    missing = [tool for tool in ("nginx", "wrk", "taskset") if shutil.which(tool) is None]
    if missing:
        sys.stderr.write(f"compare.py needs {', '.join(missing)}: see benchmarks/README.md\n")
        return 1
    with tempfile.TemporaryDirectory() as name:
        rounds = measure(options, Path(name))
    report(rounds)
    save(options, rounds)
    return 0


def measure(options: Namespace, folder: Path) -> dict[str, list[Round]]:
    """Every server in turn, as often as there are rounds."""
    folder.chmod(0o755)
    rounds: dict[str, list[Round]] = {}
    upstream = free_port()
    with running(upstream_server(upstream, options.size, folder), LOAD_CORE, folder / "upstream.out"):
        for _ in range(options.rounds):
            for name in ("gateway", *options.peers.split(",")):
                port = free_port()
                peer = PEERS[name](port, upstream, folder)
                if peer is None:
                    print(f"{name}: not installed, skipped")
                    continue
                with running(peer, SERVER_CORE, folder / f"{name}.out") as process:
                    rounds.setdefault(name, []).append(one_round(process, port, options))
    return rounds


def one_round(process: "subprocess.Popen[bytes]", port: int, options: Namespace) -> Round:
    url = f"http://127.0.0.1:{port}{PREFIX}/api/agents/agent-01/status"
    wait_until_answered(url, process)
    load(url, options.connections, 1)
    before = cpu_seconds(process.pid)
    printed = load(url, options.connections, options.seconds)
    spent = cpu_seconds(process.pid) - before
    count = int(found(r"(\d+) requests in", printed))
    errors = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", printed))
    errors += sum(int(number) for number in re.findall(r"(?:connect|read|write|timeout) (\d+)", printed))
    return Round(
        rate=float(found(r"Requests/sec:\s+([\d.]+)", printed)),
        cpu=spent / max(count, 1) * 1e6,
        errors=errors,
        rss=resident_mib(process.pid),
        p99=found(r"99%\s+(\S+)", printed),
    )


def report(rounds: dict[str, list[Round]]) -> None:
    own = rounds["gateway"]
    for name, all_rounds in rounds.items():
        rates = sorted(each.rate for each in all_rounds)
        cpu = median(each.cpu for each in all_rounds)
        rate_ratio = median(a.rate / b.rate for a, b in zip(own, all_rounds, strict=False))
        cpu_ratio = median(a.cpu / b.cpu for a, b in zip(own, all_rounds, strict=False))
        print(
            f"{name:14s}{median(rates):9.0f} requests/s ({rates[0]:.0f} to {rates[-1]:.0f})"
            f"{cpu:8.1f} µs CPU each, errors {sum(each.errors for each in all_rounds)}, "
            f"rss {max(each.rss for each in all_rounds):.0f} MiB, p99 {all_rounds[-1].p99}"
            + (f", gateway x{rate_ratio:.2f} (CPU x{cpu_ratio:.2f})" if name != "gateway" else "")
        )


def save(options: Namespace, rounds: dict[str, list[Round]]) -> None:
    results = Path(__file__).resolve().parent / "results"
    results.mkdir(exist_ok=True)
    file = results / f"compare-{time.strftime('%Y%m%dT%H%M%S')}.json"
    content = {
        "options": vars(options),
        "rounds": {name: [asdict(r) for r in rs] for name, rs in rounds.items()},
    }
    file.write_text(json.dumps(content, indent=1))


def upstream_server(port: int, size: int, folder: Path) -> Peer:
    location = f"default_type application/json; return 200 '{SMALL}';"
    if size:
        page = folder / "www" / "api" / "agents" / "agent-01" / "status"
        page.parent.mkdir(parents=True)
        page.write_bytes(b"x" * size)
        location = f"root {folder}/www;"
    configuration = folder / "upstream.conf"
    configuration.write_text(f"""
worker_processes 1;
daemon off;
pid {folder}/upstream.pid;
error_log {folder}/upstream.err;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ {location} }} }}
}}
""")
    return Peer(["nginx", "-c", str(configuration)])


@contextmanager
def running(peer: Peer, core: int, output: Path) -> "Generator[subprocess.Popen[bytes]]":
    """A server in a process group of its own, on one core, ended at the end."""
    with output.open("ab") as out:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *peer.command],
            env={**os.environ, **peer.environment},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def load(url: str, connections: int, seconds: int) -> str:
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["--timeout", "8s", "--latency", url]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def wait_until_answered(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"a server ended by itself, with status {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 -- a loopback URL of our own
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("a server did not answer in time")


def cpu_seconds(group: int) -> float:
    """User and system time of the living processes of a group."""
    ticks = sum(int(stat[11]) + int(stat[12]) for stat in stats_of(group))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mib(group: int) -> float:
    return sum(int(stat[21]) for stat in stats_of(group)) * os.sysconf("SC_PAGE_SIZE") / 2**20


def stats_of(group: int) -> list[list[str]]:
    found_stats: list[list[str]] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(stat[2]) == group:
            found_stats.append(stat)
    return found_stats


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"wrk printed no {pattern}:\n{text}")
    return match[1]


if __name__ == "__main__":
    sys.exit(main())
