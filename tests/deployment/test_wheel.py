"""A wheel holds sources, what was compiled of them, and metadata; the sdist holds what builds both."""

import os
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from coregateway import __version__
from coregateway.compiled import DIRECTORY, digest
from tests.node.running_node import ROOT

CHANGES = "https://code.test/gateway/blob/main/CHANGELOG.md"


def built(target: str, directory: Path, **env: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(directory)]
    subprocess.run(command, cwd=ROOT, env=os.environ | env, check=True, capture_output=True)
    [found] = directory.iterdir()
    return found


@pytest.mark.skipif(not (DIRECTORY / digest()).is_dir(), reason="nothing is compiled: there is no compiler")
def test_a_wheel_with_machine_code_is_for_this_platform_and_runs_it(tmp_path: Path) -> None:
    # what is compiled will do, however quick: else the hook compiles for minutes
    wheel = built("wheel", tmp_path / "dist", MYPYC_OPT_LEVEL="0", PROJECT_URL="https://code.test/gateway/")
    assert "-cp313-cp313-linux_" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = Parser().parsestr(archive.read(f"coregateway-{__version__}.dist-info/METADATA").decode())
        archive.extractall(tmp_path / "installed")  # noqa: S202 -- we have built it
    assert {"coregateway/py.typed", "coregateway/deployment/kubernetes.yaml"} <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == "<3.14,>=3.13"
    assert any("Proxy Servers" in each for each in metadata.get_all("Classifier", []))
    urls = metadata.get_all("Project-URL", [])
    assert {"Homepage, https://code.test/gateway", f"Changelog, {CHANGES}"} <= set(urls)
    done = subprocess.run(
        [sys.executable, "-m", "coregateway", "version"],
        cwd=tmp_path / "installed",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{__version__} (compiled)\n"


def test_what_is_no_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        built("sdist", tmp_path, PROJECT_URL="code.test/gateway")
    assert b"PROJECT_URL is no address of the web: code.test/gateway" in failed.value.stderr


def test_the_sdist_holds_what_builds_and_tests_it(tmp_path: Path) -> None:
    with tarfile.open(built("sdist", tmp_path, PROJECT_URL="")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "pyproject.toml",
        "Makefile",
        ".ci/build_hook.py",
        ".ci/compile.py",
        ".ci/metadata_hook.py",
        "tests/conftest.py",
        "README.md",
        "Dockerfile",
        ".dockerignore",
        "compose.yaml",
        "docs/images/dashboard.png",
    }
    assert wanted <= names
    assert not [name for name in names if name.endswith((".so", ".pyc")) or name.startswith(".venv")]
