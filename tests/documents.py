"""The documents of the repository, and what it takes to try them: a fresh clone, a demo, a gateway."""

import atexit
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from coregateway.compiled import DIRECTORY, digest
from coregateway.testing import free_port
from tests.demo.running_backend import answers, new_client
from tests.node.running_node import ROOT, until
from tests.running_command import WAIT, RunningCommand, environment

README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
BENCHMARKS = (ROOT / "benchmarks" / "README.md").read_text()
PAGES = {
    path.stem: path.read_text() for path in sorted((ROOT / "docs").glob("*.md")) if path.stem != "README"
}
INDEX = (ROOT / "docs" / "README.md").read_text()

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


@cache
def clone() -> Path:
    """What a clone has, and what `make setup` adds to it: nothing else that lies about in this directory."""
    directory = Path(tempfile.mkdtemp(prefix="clone-"))
    atexit.register(shutil.rmtree, directory)
    for name in subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0"):
        if name and (ROOT / name).exists():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name)  # with its time, for make
    for name in (".venv", ".uv"):
        if (ROOT / name).exists():
            (directory / name).symlink_to(ROOT / name)
    # What pyproject.toml says is installed there: make must not install the clone itself in its place.
    os.utime(directory / "pyproject.toml", (0, 0))
    os.utime(directory / ".python-version", (0, 0))
    compiled = directory / "coregateway/__compiled__"
    if (DIRECTORY / digest()).is_dir():
        compiled.symlink_to(DIRECTORY)
    else:
        compiled.mkdir()
        (compiled / f"{digest()}.log").touch()  # edited sources run interpreted: nothing waits for a compiler
    return directory


def run(command: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in the clone; one that fails raises."""
    return subprocess.run(
        shlex.split(command),
        cwd=clone(),
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=True,
        start_new_session=True,
    )


def fresh(command: str) -> str:
    """The command with ports that are free in the place of those that it names."""
    return re.sub(r"\b(?:8001|700[01])\b", lambda _: str(free_port()), command)


def flags(text: str) -> set[str]:
    return {*re.findall(r"--[a-z][\w-]*", text)}


class Demo(NamedTuple):
    """`make run` in one terminal, a client in another."""

    make: RunningCommand
    client: httpx.Client
    admin: int
    """The port of its admin address."""

    def curl(self, command: str) -> str:
        """What a curl command prints, on the ports of this demo."""
        here = command.replace("localhost:8001", f"localhost:{self.client.base_url.port}")
        here = here.replace("localhost:9001", f"localhost:{self.admin}")
        return run(here.replace("curl ", "curl -sS --max-time 10 ", 1), no_proxy="*").stdout


@contextmanager
def running_demo() -> Generator[Demo]:
    """`make run` until Ctrl-C, which ends all of it."""
    port, admin = free_port(), free_port()
    arguments = f"--port {port} --coredinator-port {free_port()} --coretelemetry-port {free_port()}"
    env = {"COREGATEWAY_ADMIN__ADDRESS": f"127.0.0.1:{admin}"}
    with (
        RunningCommand(["make", "run", f"ARGS={arguments}"], cwd=clone(), env=env) as make,
        new_client(f"http://127.0.0.1:{port}") as client,
    ):
        make.until(lambda: "Ctrl-C ends everything" in make.stderr, "the demo greets")
        yield Demo(make, client, admin)
        make.interrupt()
        until(lambda: not make.processes(), "all has ended")


@contextmanager
def started(
    command: str, env: dict[str, str], cwd: Path | None = None
) -> Generator[tuple[RunningCommand, httpx.Client]]:
    """A gateway that is ready, and a client; in the end it must not have said a word beside its log."""
    port = free_port()
    command = re.sub(r"--port \d+", f"--port {port}", command)
    with (
        RunningCommand(
            shlex.split(command), cwd=cwd or clone(), env=env | {"COREGATEWAY_PORT": str(port)}
        ) as gateway,
        new_client(f"http://127.0.0.1:{port}") as client,
    ):
        gateway.until(lambda: answers(client, "/readyz"), "the gateway is ready")
        yield gateway, client
        assert gateway.stop() == 0
        assert (gateway.stderr, gateway.log_lines(level="ERROR")) == ("", [])
