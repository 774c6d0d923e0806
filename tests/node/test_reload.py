"""What the process that decides makes of a reload, by a clock of the test's own."""

from collections.abc import Iterator
from typing import Any

import pytest

from coregateway.node.control import Question, Told
from coregateway.node.reload import TAKEN_WITHIN, Reload, SettingsSource
from coregateway.node.running import Running, RunningState
from coregateway.node.state import Node, State
from coregateway.settings import Mistake, Settings, SettingsError
from coregateway.shared_memory import Board

FIRST = Settings()


class Decider:
    """A `Reload` for two workers that take nothing by themselves."""

    def __init__(self, *, given: bool = False) -> None:
        self.state = RunningState()
        self.state.publish(Running.first(FIRST))
        self.node = Node(Board(2))
        self.wanted: Settings | Exception = FIRST
        self.unfit: Exception | None = None
        self.content = b"first"
        self.woken = 0
        self.followed: list[Settings] = []
        self.answers: list[Told] = []
        for number in range(2):
            self.node.enter(number, State.READY, 100 + number)
        source = None if given else SettingsSource(self._load, self._try, lambda: self.content)
        self.reload = Reload(
            self.state, self.node, source, room=8, wake=self._wake, follow=self.followed.append
        )
        self.take(0, 1)

    def _load(self) -> Settings:
        if isinstance(self.wanted, Exception):
            raise self.wanted
        return self.wanted

    def _try(self, _: Settings) -> None:
        if self.unfit is not None:
            raise self.unfit

    def _wake(self) -> None:
        self.woken += 1

    def ask(self, now: float = 0.0) -> None:
        self.reload.reload("test", now, self.answers.append)

    def take(self, *numbers: int) -> None:
        """Let these workers take what was published."""
        running = self.state.read()
        assert running is not None
        for number in numbers:
            self.node.note_taken(number, running.version, running.revision, 100 + number)


@pytest.fixture(name="decider")
def fixture_decider() -> Iterator[Decider]:
    decider = Decider()
    yield decider
    decider.reload.close()


def changed() -> Settings:
    return Settings.model_validate({"timeouts": {"read": 7.0}})


def test_it_is_answered_when_all_workers_have_taken_it(decider: Decider) -> None:
    decider.wanted = changed()
    decider.ask()
    assert (decider.woken, decider.followed) == (1, [changed()])
    decider.take(0)
    decider.reload.turn(1.0)
    assert decider.answers == []
    assert decider.reload.is_busy
    decider.take(1)
    decider.reload.turn(1.1)
    [told] = decider.answers
    assert (told["outcome"], told["version"], told["late"]) == ("reloaded", 2, [])
    assert "timeouts.read" in told["changed"]
    assert not decider.reload.is_busy
    assert decider.node.settings_version == 2
    assert decider.node.settings_hash == told["hash"]


def test_a_worker_that_does_not_take_it_in_time_is_named(decider: Decider) -> None:
    decider.ask()
    decider.take(1)
    decider.reload.turn(TAKEN_WITHIN - 0.1)
    assert decider.answers == []
    decider.reload.turn(TAKEN_WITHIN)
    assert decider.answers[0]["late"] == [0]


@pytest.mark.parametrize("state", [State.STARTING, State.DRAINING, State.DOWN, State.RETIRED])
def test_a_worker_that_does_not_serve_is_not_waited_for(decider: Decider, state: State) -> None:
    decider.node.enter(0, state, 100)
    decider.ask()
    decider.take(1)
    decider.reload.turn(0.0)
    assert decider.answers[0]["late"] == []


MISTAKES = [Mistake("file:1: a", "b", "c"), Mistake("file:2: d", "e", "f")]


@pytest.mark.parametrize(
    ("wanted", "unfit", "mistakes"),
    [
        (SettingsError(MISTAKES), None, [str(mistake) for mistake in MISTAKES]),
        (changed(), ValueError("a file is not there"), ["a file is not there"]),
        (changed(), KeyError("x"), ["KeyError: 'x'"]),
        (RuntimeError("a defect"), None, ["RuntimeError: a defect"]),
    ],
    ids=["wrong", "unfit", "defect in the trial", "defect in the reading"],
)
def test_what_is_wrong_changes_nothing(
    decider: Decider, wanted: Any, unfit: Exception | None, mistakes: list[str]
) -> None:
    decider.wanted, decider.unfit = wanted, unfit
    decider.ask()
    assert decider.answers == [{"outcome": "rejected", "mistakes": mistakes}]
    assert (decider.state.revision, decider.woken, decider.followed) == (1, 0, [])
    assert (decider.node.settings_version, decider.node.reload_succeeded) == (1, False)
    decider.wanted, decider.unfit = FIRST, None
    decider.ask()
    assert decider.node.reload_succeeded


def test_more_backends_than_the_node_has_room_for_are_refused(decider: Decider) -> None:
    rows = {f"b{number}": {"prefix": f"/{number}", "urls": ("http://a:1",)} for number in range(9)}
    decider.wanted = Settings.model_validate({"backends": rows})
    decider.ask()
    assert decider.answers[0]["mistakes"] == [
        "backends: expected no more than 8 until the gateway is restarted"
    ]


def test_settings_of_a_program_are_not_read_again() -> None:
    decider = Decider(given=True)
    decider.ask()
    assert decider.answers == [{"outcome": "unavailable"}]
    decider.reload.turn(0.0)
    decider.reload.close()


def test_the_file_is_read_when_it_has_changed(decider: Decider) -> None:
    decider.wanted = Settings.model_validate({"reload": {"watch": 1.0}})
    decider.ask()
    decider.content = b"second"
    for now in (10.0, 10.5, 11.0, 12.0, 13.0):
        decider.reload.turn(now)
    assert decider.node.settings_version == 3


class Asked(Question):
    """One whose answer is kept."""

    def __init__(self, told: Told, answers: list[Told]) -> None:
        self.told = told
        self._answers = answers

    def answer(self, told: Told) -> None:
        self._answers.append(told)


URL = "http://localhost:7000"


def drain(decider: Decider, what: str, backend: str = "coredinator", url: str = URL) -> Told:
    told = {"do": what, "backend": backend, "url": url}
    decider.reload._hear(Asked(told, decider.answers), 0.0)  # pyright: ignore[reportPrivateUsage] -- a unit of its own
    decider.take(0, 1)
    decider.reload.turn(0.0)
    return decider.answers.pop()


def drained(decider: Decider) -> set[tuple[str, str]]:
    running = decider.state.read()
    assert running is not None
    return {*running.drained}


def test_what_is_drained_stays_so_over_reloads_even_when_it_is_gone_meanwhile(decider: Decider) -> None:
    assert drain(decider, "drain")["outcome"] == "drained"
    assert drained(decider) == {("coredinator", URL)}
    for wanted in (changed(), Settings.model_validate({"backends": {}}), FIRST):
        decider.wanted = wanted
        decider.ask()
        assert drained(decider) == {("coredinator", URL)}
    assert drain(decider, "undrain")["outcome"] == "undrained"
    assert drained(decider) == set()


def test_to_drain_twice_changes_nothing_more(decider: Decider) -> None:
    drain(decider, "drain")
    revision = decider.state.revision
    assert drain(decider, "drain") == {"outcome": "drained", "backend": "coredinator", "url": URL, "late": []}
    assert decider.state.revision == revision
    assert decider.node.settings_version == 1


@pytest.mark.parametrize(
    ("backend", "url", "told"),
    [
        ("nowhere", URL, {"outcome": "no_backend"}),
        ("coredinator", "http://localhost:7", {"outcome": "no_upstream", "urls": [URL]}),
    ],
)
def test_what_is_not_there_cannot_be_drained(decider: Decider, backend: str, url: str, told: Told) -> None:
    assert drain(decider, "drain", backend, url) == told


def test_an_unknown_question_is_answered(decider: Decider) -> None:
    decider.reload._hear(Asked({"do": "dance"}, decider.answers), 0.0)  # pyright: ignore[reportPrivateUsage] -- a unit of its own
    assert decider.answers == [{"outcome": "unknown"}]
