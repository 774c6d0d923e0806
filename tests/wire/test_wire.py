"""The wire, seen by somebody else's parsers: every .vtc file here is a scripted client and a scripted server.

`varnishtest` (of Debian's package `varnish`) plays both ends around a gateway process; Varnish itself takes
no part, and nothing of `coregateway.testing` reads or writes these messages. Its language has words for the
first line of a repeated field only: comments `# c1 gets: Name: value` name lines that must come in order.
"""

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from coregateway.testing import GatewayProcess, free_port

CASES = sorted(Path(__file__).parent.glob("*.vtc"))
TOML = "[timeouts]\nread = 5.0\nclient = 5.0\n[limits.request]\ngather = 1\n"

_demands = re.compile(r"^# ([cs]\d+) gets: (.+)$", re.MULTILINE).findall
_lines = re.compile(r"^\**\s+([cs]\d+)\s+rxhdr\|(.*?)(?:\\r)?$", re.MULTILINE).findall

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(shutil.which("varnishtest") is None, reason="needs Debian's package varnish"),
]


class Wire:
    """A gateway and the port where its backend is to listen."""

    def __init__(self, gateway: GatewayProcess, backend_port: int) -> None:
        self._gateway = gateway
        self._macros = [
            f"-Dgateway=127.0.0.1:{gateway.port}",
            f"-Dbackend=127.0.0.1:{backend_port}",
        ]

    async def play(self, case: Path) -> str:
        """What varnishtest tells of a case; AssertionError with all of that when the case fails."""
        process = await asyncio.create_subprocess_exec(
            *("varnishtest", "-v", "-t", "20", *self._macros, str(case)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await process.communicate()
        text = told.decode("utf-8", "backslashreplace")
        assert process.returncode == 0, text
        return text

    def faults(self) -> list[str]:
        """What the gateway has said that it should not."""
        lines = self._gateway.new_log_lines()
        return [
            str(line) for line in lines if line["level"] in ("ERROR", "CRITICAL") or "exception" in line
        ] + ([self._gateway.stderr] if self._gateway.stderr else [])


@asynccontextmanager
async def new_wire() -> AsyncGenerator[Wire]:
    port = free_port()
    async with GatewayProcess(backends={"coredinator": f"http://127.0.0.1:{port}"}, toml=TOML) as gateway:
        yield Wire(gateway, port)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wire() -> AsyncIterator[Wire]:
    async with new_wire() as wire:
        yield wire


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def distrustful() -> AsyncIterator[Wire]:
    """For the case that sends too much: for a while after that, the backend's connections are used once."""
    async with new_wire() as wire:
        yield wire


def demands_of(case: Path) -> list[tuple[str, str]]:
    """Who is to get which lines."""
    return _demands(case.read_text())


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
async def test_another_implementation_sees_on_both_ends_what_it_should(
    wire: Wire, distrustful: Wire, case: Path
) -> None:
    wire = distrustful if case.stem == "bad_responses" else wire
    told = await wire.play(case)
    got = _lines(told)
    for demand in demands_of(case):
        assert demand in got, f"{demand} did not come, or not in its place, of\n{told}"
        got = got[got.index(demand) + 1 :]
    assert wire.faults() == []
