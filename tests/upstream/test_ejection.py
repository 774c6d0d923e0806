"""Ejection as a state machine: tables with a clock, and a model that random histories are held against."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coregateway.settings import EjectionSettings
from coregateway.upstream.ejection import CAUSE, CAUSES, COUNT, TIMES, UNTIL, Ejection, may_eject

RULES = EjectionSettings(failures=3, duration=10.0, max_duration=25.0)


def row() -> "memoryview[float]":
    return memoryview(bytearray(128)).cast("d")


def ejected(at: float = 100.0) -> tuple[Ejection, "memoryview[float]"]:
    numbers = row()
    machine = Ejection(numbers, RULES)
    assert [machine.fail(at) for _ in range(3)] == [False, False, True]
    machine.eject("read_timeout", at)
    return machine, numbers


def test_failures_in_a_row_eject() -> None:
    machine, numbers = ejected()
    assert machine.is_ejected
    assert CAUSES[int(numbers[CAUSE])] == "read_timeout"
    assert (numbers[UNTIL], numbers[COUNT]) == (110.0, 1.0)


def test_an_answer_between_them_does_not() -> None:
    machine = Ejection(row(), RULES)
    for _ in range(10):
        assert not machine.fail(1.0)
        assert not machine.fail(1.0)
        assert not machine.succeed(1.0)
    assert not machine.is_ejected


def test_one_request_after_its_time_brings_it_back() -> None:
    machine, _ = ejected()
    assert not machine.succeed(105.0), "an answer to a request from before"
    assert not machine.is_due(109.9)
    assert machine.is_due(110.0)
    machine.begin_trial(110.0)
    assert not machine.is_due(111.0), "another request tries it"
    assert machine.is_due(120.0), "nothing was heard of that"
    assert machine.succeed(121.0)
    assert not machine.is_ejected


def test_the_next_ejections_last_as_many_times_as_long() -> None:
    machine, numbers = ejected()
    for at, lasts in ((110.0, 20.0), (130.0, 25.0), (155.0, 25.0)):
        machine.begin_trial(at)
        assert machine.fail(at), "one failure is enough"
        machine.eject("read_timeout", at)
        assert numbers[UNTIL] == at + lasts
    assert numbers[COUNT] == 4.0


@pytest.mark.parametrize(
    ("healthy", "times"), [(0.0, 3.0), (9.0, 3.0), (10.0, 2.0), (25.0, 1.0), (900.0, 1.0)]
)
def test_time_in_use_forgives(healthy: float, times: float) -> None:
    machine, numbers = ejected()
    machine.fail(110.0)
    machine.eject("read_timeout", 110.0)
    assert machine.succeed(130.0)
    for _ in range(3):
        machine.fail(130.0 + healthy)
    machine.eject("read_timeout", 130.0 + healthy)
    assert numbers[TIMES] == times


def test_one_that_is_watched_no_more_comes_back_as_a_new_one() -> None:
    machine, numbers = ejected()
    machine.end()
    assert not machine.is_ejected
    again = Ejection(numbers, RULES)
    assert not any(again.fail(101.0) for _ in range(2))
    assert again.fail(101.0)
    again.eject("read_timeout", 101.0)
    assert (numbers[UNTIL], numbers[TIMES], numbers[COUNT]) == (111.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("out", "count", "share", "may"),
    [
        (0, 2, 0.5, True),
        (1, 2, 0.5, False),
        (0, 3, 0.5, True),
        (1, 3, 0.5, False),
        (1, 4, 0.5, True),
        (2, 4, 0.5, False),
        (0, 10, 0.05, True),  # one at least
        (1, 10, 0.05, False),
        (0, 10, 0.0, False),
        (2, 3, 1.0, True),
        (3, 3, 1.0, False),
    ],
)
def test_a_share_of_them_may_be_out(out: int, count: int, share: float, may: bool) -> None:
    assert may_eject(out, count, share) is may


class Histories(RuleBasedStateMachine):
    """Whatever happens, in whatever order, to three upstreams of which two workers know."""

    share: float
    now: float
    workers: list[list[Ejection]]
    rows: "list[memoryview[float]]"
    streaks: list[int]
    out_until: list[float]

    @initialize(share=st.sampled_from([0.0, 0.34, 0.5, 0.67, 1.0]))
    def begin(self, share: float) -> None:
        self.share = share
        self.now = 50.0
        rows = [row() for _ in range(3)]
        self.workers = [[Ejection(each, RULES) for each in rows] for _ in range(2)]
        self.rows = rows
        self.streaks = [0, 0, 0]
        self.out_until = [0.0, 0.0, 0.0]

    @rule(parts=st.integers(0, 40 * 1024))
    def wait(self, parts: int) -> None:
        self.now += parts / 1024  # seconds whose sums and differences are exact

    @rule(which=st.integers(0, 2), worker=st.integers(0, 1))
    def answer(self, which: int, worker: int) -> None:
        came_back = self.workers[worker][which].succeed(self.now)
        assert came_back is (0.0 < self.out_until[which] <= self.now)
        self.streaks[which] = 0
        if came_back:
            self.out_until[which] = 0.0

    @rule(which=st.integers(0, 2), worker=st.integers(0, 1))
    def failure(self, which: int, worker: int) -> None:
        machine = self.workers[worker][which]
        was_out = self.out_until[which] > 0.0
        self.streaks[which] += 1
        due = machine.fail(self.now)
        if was_out:
            assert due is (self.out_until[which] <= self.now)
        else:
            assert due is (self.streaks[which] >= RULES.failures)
        out = sum(each > 0.0 for each in self.out_until)
        if due and (was_out or may_eject(out, 3, self.share)):
            machine.eject("connect_failed", self.now)
            self.streaks[which] = 0
            self.out_until[which] = self.rows[which][UNTIL]
            assert self.now + RULES.duration <= self.out_until[which] <= self.now + RULES.max_duration

    @precondition(lambda self: any(self.out_until))
    @rule(worker=st.integers(0, 1))
    def trial(self, worker: int) -> None:
        for which, machine in enumerate(self.workers[worker]):
            if machine.is_due(self.now):
                assert self.out_until[which] <= self.now
                machine.begin_trial(self.now)
                assert not self.workers[1 - worker][which].is_due(self.now), "one at a time, over the node"

    @invariant()
    def holds(self) -> None:
        for which, until in enumerate(self.out_until):
            assert all(each[which].is_ejected is (until > 0.0) for each in self.workers)
        assert sum(until > 0.0 for until in self.out_until) <= max(int(self.share * 3), self.share > 0)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
