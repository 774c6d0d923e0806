"""For how long a name's last good answer is believed."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coregateway.prober.names import LATE, RETRY, NameState

A, B = "192.0.2.1", "192.0.2.2"
HOLD = 60.0


def known(*hosts: str) -> NameState:
    state = NameState()
    state.begin(0.0)
    state.find(hosts)
    return state


def test_before_the_first_answer_nothing_is_known() -> None:
    state = NameState()
    state.begin(0.0)
    assert not state.look(1.0, HOLD)
    assert (state.state, state.hosts) == ("asked", ())


def test_the_order_of_the_answers_does_not_matter() -> None:
    state = known(B, A, "2001:db8::1", A)
    assert state.hosts == (A, B, "2001:db8::1")
    state.begin(5.0)
    assert not state.find(["2001:db8::1", A, B])


def test_another_answer_is_followed_at_once() -> None:
    state = known(A)
    state.begin(5.0)
    assert state.find([B])
    assert (state.state, state.hosts) == ("known", (B,))


@pytest.mark.parametrize(
    ("now", "expected"), [(4.9, "known"), (5.0, "known"), (64.9, "known"), (65.0, "lost"), (1e6, "lost")]
)
def test_failures_keep_the_last_good_answer_for_as_long_as_hold(now: float, expected: str) -> None:
    state = known(A)
    state.begin(5.0)
    assert state.fail("no such name")
    state.look(now, HOLD)
    assert state.state == expected
    assert state.hosts == ((A,) if expected == "known" else ())


def test_hold_is_counted_from_the_first_failure_in_a_row() -> None:
    state = known(A)
    for second in range(5, 65, 5):
        state.begin(float(second))
        state.fail("no such name")
        assert not state.look(float(second), HOLD)
    state.begin(65.0)
    assert state.look(65.0, HOLD)
    assert state.state == "lost"


def test_a_good_answer_forgives_every_failure_before_it() -> None:
    state = known(A)
    state.begin(5.0)
    state.fail("no such name")
    state.begin(64.0)
    state.find([A])
    state.begin(69.0)
    state.fail("no such name")
    assert not state.look(128.0, HOLD)
    assert state.hosts == (A,)


def test_a_lost_name_is_found_again_by_one_answer() -> None:
    state = known(A)
    state.begin(5.0)
    state.fail("no such name")
    state.look(100.0, HOLD)
    state.begin(101.0)
    assert state.find([A])
    assert (state.state, state.hosts, state.problem) == ("known", (A,), "")


def test_a_name_that_never_was_fails_at_once_and_is_lost_after_hold() -> None:
    state = NameState()
    state.begin(0.0)
    assert state.fail("no such name")
    assert state.state == "failing"
    assert not state.look(59.0, HOLD)
    assert state.look(60.0, HOLD)
    assert state.state == "lost"


def test_a_look_up_that_never_ends_fails_from_its_beginning_on() -> None:
    state = known(A)
    state.begin(5.0)
    assert not state.look(5.0 + LATE - 0.1, HOLD)
    assert state.problem == ""
    assert state.look(5.0 + LATE, HOLD)
    assert state.problem
    assert not state.look(64.9, HOLD)
    assert state.look(65.0, HOLD)
    assert state.state == "lost"
    assert not state.look(66.0, HOLD)
    assert state.find([A])


def test_a_first_look_up_that_never_ends_is_waited_for_until_the_name_is_lost() -> None:
    state = NameState()
    state.begin(0.0)
    assert state.look(LATE, HOLD)
    assert state.state == "asked"
    assert state.problem
    state.look(HOLD, HOLD)
    assert state.state == "lost"


def test_the_same_failure_again_is_no_news() -> None:
    state = known(A)
    state.begin(5.0)
    assert state.fail("no such name")
    state.begin(10.0)
    assert not state.fail("no such name")


@pytest.mark.parametrize(("refresh", "failing"), [(5.0, RETRY), (0.5, 0.5)])
def test_a_name_without_a_good_answer_is_asked_more_often(refresh: float, failing: float) -> None:
    state = NameState()
    assert state.pause(refresh) == failing
    assert known(A).pause(refresh) == refresh


type Step = tuple[Literal["found", "failed", "silent"], float]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["found", "failed", "silent"]), st.floats(0.1, 30.0)), max_size=40
    )
)
def test_addresses_are_there_exactly_while_the_last_good_answer_is_young_enough(steps: list[Step]) -> None:
    state = NameState()
    now, bad_since, ever = 0.0, None, False
    for what, pause in steps:
        state.begin(now)
        if what == "found":
            state.find([A])
            bad_since, ever = None, True
        else:
            bad_since = now if bad_since is None else bad_since
            if what == "failed":
                state.fail("no such name")
        now += pause
        state.look(now, HOLD)
        late = what != "silent" or pause >= LATE
        failing = bad_since is not None and (late or state.failing_since is not None)
        if failing and bad_since is not None and now - bad_since >= HOLD:
            assert (state.state, state.hosts) == ("lost", ())
        elif ever and state.state != "lost":
            assert state.hosts == (A,)
        if state.state == "known":
            assert state.hosts == (A,)
