"""The breaker as a state machine: tables with a clock, and random histories of several workers."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coregateway.settings import BreakerSettings
from coregateway.upstream.breaker import OPENED, UNTIL, Breaker, state_of

RULES = BreakerSettings(enabled=True, ratio=0.5, window=10.0, minimum=4, open=5.0)


def numbers() -> "memoryview[float]":
    return memoryview(bytearray(128)).cast("d")


def breakers(workers: int = 1, rules: BreakerSettings = RULES) -> tuple[list[Breaker], "memoryview[float]"]:
    row = numbers()
    counts = [numbers() for _ in range(workers)]
    return [Breaker(rules, row, own, lambda: counts) for own in counts], row


def play(breaker: Breaker, outcomes: str, now: float = 100.0) -> str:
    """What each outcome changes; `x` is a failure."""
    return "".join("!" if breaker.note(each == "x", now) else "." for each in outcomes)


@pytest.mark.parametrize(
    ("outcomes", "changes"),
    [
        ("xxx", "..."),  # fewer than the minimum
        ("xxxx", "...!"),
        ("..xx", "...!"),
        ("...x", "...."),  # a quarter
        ("...xxx", ".....!"),
        ("xx..", "...."),  # a success opens nothing
        ("xx..x", "....!"),
        ("........", "........"),
    ],
)
def test_so_many_failures_of_so_many_tries_open_it(outcomes: str, changes: str) -> None:
    [breaker], row = breakers()
    assert play(breaker, outcomes) == changes
    assert state_of(row, 100.0) == ("open" if "!" in changes else "closed")


def test_what_lies_before_the_window_does_not_count() -> None:
    [breaker], _ = breakers()
    assert play(breaker, "xxx", 100.0) == "..."
    assert play(breaker, "x", 111.0) == "."
    assert play(breaker, "xx", 112.0) == ".."
    assert play(breaker, "x", 113.0) == "!"


def test_the_tries_of_all_workers_count() -> None:
    (one, other), row = breakers(2)
    assert play(one, "xx") == ".."
    assert play(other, "xx") == ".!"
    assert one.is_open
    assert row[OPENED] == 1.0


def test_one_probe_of_the_node_closes_it_or_opens_it_again() -> None:
    (one, other), row = breakers(2)
    play(one, "xxxx")
    assert other.wait(101.0) == 4.0
    assert play(one, "...", 102.0) == "...", "answers to requests from before"
    assert other.wait(105.0) == 0.0
    other.begin_probe(105.0)
    assert state_of(row, 105.0) == "half_open"
    assert one.wait(106.0) == 4.0, "one tries it"
    assert play(other, "x", 106.0) == "!"
    assert one.wait(106.0) == 5.0
    one.begin_probe(111.0)
    assert play(one, ".", 111.5) == "!"
    assert state_of(row, 111.5) == "closed"
    assert other.wait(111.5) == 0.0
    assert play(other, "xx", 111.5) == "..", "what it met before it was closed is forgotten"


def test_a_probe_of_which_nothing_is_heard_gives_way_to_another() -> None:
    [breaker], _ = breakers()
    play(breaker, "xxxx")
    breaker.begin_probe(105.0)
    assert breaker.wait(109.9) > 0.0
    assert breaker.wait(110.0) == 0.0


def test_without_rules_it_is_off() -> None:
    assert state_of(None, 0.0) == "off"


class Histories(RuleBasedStateMachine):
    """Three workers, any clock: never stuck open, never two probes at once, never open without a reason."""

    given: BreakerSettings
    breakers: list[Breaker]
    row: "memoryview[float]"
    now: float
    probing_until: float
    noted: list[tuple[float, bool]]

    @initialize(ratio=st.sampled_from([0.1, 0.5, 1.0]), minimum=st.integers(1, 6))
    def begin(self, ratio: float, minimum: int) -> None:
        rules = BreakerSettings(enabled=True, ratio=ratio, window=10.0, minimum=minimum, open=5.0)
        self.given = rules
        self.breakers, self.row = breakers(3, rules)
        self.now = 100.0
        self.probing_until = 0.0
        self.noted: list[tuple[float, bool]] = []

    @rule(parts=st.integers(0, 8 * 1024))
    def wait(self, parts: int) -> None:
        self.now += parts / 1024  # seconds whose sums and differences are exact

    @rule(worker=st.integers(0, 2), failed=st.booleans())
    def outcome(self, worker: int, failed: bool) -> None:
        before = state_of(self.row, self.now)
        changed = self.breakers[worker].note(failed, self.now)
        after = state_of(self.row, self.now)
        if before == "closed":
            self.noted.append((self.now, failed))
            recent = [each for at, each in self.noted if at > self.now - self.given.window]
            assert changed is (after == "open")
            if changed:
                assert failed
                assert len(recent) >= self.given.minimum
        elif before == "open":
            assert not changed
        elif changed:
            assert after == ("open" if failed else "closed")
            self.probing_until = 0.0
            self.noted.clear()

    @rule(worker=st.integers(0, 2))
    def request(self, worker: int) -> None:
        breaker = self.breakers[worker]
        seconds = breaker.wait(self.now)
        state = state_of(self.row, self.now)
        if state == "closed":
            assert seconds == 0.0
        elif state == "open":
            assert 0.0 < seconds <= self.given.open
        elif seconds == 0.0:
            assert self.probing_until <= self.now, "two probes at a time"
            breaker.begin_probe(self.now)
            self.probing_until = self.now + self.given.open

    @invariant()
    def is_never_stuck(self) -> None:
        far = max(self.row[UNTIL], self.probing_until, self.now) + 1.0
        assert all(breaker.wait(far) == 0.0 for breaker in self.breakers)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
