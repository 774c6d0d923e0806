"""What a node runs with, and where its processes find it."""

import pickle
from multiprocessing import get_context
from multiprocessing.connection import Connection

import pytest

from coregateway.node import running
from coregateway.node.running import Running, RunningState, TooMuch, placed
from coregateway.settings import Settings


def settings(*names: str) -> Settings:
    rows = {name: {"prefix": f"/{name}", "urls": ("http://a:1",)} for name in names}
    return Settings.model_validate({"backends": rows})


def tell(state: RunningState, pipe: Connection) -> None:
    """In a process that has just started."""
    found = running.inherited()
    pipe.send((state.revision, found))


def test_a_process_that_is_started_finds_what_the_node_runs_with() -> None:
    state = RunningState()
    state.publish(Running.first(settings("a")))
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=tell, args=(state, there))
    process.start()
    assert here.recv() == (1, state.read())
    process.join()
    state.control.close()


def test_this_process_was_started_by_no_node() -> None:
    assert running.inherited() is None


def test_the_latest_is_read_whole() -> None:
    state = RunningState()
    assert (state.revision, state.read()) == (0, None)
    for number in range(1, 4):
        latest = Running(settings("a"), version=number, revision=number, drained=frozenset({("a", "b")}))
        state.publish(latest)
        assert (state.revision, state.read()) == (number, latest)
    state.control.close()


def test_what_is_too_large_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    state = RunningState()
    state.publish(Running.first(settings("a")))

    def incompressible(_: bytes, level: int) -> bytes:
        return bytes(running.SIZE * level)

    monkeypatch.setattr(running.zlib, "compress", incompressible)
    with pytest.raises(TooMuch):
        state.publish(Running.first(settings("b")))
    monkeypatch.undo()
    assert (state.revision, state.read()) == (1, Running.first(settings("a")))
    state.control.close()


def test_settings_are_the_same_after_their_way() -> None:
    for each in (Settings(), settings("a", "b")):
        assert pickle.loads(pickle.dumps(each)) == each  # noqa: S301 -- our own


@pytest.mark.parametrize(
    ("before", "names", "places"),
    [
        ({}, ["a", "b"], {"a": 0, "b": 1}),
        ({"a": 0, "b": 1}, ["b", "a"], {"b": 1, "a": 0}),
        ({"a": 0, "b": 1}, ["b"], {"b": 1}),
        ({"a": 0, "b": 1}, ["b", "c"], {"b": 1, "c": 2}),
        ({"a": 0, "b": 1, "c": 2}, ["b", "d", "e"], {"b": 1, "d": 3, "e": 0}),
    ],
)
def test_a_backend_keeps_its_place_and_a_new_one_gets_one_that_was_free(
    before: dict[str, int], names: list[str], places: dict[str, int]
) -> None:
    assert placed(before, names, 4) == places


def test_more_backends_than_places_are_refused() -> None:
    with pytest.raises(TooMuch, match="no more than 2 "):
        placed({}, ["a", "b", "c"], 2)
