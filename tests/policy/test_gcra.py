from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coregateway.policy.gcra import SECOND, Rate, decide, whole_seconds

quick = settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


class Bucket:
    """The oracle: a token bucket that fills continuously, counted in fractions."""

    def __init__(self, rate: Rate) -> None:
        self._interval = rate.interval
        self._most = Fraction(rate.quota)
        self._left = self._most
        self._at = 0

    def left(self, now: int) -> Fraction:
        return min(self._left + Fraction(now - self._at, self._interval), self._most)

    def take(self, now: int, cost: int) -> bool:
        left = self.left(now)
        if left < cost:
            return False
        self._left, self._at = left - cost, now
        return True


rates = st.builds(
    Rate,
    st.integers(1, 100_000),
    st.sampled_from([1, 60, 3600, 86_400]),
    st.integers(0, 500),
)
steps = st.lists(
    st.tuples(st.one_of(st.integers(0, 10), st.integers(0, 3 * SECOND)), st.integers(1, 5)), max_size=60
)


@quick
@given(rates, steps)
def test_a_rate_admits_what_a_token_bucket_does(rate: Rate, arrivals: list[tuple[int, int]]) -> None:
    bucket = Bucket(rate)
    now, paid = SECOND, 0
    for pause, cost in arrivals:
        now += pause
        decision = decide(rate, paid, now, cost)
        assert decision.admitted == bucket.take(now, cost)
        paid = decision.paid
        assert decision.remaining == bucket.left(now) // 1
        assert 0 <= decision.remaining <= rate.quota


@quick
@given(rates, steps, st.integers(1, 5))
def test_to_wait_as_long_as_is_said_is_enough_and_not_too_long(
    rate: Rate, arrivals: list[tuple[int, int]], cost: int
) -> None:
    now, paid = SECOND, 0
    for pause, each in arrivals:
        now += pause
        paid = decide(rate, paid, now, each).paid
    decision = decide(rate, paid, now, cost)
    if decision.admitted or cost > rate.quota:
        return
    assert decide(rate, paid, now + decision.wait, cost).admitted
    assert not decide(rate, paid, now + decision.wait - 1, cost).admitted


@quick
@given(rates, steps)
def test_one_more_may_go_when_that_is_said(rate: Rate, arrivals: list[tuple[int, int]]) -> None:
    now, paid = SECOND, 0
    for pause, cost in arrivals:
        now += pause
        decision = decide(rate, paid, now, cost)
        paid = decision.paid
        assert (decision.until_next == 0) == (decision.remaining > 0)
        if decision.until_next:
            assert decide(rate, paid, now + decision.until_next).admitted
            assert not decide(rate, paid, now + decision.until_next - 1).admitted


@quick
@given(rates, steps)
def test_a_refusal_costs_nothing(rate: Rate, arrivals: list[tuple[int, int]]) -> None:
    now, paid = SECOND, 0
    for pause, cost in arrivals:
        now += pause
        decision = decide(rate, paid, now, cost)
        if not decision.admitted:
            assert decision.paid == paid
        paid = decision.paid


@pytest.mark.parametrize(
    ("amount", "seconds", "burst", "quota", "window"),
    [
        (600, 60, 100, 100, 10),
        (600, 60, 0, 10, 1),
        (5, 1, 0, 5, 1),
        (1, 60, 0, 1, 60),
        (10, 86_400, 0, 1, 8640),
        (7, 1, 10, 10, 2),
        (100_000, 1, 1, 1, 1),
    ],
)
def test_a_burst_is_what_one_second_brings_and_comes_back_in_its_window(
    amount: int, seconds: int, burst: int, quota: int, window: int
) -> None:
    rate = Rate(amount, seconds, burst)
    assert (rate.quota, rate.window) == (quota, window)


def test_a_burst_may_come_at_once_and_then_one_each_interval() -> None:
    rate = Rate(600, 60, 5)
    now, paid, admitted = SECOND, 0, 0
    for _ in range(10_000):
        decision = decide(rate, paid, now)
        paid = decision.paid
        admitted += decision.admitted
        now += SECOND // 1000
    assert admitted == 5 + 99  # ten seconds less one millisecond, at ten a second


@pytest.mark.parametrize(
    ("nanoseconds", "seconds"), [(0, 1), (1, 1), (SECOND, 1), (SECOND + 1, 2), (60 * SECOND, 60)]
)
def test_a_client_is_told_whole_seconds_which_are_enough(nanoseconds: int, seconds: int) -> None:
    assert whole_seconds(nanoseconds) == seconds
