"""One finds out for all, for as long as it holds; one that dies or hangs over it holds up nobody for ever."""

import multiprocessing
import os

import pytest

from coregateway.shared_memory import Board
from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.verdict import SIZE, SharedVerdict

SPAWN = multiprocessing.get_context("spawn")


def verdict() -> SharedVerdict:
    return SharedVerdict(SharedMemory(SIZE), 0)


def given(value: bool, at: float) -> SharedVerdict:
    made = verdict()
    claim = made.claim(at, 2.0)
    assert claim is not None
    made.give(value, at, claim)
    made.release(claim)
    return made


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize(
    ("now", "fresh"), [(10.0, True), (10.5, True), (11.0, True), (11.01, False), (1000.0, False)]
)
def test_it_is_fresh_for_its_age_and_not_longer(value: bool, now: float, fresh: bool) -> None:
    made = given(value, 10.0)
    assert (made.is_fresh(now, 1.0), made.value) == (fresh, value)


@pytest.mark.parametrize("now", [0.0, 0.5, 1.0, 100.0])
def test_what_was_never_given_is_never_fresh(now: float) -> None:
    """Also not in the first second after the machine has started."""
    made = verdict()
    assert not made.is_fresh(now, 1.0)
    assert not made.was_given_since(now)


@pytest.mark.parametrize(("moment", "since"), [(9.0, True), (10.0, True), (10.01, False)])
def test_it_tells_whether_it_is_younger_than_a_question(moment: float, since: bool) -> None:
    assert given(True, 10.0).was_given_since(moment) is since


@pytest.mark.parametrize(
    ("now", "released", "granted"),
    [(10.0, False, False), (12.4, False, False), (12.5, False, True), (10.0, True, True), (12.5, True, True)],
)
def test_one_claim_at_a_time_until_it_is_released_or_has_run_out(
    now: float, released: bool, granted: bool
) -> None:
    made = verdict()
    claim = made.claim(10.0, 2.5)
    assert claim is not None
    if released:
        made.release(claim)
    assert (made.claim(now, 2.5) is not None) is granted


@pytest.mark.parametrize(("now", "taken"), [(10.5, True), (12.4, True), (12.5, False), (1000.0, False)])
def test_a_verdict_that_comes_too_late_for_its_claim_is_not_taken(now: float, taken: bool) -> None:
    """Its process was stopped, or the machine was asleep: what it saw is not so any more."""
    made = given(True, 5.0)
    claim = made.claim(10.0, 2.5)
    assert claim is not None
    made.give(False, now, claim)
    assert made.value is not taken


def test_who_is_too_late_does_not_end_the_claim_of_another() -> None:
    made = verdict()
    late = made.claim(10.0, 2.5)
    assert late is not None
    assert made.claim(13.0, 2.5) == 15.5
    made.release(late)
    assert made.claim(13.1, 2.5) is None


def _give(board: Board) -> None:
    for number, shared in enumerate(board.verdicts):
        claim = shared.claim(10.0, 2.5)
        assert claim is not None
        shared.give(number == 1, 10.0, claim)


def test_every_process_of_a_node_sees_the_verdicts_of_each_backend() -> None:
    board = Board(2, 3)
    part = board.claim(os.getpid(), 0)
    assert part is not None
    part.pending.add(b"line\n")
    process = SPAWN.Process(target=_give, args=(board,))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert [shared.value for shared in board.verdicts] == [False, True, False]
    assert all(shared.is_fresh(10.5, 1.0) for shared in board.verdicts)
    assert (part.owner, part.pending.take()) == (os.getpid(), b"line\n")
