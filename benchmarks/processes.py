"""The servers that are measured, as processes: started on one core, and what they use of it."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from generators import Unanswered
from peers import PREFIX, Peer

SERVER_CORE, LOAD_CORE = 0, 1
TOOLS = ("nginx", "wrk", "h2load", "taskset")
"""Nothing can be measured without; from Debian's nginx-light, wrk, nghttp2-client, util-linux."""
UNVERIFIED = ssl._create_unverified_context()  # noqa: S323  # pyright: ignore[reportPrivateUsage] -- public in all but its name
"""For certificates that were made for the measurement."""
START = 20.0
"""Seconds that a server may take until its first answer."""


@dataclass(frozen=True)
class Server:
    """A server that runs, with all that belongs to it: the processes of one group."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"
    secured: bool = False

    def url(self, path: str) -> str:
        """Where the upstream's path is found from outside."""
        return f"{'https' if self.secured else 'http'}://127.0.0.1:{self.port}{PREFIX}{path}"

    def cpu(self) -> float:
        """Seconds of user and system time of the processes that live, to the microsecond.

        `/proc/<pid>/stat` counts in ticks of 10 ms; the CPU clock of a process (`clock_getcpuclockid(3)`,
        whose number the kernel makes of the complement of the pid) is exact.
        """
        total = 0.0
        for pid in self.processes():
            try:
                total += time.clock_gettime((~pid << 3) | 2)
            except OSError:  # it has ended meanwhile
                continue
        return total

    def memory(self) -> float:
        """MiB, where pages that several processes share count once (Pss)."""
        return self._rollup("Pss")

    def resident(self) -> float:
        """MiB (Rss): unlike `memory`, it does not change with what others share."""
        return self._rollup("Rss")

    def _rollup(self, key: str) -> float:
        kib = 0
        for pid in self.processes():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            found = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
            kib += int(found[1]) if found else 0
        return kib / 1024

    def processes(self) -> list[int]:
        """The ids of those that live."""
        found: list[int] = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(after_name[2]) == self.process.pid and after_name[0] not in "ZX":
                found.append(int(entry.name))
        return found


def prepare() -> None:
    """Keep this process, and so the load, off the servers' core; SystemExit where a tool or core lacks."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise SystemExit(f"{', '.join(missing)} must be there: see benchmarks/README.md")
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit(f"cores {SERVER_CORE} and {LOAD_CORE} must be there: the load needs one of its own")
    os.sched_setaffinity(0, {LOAD_CORE})
    # As after Ctrl-C, no server outlives this process.
    signal.signal(signal.SIGTERM, leave)


def leave(number: int, _: object) -> None:
    sys.exit(128 + number)


@contextmanager
def running(
    name: str,
    port: int,
    peer: Peer,
    folder: Path,
    check: str = "/small",
    fields: Mapping[str, str] = MappingProxyType({}),
    *,
    secured: bool = False,
) -> Generator[Server]:
    """A server on its core, from the first answer to this path on; `fields`: that it is asked with;
    `secured`: over TLS."""
    with started(peer, SERVER_CORE, folder / f"{name}.out") as process:
        server = Server(name, port, process, secured)
        wait_until_answered(server.url(check), process, fields)
        yield server


@contextmanager
def started(peer: Peer, core: int, output: Path) -> "Generator[subprocess.Popen[bytes]]":
    """A process group of its own, on one core; ended at the end."""
    with output.open("ab") as out:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *peer.command],
            env={**os.environ, **peer.environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def wait_until_answered(
    url: str, process: "subprocess.Popen[bytes]", fields: Mapping[str, str] = MappingProxyType({})
) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Unanswered(f"{url}: the server ended by itself, with status {process.returncode}")
        try:
            request = urllib.request.Request(url, headers=dict(fields))  # noqa: S310 -- a loopback URL of our own
            with urllib.request.urlopen(request, timeout=2, context=UNVERIFIED) as answer:  # noqa: S310
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise Unanswered(f"{url}: no answer within {START:.0f} s")


def free_ports(count: int) -> Sequence[int]:
    """Ports of loopback that nothing listens on, each another."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
