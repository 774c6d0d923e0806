"""What strictness costs: the gateway against itself with a lenient grammar, in the same run.

python benchmarks/strictness.py [--rounds 9] [--seconds 2] [--connections 32]

Both run side by side on one core; the load (wrk) and the upstream (nginx) share another, and meet the two in
turn, in pairs whose order changes. What is compared is the CPU time per request of the gateway's processes.
"""

import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from argparse import ArgumentParser
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

GATEWAY_CORE, LOAD_CORE = "0", "1"
TARGET = 1.05
"""The most that strictness may cost, as a ratio of CPU time."""

VARIANTS = {"strict": "coregateway.app:app", "lenient": "lenient_app:app"}
ANSWER = '{"status": "running", "values": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "note": "%s"}' % ("x" * 128)

PATH = "/api/v1/coredinator/api/agents/agent-01/status"
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


def chunked_post(port: int) -> str:
    """A POST of 1 KiB in four chunks, as bytes that wrk sends as they are."""
    chunk = "100\\r\\n" + "x" * 256 + "\\r\\n"
    head = f"POST {PATH} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
    return f'local raw = "{head}{chunk * 4}0\\r\\n\\r\\n"\nrequest = function() return raw end\n'


LOADS = {"small GET": False, "browser's GET": False, "1 KiB chunked POST": True}
"""Each load, and whether it is written as a script for wrk."""


def main() -> int:
    parser = ArgumentParser(description="What strictness costs, as a ratio of CPU time per request.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    if missing := [tool for tool in ("nginx", "wrk", "taskset") if shutil.which(tool) is None]:
        sys.stderr.write(f"strictness.py needs {', '.join(missing)}\n")
        return 1
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        upstream = free_port()
        running.enter_context(process(LOAD_CORE, nginx(upstream, folder), {}, folder / "nginx.out"))
        ports = {variant: free_port() for variant in VARIANTS}
        groups = {
            variant: running.enter_context(gateway(variant, ports[variant], upstream, folder))
            for variant in VARIANTS
        }
        costs = [
            measured(load, ports, groups, folder, options.rounds, options.seconds, options.connections)
            for load in LOADS
        ]
    return int(max(costs) > TARGET)


def measured(
    load: str,
    ports: dict[str, int],
    groups: dict[str, int],
    folder: Path,
    rounds: int,
    seconds: int,
    connections: int,
) -> float:
    """Play the rounds of one load, print what came of it, and return the ratio, strict to lenient."""
    spent: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for number in range(-1, rounds):
        order = list(VARIANTS)[:: 1 if number % 2 else -1]
        for variant in order:
            command = wrk(load, ports[variant], folder, seconds, connections)
            before = cpu_seconds(groups[variant])
            requests = completed(command)
            cost = (cpu_seconds(groups[variant]) - before) / requests * 1e6
            if number >= 0:  # the first round warms up
                spent[variant].append(cost)
    ratios = sorted(strict / lenient for strict, lenient in zip(*spent.values(), strict=True))
    strict, lenient = (statistics.median(costs) for costs in spent.values())
    ratio = statistics.median(ratios)
    print(
        f"{load:20s} strict {strict:6.1f} µs, lenient {lenient:6.1f} µs each; "
        f"ratio {ratio:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f} in {rounds} rounds)",
        flush=True,
    )
    return ratio


def wrk(load: str, port: int, folder: Path, seconds: int, connections: int) -> list[str]:
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    if LOADS[load]:
        script = folder / f"post-{port}.lua"
        script.write_text(chunked_post(port))
        command += ["-s", str(script)]
    elif load == "browser's GET":
        command += [part for name, value in BROWSER.items() for part in ("-H", f"{name}: {value}")]
    return [*command, f"http://127.0.0.1:{port}{PATH}"]


def completed(command: list[str]) -> int:
    """How many requests wrk has made; exits when any of them went wrong."""
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    wrong = re.search(r"Non-2xx|Socket errors", printed)
    found = re.search(r"(\d+) requests in", printed)
    if wrong or not found or not int(found[1]):
        raise SystemExit(f"wrk has met with errors:\n{printed}")
    return int(found[1])


@contextmanager
def gateway(variant: str, port: int, upstream: int, folder: Path) -> Generator[int]:
    """One variant, ready; its process group."""
    here = Path(__file__).resolve().parent
    environment = {
        "PYTHONPATH": f"{here.parent}{os.pathsep}{here}",
        "COREGATEWAY_ADMIN__ADDRESS": "",
        "COREGATEWAY_BACKENDS__COREDINATOR__URLS": f"http://127.0.0.1:{upstream}",
    }
    command = [sys.executable, "-m", "sanic", VARIANTS[variant], "--host", "127.0.0.1", "--port", str(port)]
    with process(GATEWAY_CORE, command, environment, folder / f"{variant}.log") as group:
        wait_until_answered(f"http://127.0.0.1:{port}{PATH}", folder / f"{variant}.log")
        yield group


@contextmanager
def process(core: str, command: list[str], environment: dict[str, str], output: Path) -> Generator[int]:
    """A process on one core, in a group of its own; its id."""
    with output.open("ab") as out:
        started = subprocess.Popen(
            ["taskset", "-c", core, *command],
            env={**os.environ, **environment},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield started.pid
    finally:
        os.killpg(started.pid, signal.SIGTERM)
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def nginx(port: int, folder: Path) -> list[str]:
    folder.chmod(0o755)
    configuration = folder / "nginx.conf"
    configuration.write_text(f"""
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.err;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  client_body_temp_path {folder}/bodies;
  server {{
    listen 127.0.0.1:{port};
    location / {{ default_type application/json; return 200 '{ANSWER}'; }}
  }}
}}
""")
    return ["nginx", "-c", str(configuration)]


def wait_until_answered(url: str, output: Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 -- a loopback URL of our own
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"a gateway did not answer in time:\n{output.read_text()[-2000:]}")


def cpu_seconds(group: int) -> float:
    """User and system time of the living processes of a group.

    The number of a process' CPU clock is made of its id (clock_getcpuclockid(3)); unlike the ticks in
    `/proc/<pid>/stat`, that clock is exact.
    """
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in processes(group))


def processes(group: int) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            after_name = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(after_name[2]) == group and after_name[0] not in "ZX":
            found.append(int(entry.name))
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
