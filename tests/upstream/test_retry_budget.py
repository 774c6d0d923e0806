"""Repetitions are a share of what the node has in flight, and as many in any case: tables, and random
histories of workers that come and go."""

import os
from asyncio import AbstractEventLoop
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coregateway.shared_memory import Board
from coregateway.shared_memory.board import Part
from coregateway.upstream.node_link import NodeLink
from coregateway.upstream.retry_budget import RetryBudget


class Counts:
    """Two workers of a node."""

    def __init__(self, in_flight: int, elsewhere: int = 0) -> None:
        self._in_flight = in_flight
        self._elsewhere = elsewhere
        self.own = 0

    def in_flight(self) -> int:
        return self._in_flight

    def repetitions(self) -> int:
        return self.own + self._elsewhere

    def note_repetitions(self, count: int) -> None:
        self.own = count


@pytest.mark.parametrize(
    ("in_flight", "elsewhere", "share", "minimum", "allowed"),
    [
        (0, 0, 0.2, 3, 3),
        (10, 0, 0.2, 3, 3),
        (100, 0, 0.2, 3, 20),
        (100, 15, 0.2, 3, 5),
        (100, 25, 0.2, 3, 0),
        (100, 0, 0.0, 0, 0),
        (100, 0, 0.0, 2, 2),
        (19, 0, 0.2, 0, 3),
    ],
)
def test_so_many_may_be_under_way(
    in_flight: int, elsewhere: int, share: float, minimum: int, allowed: int
) -> None:
    budget = RetryBudget(Counts(in_flight, elsewhere), share, minimum)
    assert [budget.take() for _ in range(allowed + 2)] == [True] * allowed + [False] * 2


def test_what_has_ended_makes_room() -> None:
    counts = Counts(0)
    budget = RetryBudget(counts, 0.2, 1)
    assert budget.take()
    assert not budget.take()
    budget.give_back()
    assert counts.own == 0
    assert budget.take()


WORKERS = 3
NUMBERS = st.integers(0, WORKERS - 1)
SHARES = st.sampled_from([0.0, 0.2, 0.5, 1.0])
MINIMA = st.integers(0, 3)


class Loop:
    """One that turns when the test says so."""

    def time(self) -> float:
        return 100.0

    def call_later(self, *_: object) -> None:
        pass


def _nothing(_: float) -> None:
    pass


class Worker:
    """What it knows of the others lies in the node's shared memory."""

    def __init__(self, board: Board, part: Part, share: float, minimum: int) -> None:
        part.enter(os.getpid(), part.number)
        self.part = part
        self.link = NodeLink(cast(AbstractEventLoop, Loop()), board.upstreams, part, board.parts)
        self.budget = RetryBudget(self.link, share, minimum)
        pool = SimpleNamespace(look=lambda: None, hold=_nothing, is_unwell=False)
        self.backend = SimpleNamespace(in_flight=0, pool=pool, slow_clients=SimpleNamespace(transfers=()))
        self.told = 0
        """How many requests in flight it has told the others."""
        self.repetitions = 0
        self.look()

    def look(self) -> None:
        """The turn of its loop in which it tells the others, twenty times a second."""
        self.link.start(cast(Any, lambda: [self.backend]))
        self.told = self.backend.in_flight


class Histories(RuleBasedStateMachine):
    """Requests of three workers, of which any may be killed: never more is repeated than the budget has, no
    repetition is refused while there is room, and what has ended or died takes nothing from it."""

    board: Board
    workers: list[Worker]
    share: float
    minimum: int

    @initialize(share=SHARES, minimum=MINIMA)
    def begin(self, share: float, minimum: int) -> None:
        self.board = Board(WORKERS)
        self.share, self.minimum = share, minimum
        self.workers = [Worker(self.board, part, share, minimum) for part in self.board.parts[:WORKERS]]

    @property
    def repetitions(self) -> int:
        return sum(worker.repetitions for worker in self.workers)

    @rule(number=NUMBERS, count=st.integers(1, 8))
    def requests(self, number: int, count: int) -> None:
        self.workers[number].backend.in_flight += count

    @rule(number=NUMBERS)
    def look(self, number: int) -> None:
        self.workers[number].look()

    @rule(number=NUMBERS)
    def answer(self, number: int) -> None:
        worker = self.workers[number]
        worker.backend.in_flight = max(worker.backend.in_flight - 1, worker.repetitions)

    @rule(number=NUMBERS)
    def repeat(self, number: int) -> None:
        worker = self.workers[number]
        if worker.repetitions == worker.backend.in_flight:
            return
        others = sum(each.told for each in self.workers if each is not worker)
        most = max(self.share * (worker.backend.in_flight + others), self.minimum)
        may = worker.budget.take()
        assert may is (self.repetitions + 1 <= most)
        worker.repetitions += may

    @precondition(lambda self: self.repetitions)
    @rule(data=st.data())
    def repetition_ends(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([each for each in self.workers if each.repetitions]))
        worker.budget.give_back()
        worker.repetitions -= 1
        worker.backend.in_flight -= 1

    @rule(number=NUMBERS)
    def dies(self, number: int) -> None:
        part = self.workers[number].part
        part.leave()  # as the main process does once it has seen its end
        rest = self.repetitions - self.workers[number].repetitions
        others = [worker for worker in self.workers if worker.part is not part]
        assert {worker.link.repetitions() for worker in others} == {rest}
        self.workers[number] = Worker(self.board, part, self.share, self.minimum)

    @rule(share=SHARES, minimum=MINIMA)
    def reload(self, share: float, minimum: int) -> None:
        self.share, self.minimum = share, minimum
        for worker in self.workers:
            worker.budget.limit(share, minimum)

    @invariant()
    def all_know_the_same(self) -> None:
        for worker in self.workers:
            assert worker.budget.under_way == worker.repetitions
            assert worker.link.repetitions() == self.repetitions

    def teardown(self) -> None:
        """When all has ended, there is as much of it as in the beginning."""
        for worker in self.workers:
            for _ in range(worker.repetitions):
                worker.budget.give_back()
            worker.backend.in_flight = 0
            worker.look()
        for worker in self.workers:
            taken = [worker.budget.take() for _ in range(self.minimum + 1)]
            assert taken == [True] * self.minimum + [False]
            for _ in range(self.minimum):
                worker.budget.give_back()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
