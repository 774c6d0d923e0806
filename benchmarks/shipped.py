"""What is shipped: the environment of the image, its size, and how soon a gateway of it answers.

    .venv/bin/python benchmarks/shipped.py [--starts 5] [--keep DIRECTORY]

Runs the steps of the Dockerfile's first stage in a clean copy of the sources, but for those that install
Debian's packages and uv: so it builds the wheel, compiled, and installs it into a fresh environment. From
there it starts `coregateway run --workers 4` in front of a backend, several times, and takes the time from
the process' start to the first forwarded answer; then that of `coregateway health`. Prints figures, and exits
with 1 where one is above its limit. `--keep` builds the environment in a directory that stays, and uses it
when it is there.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from urllib.request import ProxyHandler, build_opener

from processes import free_ports

ROOT = Path(__file__).parents[1]
WORKERS = 4
FIRST_ANSWER = 3.0
"""Seconds, at most, with four workers."""

HEALTH = 0.15
"""Seconds, at most, of `coregateway health`."""

ENVIRONMENT = 85e6
"""Bytes, at most, of the environment: with the base image, of about 115 MB, they make up the 200 MB."""

open_url = build_opener(ProxyHandler({})).open


class Answer(BaseHTTPRequestHandler):
    """A backend that answers everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its name
        """Say nothing."""


def build(environment: Path) -> None:
    """What the Dockerfile's first stage runs, with the environment in another place."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").replace("/app/.venv", str(environment))
    stage = text.split("FROM ")[1]
    given = re.findall(r"^ENV (.*)", stage, re.MULTILINE)
    variables = dict(pair.split("=", 1) for line in given for pair in line.split())
    steps = [step for step in re.findall(r"^RUN (.*)", stage, re.MULTILINE) if step.startswith("uv ")]
    with tempfile.TemporaryDirectory() as directory:
        sources = Path(directory)
        _copy(sources)
        uv = shutil.which("uv") or str(ROOT / ".uv/bin/uv")
        path = os.pathsep.join((str(Path(uv).parent), os.environ["PATH"]))
        own = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
        for step in steps:
            used = own | variables | {"PATH": path}
            subprocess.run(["sh", "-ec", step], cwd=sources, env=used, check=True, stdout=subprocess.DEVNULL)


def _copy(sources: Path) -> None:
    """As `COPY . .` does, of what is in the repository."""
    left_out = [line for line in (ROOT / ".dockerignore").read_text().split() if not line.startswith("#")]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if name.split("/")[0] not in left_out and (ROOT / name).exists():
            (sources / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, sources / name)


def sizes(environment: Path) -> tuple[int, list[tuple[int, str]]]:
    """Bytes of all files, and of the largest packages."""
    packages: dict[str, int] = {}
    for path in environment.rglob("*"):
        if path.is_file() and not path.is_symlink():
            inside = path.relative_to(environment).parts
            name = inside[3] if len(inside) > 4 else "else"
            packages[name] = packages.get(name, 0) + path.stat().st_size
    return sum(packages.values()), sorted(((size, name) for name, size in packages.items()), reverse=True)[:8]


@contextmanager
def answering() -> Generator[int]:
    """A backend; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def start(environment: Path, backend: int, healths: list[float]) -> float:
    """Seconds from a gateway's start to its first forwarded answer; adds those of `coregateway health`."""
    port, admin = free_ports(2)
    program = str(environment / "bin/coregateway")
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    own |= {"COREGATEWAY_PORT": str(port), "COREGATEWAY_ADMIN__ADDRESS": f"127.0.0.1:{admin}"}
    own |= {"COREGATEWAY_BACKENDS__COREDINATOR__URLS": f"http://127.0.0.1:{backend}"}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        command = [program, "run", "--host", "127.0.0.1", "--workers", str(WORKERS)]
        process = subprocess.Popen(command, env=own, cwd=directory, stdout=subprocess.DEVNULL)
        try:
            while True:
                try:
                    with open_url(f"http://127.0.0.1:{port}/api/v1/coredinator/x", timeout=5) as answer:
                        assert answer.read() == b"ok"  # noqa: S101 -- nothing else answers there
                        break
                except OSError:
                    if process.poll() is not None or time.monotonic() - began > 60:
                        raise
                    time.sleep(0.005)
            took = time.monotonic() - began
            while _health(program, own, directory):
                time.sleep(0.05)
            for _ in range(5):
                asked = time.monotonic()
                assert _health(program, own, directory) == 0  # noqa: S101 -- it was ready
                healths.append(time.monotonic() - asked)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    return took


def _health(program: str, env: dict[str, str], directory: str) -> int:
    """The exit status of `coregateway health`."""
    asked = [program, "health"]
    return subprocess.run(asked, env=env, cwd=directory, capture_output=True, check=False).returncode


def told(name: str, values: Sequence[float], limit: float) -> bool:
    """Print it; whether the median is above the limit."""
    print(f"{name}: {median(values):.3f} s ({min(values):.3f} to {max(values):.3f}), at most {limit:g} s")
    return median(values) > limit


def main() -> int:
    parser = ArgumentParser(prog="shipped.py", description="Measure what is shipped.")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="build the environment here, or use the one that is here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, answering() as backend:
        environment: Path = (options.keep or Path(directory) / "venv").absolute()
        if not environment.exists():
            build(environment)
        size, largest = sizes(environment)
        print(f"environment: {size / 1e6:.1f} MB, at most {ENVIRONMENT / 1e6:g} MB")
        print("  " + ", ".join(f"{name} {each / 1e6:.1f}" for each, name in largest))
        healths: list[float] = []
        first, *starts = [start(environment, backend, healths) for _ in range(options.starts + 1)]
        print(f"first start of all: {first:.3f} s")
        failed = [
            size > ENVIRONMENT,
            told("first forwarded answer", starts or [first], FIRST_ANSWER),
            told("coregateway health", healths, HEALTH),
        ]
    return int(any(failed))


if __name__ == "__main__":
    sys.exit(main())
