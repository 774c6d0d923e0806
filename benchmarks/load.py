"""The traffic of `locustfile.py` on a gateway with demo backends, from the first process to the report.

    python benchmarks/load.py [--folder FOLDER] [--workers N] [flags of locust, such as -u 100 -t 5m]

Starts `coregateway demo` on free ports, calls it by locust without its web page, and ends it. Leaves the
figures (CSV), the report (HTML) and the gateway's log in the folder, and gives locust's exit status.
"""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent

START_TIME = 60.0
"""Seconds, at most, until the demo answers, and until it has ended."""

STOP_TIME = 5
"""Seconds in which a user may end what it has begun when there are to be fewer."""


def main() -> int:
    parser = ArgumentParser(
        description="Call a demo as its users would; other flags are locust's.", allow_abbrev=False
    )
    parser.add_argument("--folder", type=Path, help="where the report goes (default: one below results/)")
    parser.add_argument("--workers", type=int, default=1, help="processes of the gateway (default: 1)")
    options, flags = parser.parse_known_args()
    folder: Path = options.folder or HERE / "results" / time.strftime("load-%Y%m%dT%H%M%S")
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, leave)
    with demo(folder, options.workers) as (url, pid):
        before, began = gateway_cpu(pid), time.monotonic()
        status = locust(url, folder, flags)
        spent, seconds = gateway_cpu(pid) - before, time.monotonic() - began
        own = resource.getrusage(resource.RUSAGE_CHILDREN)  # of locust alone, while the demo runs
    report(folder, seconds, {"locust": own.ru_utime + own.ru_stime, "gateway": spent})
    return status


def leave(*_: object) -> None:
    """By way of every `finally`, so that nothing is left behind."""
    sys.exit(128 + signal.SIGTERM)


@contextmanager
def demo(folder: Path, workers: int) -> Generator[tuple[str, int]]:
    """The gateway's URL, and the process that has started it and its backends."""
    ports = [f"--{name}=0" for name in ("port", "coredinator-port", "coretelemetry-port")]
    command = [sys.executable, "-m", "coregateway", "demo", "--host=127.0.0.1", f"--workers={workers}"]
    with (folder / "gateway.log").open("wb") as log, (folder / "demo.txt").open("wb") as words:
        # In a session of its own: Ctrl-C is for locust alone, which then still writes its report.
        process = subprocess.Popen([*command, *ports], stdout=log, stderr=words, start_new_session=True)
    try:
        yield address(process, folder / "demo.txt"), process.pid
    finally:
        process.terminate()
        process.wait(START_TIME)


def address(process: "subprocess.Popen[bytes]", words: Path) -> str:
    """Where the gateway is, as the demo's greeting says once all of it answers."""
    deadline = time.monotonic() + START_TIME
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"^CoreGateway runs on (\S+)", words.read_text(), re.MULTILINE):
            return found[1]
        time.sleep(0.05)
    raise SystemExit(f"the demo did not start:\n{words.read_text()}")


def locust(url: str, folder: Path, flags: Sequence[str]) -> int:
    """The exit status. What stands in `flags` goes before what stands here."""
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(HERE / "locustfile.py"),
        "--headless",
        "--only-summary",
    ]
    command += ["--host", url, "--stop-timeout", str(STOP_TIME)]
    command += ["--csv", str(folder / "locust"), "--html", str(folder / "report.html"), *flags]
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:  # it has got it, too
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def report(folder: Path, seconds: float, cpu: Mapping[str, float]) -> None:
    """What it took, by the gateway's own log. `cpu` in seconds."""
    lines = [json.loads(line) for line in (folder / "gateway.log").read_text().splitlines()]
    # Without a backend: what the demo asked itself until the gateway was ready.
    requests = [line for line in lines if line["event"] == "request" and line["backend"]]
    failed = sum((line["status"] or 0) >= 500 for line in requests)
    told = sum(line["level"] in ("WARNING", "ERROR", "CRITICAL") for line in lines)
    print(f"\n{len(requests)} requests in {seconds:.0f} s: {len(requests) / seconds:.0f} a second")
    for name, spent in cpu.items():
        each = spent / max(len(requests), 1) * 1e6
        print(f"{name:8s} {spent / seconds:4.0%} of a core, {each:4.0f} µs of CPU for each request")
    print(f"the gateway's log: {failed} requests with 5xx, {told} warnings and errors")
    print(f"report: {folder}")


def gateway_cpu(demo: int) -> float:
    """User and system time in seconds of the demo's gateway: its main process and its workers."""
    stats = {
        int(path.parent.name): stat for path in Path("/proc").glob("[0-9]*/stat") if (stat := fields(path))
    }
    backend = re.compile(rb"coregateway\.demo\.")
    family = {
        pid
        for pid, stat in stats.items()
        if int(stat[1]) == demo and not backend.search(Path(f"/proc/{pid}/cmdline").read_bytes())
    }
    while more := {pid for pid, stat in stats.items() if int(stat[1]) in family} - family:
        family |= more
    # With that of children which it has waited for: a worker may have been replaced.
    ticks = sum(int(number) for pid in family for number in stats[pid][11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def fields(stat: Path) -> list[str]:
    """Of /proc/PID/stat (proc_pid_stat(5)) what follows the name; nothing if the process has ended."""
    try:
        return stat.read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main())
