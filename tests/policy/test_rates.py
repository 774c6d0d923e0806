"""What a rate of the settings is, and what clients are told of it."""

import pytest

from coregateway.policy.gcra import SECOND, Rate, decide, state
from coregateway.policy.limit_keys import LimitKey
from coregateway.policy.rates import RateCounts, RateRule, rate_of


def rule(name: str = "a", rate: Rate | None = None, identity: str = "") -> RateRule:
    key = LimitKey(["client"], route="r", backend=None)
    return RateRule(name, rate or Rate(60, 60, 2), key, RateCounts(), identity=identity)


@pytest.mark.parametrize(
    ("text", "burst", "interval", "quota"),
    [
        ("10/s", 0, SECOND // 10, 10),
        ("600/m", 100, SECOND // 10, 100),
        ("5/h", 0, 720 * SECOND, 1),
        ("1/d", 3, 86_400 * SECOND, 3),
    ],
)
def test_a_text_is_a_rate(text: str, burst: int, interval: int, quota: int) -> None:
    rate = rate_of(text, burst)
    assert (rate.interval, rate.quota) == (interval, quota)


def test_clients_are_told_what_remains_or_how_long_to_wait() -> None:
    told = rule()
    now = SECOND
    first = decide(told.rate, 0, now)
    second = decide(told.rate, first.paid, now)
    third = decide(told.rate, second.paid, now + SECOND // 2)
    assert told.member == b'"a";q=2;w=2'
    assert [told.told(each) for each in (first, second, third)] == [
        b'"a";r=1',
        b'"a";r=0;t=1',
        b'"a";r=0;t=1',
    ]
    assert told.told(state(told.rate, second.paid, now + 2 * SECOND)) == b'"a";r=2'


def test_rates_of_other_names_or_shapes_count_apart() -> None:
    texts = {
        each.marks.text("k")
        for each in (
            rule(),
            rule("b"),
            rule(rate=Rate(61, 60, 2)),
            rule(rate=Rate(60, 60, 3)),
            rule(identity="x"),
        )
    }
    assert len(texts) == 5
