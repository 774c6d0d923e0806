"""The prober is a process that may be killed at any time: another takes its place, and nothing is lost."""

import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from coregateway.node import probing as module
from coregateway.node.probing import ProbeSettings, Probing
from coregateway.prober.knowledge import Known, decoded
from coregateway.prober.plan import Check, Plan, Upstream
from coregateway.shared_memory import Board
from coregateway.testing import ScriptedBackend, respond
from tests.waiting import eventually


def plan(*ports: int, interval: float = 0.05) -> ProbeSettings:
    upstreams = tuple(
        Upstream("b", f"http://127.0.0.1:{port}", "127.0.0.1", port, check(interval)) for port in ports
    )
    return ProbeSettings(Plan(upstreams, (), 5.0, 60.0), "INFO", "json")


def check(interval: float) -> Check:
    return Check("/hc", "a", interval, interval, 5.0, 3, 2, ((200, 399),), "passed", "failed")


class Probed:
    """A prober in a process of its own, watched as the main process does."""

    def __init__(self, settings: ProbeSettings) -> None:
        self.board = Board(1)
        self.probing = Probing(self.board, settings)

    @property
    def known(self) -> list[Known]:
        return decoded(self.board.probed.read()).upstreams

    def states(self) -> list[str]:
        return [standing.state for known in self.known for standing in known.standings.values()]

    async def until(self, holds: Callable[[], object]) -> None:
        """Watch until something holds."""

        def watched() -> object:
            self.probing.look(monotonic())
            return holds()

        await eventually(watched, within=60.0)


@asynccontextmanager
async def probed(settings: ProbeSettings) -> AsyncGenerator[Probed]:
    node = Probed(settings)
    node.probing.begin(monotonic())
    try:
        yield node
    finally:
        node.probing.end()


@pytest.fixture(name="told", autouse=True)
def fixture_told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []

    def event(name: str, /, **_: object) -> None:
        told.append(name)

    monkeypatch.setattr(module, "event", event)
    return told


async def test_a_killed_prober_is_replaced_and_nothing_is_lost(told: list[str]) -> None:
    async with ScriptedBackend(respond(503, b"")) as backend, probed(plan(backend.port)) as node:
        assert node.board.probed.is_awaited(monotonic())
        await node.until(lambda: node.states() == ["down"])
        await node.until(lambda: not node.board.probed.is_awaited(monotonic()))
        since = node.known[0].standings["127.0.0.1"].since
        first = node.probing.pid
        os.kill(first, signal.SIGKILL)
        await node.until(lambda: node.probing.pid not in (0, first))
        assert told == ["prober.died"]
        assert node.states() == ["down"]
        asked = len(backend.requests)
        await node.until(lambda: len(backend.requests) > asked + 1)
        assert node.states() == ["down"]
        assert node.known[0].standings["127.0.0.1"].since == since
        assert not node.board.probed.is_awaited(monotonic())
        backend.default(respond(200, b"ok"))
        await node.until(lambda: node.states() == ["up"])


async def test_a_prober_that_stands_still_is_replaced(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE", 1.5)
    async with ScriptedBackend() as backend, probed(plan(backend.port)) as node:
        await node.until(lambda: node.states() == ["up"])
        first = node.probing.pid
        os.kill(first, signal.SIGSTOP)
        await node.until(lambda: node.probing.pid not in (0, first))
        asked = len(backend.requests)
        await node.until(lambda: len(backend.requests) > asked + 1)
    assert told == ["prober.hung", "prober.died"]


async def test_other_settings_are_followed_and_what_is_known_stays(told: list[str]) -> None:
    async with (
        ScriptedBackend(respond(503, b"")) as one,
        ScriptedBackend() as two,
        probed(plan(one.port)) as node,
    ):
        await node.until(lambda: node.states() == ["down"])
        node.probing.follow(plan(one.port, two.port, interval=60.0), monotonic())
        await node.until(lambda: node.states() == ["down", "up"])
        node.probing.follow(ProbeSettings(Plan((), (), 5.0, 60.0), "INFO", "json"), monotonic())
        assert node.probing.pid == 0
        assert node.known == []
    assert told == []


async def test_with_nothing_to_ask_there_is_no_prober() -> None:
    async with probed(ProbeSettings(Plan((), (), 5.0, 60.0), "INFO", "json")) as node:
        node.probing.look(monotonic())
        assert node.probing.pid == 0
        assert not node.board.probed.is_awaited(monotonic())


async def test_its_counts_are_in_a_part_of_its_own() -> None:
    async with ScriptedBackend() as backend, probed(plan(backend.port)) as node:
        await node.until(lambda: len(backend.requests) > 3)
        part = node.board.part_of(node.probing.pid)
        assert part is not None
        at = part.series.find("passed")
        assert at is not None
        assert part.series.numbers[at] >= 3
