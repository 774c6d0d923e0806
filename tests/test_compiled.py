"""Machine code runs where it was made of the very sources that are there; everywhere else the sources run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from coregateway import COMPILED
from coregateway.compiled import DIRECTORY, INTERPRETED, PACKAGE, SOURCES, digest
from tests.conftest import StartGateway

TELL = "import coregateway, coregateway.proxy.retry as module; print(coregateway.COMPILED, module.__file__)"
needs_machine_code = pytest.mark.skipif(
    not (DIRECTORY / digest()).is_dir(), reason="nothing is compiled: there is no C compiler"
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, with what was compiled of it."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "coregateway", ignore=shutil.ignore_patterns("testing")))


def told_in(directory: Path, **env: str) -> list[str]:
    """Whether the package there says that it is compiled, and the suffix of a module that it has loaded."""
    command = [sys.executable, "-c", TELL]
    done = subprocess.run(command, cwd=directory, env=os.environ | env, capture_output=True, check=True)
    compiled, file = done.stdout.decode().split()
    assert Path(file).is_relative_to(directory)
    return [compiled, Path(file).suffix]


def has_machine_code(pid: int) -> bool:
    return str(DIRECTORY) in Path(f"/proc/{pid}/maps").read_text()


def test_tests_import_the_sources() -> None:
    assert not COMPILED
    assert INTERPRETED not in os.environ


@needs_machine_code
async def test_a_gateway_runs_compiled_in_its_workers_too(gateway: StartGateway) -> None:
    running = await gateway(workers=2)
    [start] = running.log_lines(event="gateway.starting")
    assert start["compiled"]
    # the main process, and the workers
    assert sum(map(has_machine_code, running.processes())) >= 3


@needs_machine_code
def test_machine_code_runs_where_its_sources_are(package: Path) -> None:
    assert told_in(package.parent) == ["True", ".so"]


@needs_machine_code
def test_a_source_that_was_edited_runs_as_it_stands(package: Path) -> None:
    """Found by what it says: its time of change may be any after a checkout."""
    path = package / SOURCES[-1]
    stat = path.stat()
    path.write_bytes(path.read_bytes() + b"\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert told_in(package.parent) == ["False", ".py"]


def test_sources_run_where_nothing_was_compiled(package: Path) -> None:
    shutil.rmtree(package / DIRECTORY.name, ignore_errors=True)
    assert told_in(package.parent) == ["False", ".py"]


@needs_machine_code
def test_whoever_wants_the_sources_gets_them(package: Path) -> None:
    assert told_in(package.parent, **{INTERPRETED: "1"}) == ["False", ".py"]
