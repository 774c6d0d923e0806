"""When checks make an address up or down."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coregateway.prober.standing import Standing, State

PASSED, FAILED = "", "no answer within 2 s"


def after(checks: Sequence[bool], *, fall: int = 3, rise: int = 2) -> tuple[Standing, list[State]]:
    """The standing after these checks, one a second, and the states that it came to."""
    standing = Standing()
    states: list[State] = []
    for number, passed in enumerate(checks, 1):
        if standing.take(PASSED if passed else FAILED, float(number), took=0.1, fall=fall, rise=rise):
            states.append(standing.state)
    return standing, states


@pytest.mark.parametrize(
    ("checks", "states"),
    [
        ("", []),
        ("+", ["up"]),
        ("-", ["down"]),
        ("+--", ["up"]),
        ("+---", ["up", "down"]),
        ("+--+--+--", ["up"]),
        ("+---+", ["up", "down"]),
        ("+---++", ["up", "down", "up"]),
        ("+---+-+-+", ["up", "down"]),
        ("-+", ["down"]),
        ("-++", ["down", "up"]),
        ("-++---", ["down", "up", "down"]),
        ("+------", ["up", "down"]),
    ],
)
def test_the_first_check_decides_alone_and_then_fall_and_rise(checks: str, states: list[str]) -> None:
    assert after([check == "+" for check in checks])[1] == states


def test_one_check_is_enough_where_the_settings_say_so() -> None:
    assert after([True, False, True], fall=1, rise=1)[1] == ["up", "down", "up"]


def test_a_standing_tells_since_when_and_why() -> None:
    standing, _ = after([True, False, False, False, False])
    assert (standing.state, standing.since, standing.checked) == ("down", 4.0, 5.0)
    assert (standing.reason, standing.failures, standing.passes) == (FAILED, 4, 0)
    standing, _ = after([True, False])
    assert (standing.state, standing.since, standing.reason) == ("up", 1.0, FAILED)


@given(checks=st.lists(st.booleans(), max_size=60), fall=st.integers(1, 5), rise=st.integers(1, 5))
def test_a_state_changes_only_after_as_many_checks_in_a_row_as_it_takes(
    checks: list[bool], fall: int, rise: int
) -> None:
    standing = Standing()
    for number, passed in enumerate(checks):
        before = standing.state
        changed = standing.take(PASSED if passed else FAILED, float(number), took=0.0, fall=fall, rise=rise)
        assert changed == (standing.state != before)
        row = checks[: number + 1]
        needed = rise if passed else fall
        same = len(row) >= needed and all(each == passed for each in row[-needed:])
        target = "up" if passed else "down"
        if before == "unchecked":
            assert standing.state == target
        elif before == target:
            assert not changed
        else:
            assert changed == same
        assert min(standing.passes, standing.failures) == 0
        assert max(standing.passes, standing.failures) == next(
            (at for at, each in enumerate(reversed(row)) if each != passed), len(row)
        )
