"""All rates of a request are looked at, and then taken from, or none is: held against token buckets."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.policy.gcra import SECOND, Rate
from coregateway.policy.limit_keys import LimitKey
from coregateway.policy.rates import RateCounts, RateRule
from coregateway.policy.store_script import StoreAnswer
from coregateway.proxy import rate_check
from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.rate_table import SIZE, RateTable

quick = settings(max_examples=60, deadline=None, derandomize=True)

MEMORY = SharedMemory(SIZE)


def table() -> RateTable:
    """With a secret of its own, so that what others wrote is nobody's."""
    return RateTable(MEMORY, 0, fresh=True)


class Bucket:
    """Of one key, in requests; it fills continuously."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._left = Fraction(rate.quota)
        self._at = 0

    def left(self, now: int) -> Fraction:
        return min(self._left + Fraction(now - self._at, self._rate.interval), Fraction(self._rate.quota))

    def take(self, now: int, cost: int) -> None:
        self._left, self._at = self.left(now) - cost, now


rules = st.lists(
    st.tuples(st.integers(1, 50), st.sampled_from([1, 60]), st.integers(1, 8), st.booleans()),
    min_size=1,
    max_size=3,
)
arrivals = st.lists(
    st.tuples(
        st.one_of(st.just(0), st.integers(0, 2 * SECOND)), st.lists(st.integers(0, 2), min_size=3, max_size=3)
    ),
    max_size=40,
)


def rule(number: int, amount: int, seconds: int, burst: int, enforced: bool, cost: int = 1) -> RateRule:
    key = LimitKey(["client"], route="r", backend=None)
    return RateRule(
        f"r{number}", Rate(amount, seconds, burst), key, RateCounts(), enforced=enforced, cost=cost
    )


@quick
@given(rules, arrivals, st.integers(1, 2))
def test_a_request_takes_from_all_of_its_rates_or_from_none(
    shapes: list[tuple[int, int, int, bool]], requests: list[tuple[int, list[int]]], cost: int
) -> None:
    made = [rule(number, *shape, cost=cost) for number, shape in enumerate(shapes)]
    kept = table()
    buckets: dict[tuple[int, int], Bucket] = {}
    now = SECOND
    for pause, keys in requests:
        now += pause
        mine = [
            buckets.setdefault((number, keys[number]), Bucket(each.rate)) for number, each in enumerate(made)
        ]
        over = [bucket.left(now) < cost for bucket in mine]
        refused = any(each.enforced and is_over for each, is_over in zip(made, over, strict=True))
        keyed = [
            (each, str(keys[number]), each.marks.of(str(keys[number]), kept.mark))
            for number, each in enumerate(made)
        ]
        asked = rate_check._take_all(keyed, kept, now)  # pyright: ignore[reportPrivateUsage] -- with a clock
        assert [each.decision.wait > 0 for each in asked] == over
        for bucket, is_over in zip(mine, over, strict=True):
            if not refused and not is_over:
                bucket.take(now, cost)
        for each, bucket in zip(asked, mine, strict=True):
            taken = not refused and not each.decision.wait
            if taken:
                assert each.decision.remaining == bucket.left(now) // 1


@quick
@given(st.lists(st.integers(0, SECOND), min_size=1, max_size=30), st.integers(0, 3))
def test_the_node_goes_by_what_the_store_has_said(pauses: list[int], others: int) -> None:
    """A store that other nodes have taken from, too: then this node refuses as early as the store."""
    kept = table()
    one = rule(0, 2, 1, 5, True)
    mark = one.marks.of("k", kept.mark)
    bucket = Bucket(one.rate)
    now = SECOND
    for pause in pauses:
        now += pause
        for _ in range(others):
            if bucket.left(now) >= 1:
                bucket.take(now, 1)
        decision = rate_check._take_one(one, mark, kept, now)  # pyright: ignore[reportPrivateUsage]
        asked = [rate_check._Asked(one, "k", mark, decision)]  # pyright: ignore[reportPrivateUsage]
        if asked[0].decision.wait:
            continue  # the store is not asked
        over = bucket.left(now) < 1
        if not over:
            bucket.take(now, 1)
        ahead = (one.rate.quota - bucket.left(now)) * one.rate.interval
        answer = StoreAnswer([int(over), int(ahead / 1000), int(over)])
        followed = rate_check._followed(asked, answer, kept, now)  # pyright: ignore[reportPrivateUsage]
        assert (followed[0].decision.wait > 0) is over
        left = kept.time(kept.find(mark, now), mark) - now
        assert left >= int(ahead / 1000) * 1000
