"""`docs/start.md` is played from its first command to its last, in a new directory."""

import json
import re
import shlex
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coregateway.testing import free_port
from tests.documents import PAGES, needs_curl
from tests.markdown import blocks, commands
from tests.node.running_node import ROOT
from tests.running_command import WAIT, RunningCommand, environment

SERVE, *BEFORE, RUN, GET, HEALTH, STATUS, RELOAD, AGAIN = commands(PAGES["start"])
CHECK, EXPLAIN = BEFORE
FILE, RATES = (block.text for block in blocks(PAGES["start"]) if block.language == "toml")


class Session:
    """The reader's terminals, in one directory, with free ports in the place of those that are named."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "coregateway.toml"
        self._ports = {"7002": free_port(), "8001": free_port(), "9001": free_port()}
        self._env = {
            "COREGATEWAY_PORT": str(self._ports["8001"]),
            "COREGATEWAY_ADMIN__ADDRESS": f"127.0.0.1:{self._ports['9001']}",
        }

    def here(self, text: str) -> str:
        text = re.sub(r"\b(7002|8001|9001)\b", lambda found: str(self._ports[found[1]]), text)
        return text.replace(".venv/bin/", f"{ROOT}/.venv/bin/")

    def run(self, command: str) -> str:
        return subprocess.run(
            shlex.split(self.here(command).replace("curl ", "curl -sS --max-time 10 ")),
            cwd=self.directory,
            env=environment(self._env | {"no_proxy": "*"}),
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=True,
        ).stdout

    @contextmanager
    def running(self, command: str, url: str) -> Generator[RunningCommand]:
        """A command that goes on, from the moment at which the URL is answered."""
        with RunningCommand(shlex.split(self.here(command)), cwd=self.directory, env=self._env) as running:
            running.until(lambda: self._is_answered(url), url)
            yield running

    def _is_answered(self, url: str) -> bool:
        asked = ["curl", "-sf", "--max-time", "5", self.here(url)]
        return subprocess.run(asked, capture_output=True, timeout=WAIT, check=False).returncode == 0


@needs_curl
def test_the_page_is_played_from_start_to_end(tmp_path: Path) -> None:
    session = Session(tmp_path)
    with session.running(SERVE, "http://localhost:7002/"):
        session.file.write_text(session.here(FILE))
        check, explain = session.run(CHECK), session.run(EXPLAIN)
        assert re.search(r"^backends\.billing\.urls .*coregateway\.toml:3$", check, re.MULTILINE)
        assert "GET /invoices HTTP/1.1" in explain
        with session.running(RUN, "http://localhost:8001/readyz") as gateway:
            got = session.run(GET)
            assert got.startswith("HTTP/1.1 200 ")
            [named] = re.findall(r"^X-Request-ID: (\w+)", got, re.MULTILINE | re.IGNORECASE)
            gateway.until(lambda: gateway.log_lines(request_id=named), "the line with the same id")
            assert json.loads(session.run(HEALTH))["services"] == {"billing": "healthy"}
            assert "billing" in session.run(STATUS)
            session.file.write_text(RATES + session.file.read_text())
            session.run(RELOAD)
            assert GET == AGAIN
            assert re.search(r"^RateLimit: .*r=9", session.run(AGAIN), re.MULTILINE)
            assert gateway.stop() == 0


@pytest.mark.parametrize("picture", [*(ROOT / "docs" / "images").glob("*.png")], ids=lambda path: path.name)
def test_pictures_are_small_and_shown(picture: Path) -> None:
    assert picture.stat().st_size < 150_000
    shown = "".join([*PAGES.values(), (ROOT / "README.md").read_text()])
    assert f"images/{picture.name})" in shown
