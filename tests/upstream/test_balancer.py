"""Which endpoint serves a request: by load, by turns, by weight, by a key, and where it was not before."""

from collections import Counter
from random import seed

import pytest

from coregateway.net.worker_io import WorkerIO
from coregateway.settings.limits import LimitSettings, TimeoutSettings
from coregateway.upstream.address import Address
from coregateway.upstream.balancer import HASH, LEAST_CONN, MODES, P2C, RANDOM, ROUND_ROBIN, Balancer, key_of
from coregateway.upstream.endpoint import Endpoint
from coregateway.upstream.idle import EndedAges
from coregateway.upstream.roles import Timeouts
from coregateway.upstream.wait_queue import WaitQueue


def endpoints(
    io: WorkerIO, count: int, full: str = "", *, weights: tuple[int, ...] = (), most: int = 2
) -> list[Endpoint]:
    """Named a, b, c, …; of `full` all slots are taken."""
    limits = LimitSettings(max_connections=most)
    timeouts = Timeouts.of(TimeoutSettings())
    weights = weights or (1,) * count
    made = [
        Endpoint(
            io,
            Address(f"http://{name}", weight=weights[number]),
            limits,
            timeouts,
            WaitQueue(io.loop, 1),
            EndedAges(),
        )
        for number, name in enumerate("abcdef"[:count])
    ]
    for endpoint in made:
        endpoint.slots_taken = most if endpoint.name in full else 0
    return made


def turns(balancer: Balancer, count: int, tried: str = "", key: int = 0) -> str:
    picked = ""
    for _ in range(count):
        endpoint = balancer.pick(list(tried), key)
        picked += "-" if endpoint is None else endpoint.name
        if endpoint is not None:
            balancer.advance(endpoint)
    return picked


@pytest.mark.parametrize(
    ("count", "full", "tried", "expected"),
    [
        (1, "", "", "aaaa"),
        (2, "", "", "abab"),
        (3, "", "", "abcabc"),
        (3, "b", "", "acac"),
        (3, "ab", "", "ccc"),
        (3, "abc", "", "---"),
        (1, "a", "", "--"),
        (3, "", "a", "bcbc"),
        (3, "", "ac", "bbb"),
        (3, "b", "a", "ccc"),
        (3, "bc", "a", "---"),
        (3, "", "abc", "abcabc"),
        (3, "a", "abc", "bcbc"),
        (2, "ab", "ab", "--"),
        (1, "", "a", "aa"),
        (2, "", "z", "abab"),
    ],
)
async def test_by_turns(io: WorkerIO, count: int, full: str, tried: str, expected: str) -> None:
    balancer = Balancer(endpoints(io, count, full), ROUND_ROBIN)
    assert turns(balancer, len(expected), tried) == expected


async def test_a_turn_that_is_declined_stays(io: WorkerIO) -> None:
    balancer = Balancer(endpoints(io, 3), ROUND_ROBIN)
    assert turns(balancer, 1) == "a"
    assert [balancer.pick(), balancer.pick()] == [balancer.pick()] * 2
    assert turns(balancer, 2) == "bc"


async def test_an_endpoint_that_was_full_has_its_turn_again_once_it_has_room(io: WorkerIO) -> None:
    three = endpoints(io, 3, "b")
    balancer = Balancer(three, ROUND_ROBIN)
    assert turns(balancer, 20) == "ac" * 10
    three[1].slots_taken = 0
    assert turns(balancer, 3) == "abc", "it has not saved up turns"


async def test_turns_by_weight_are_spread_out(io: WorkerIO) -> None:
    balancer = Balancer(endpoints(io, 3, weights=(5, 1, 1)), ROUND_ROBIN)
    assert turns(balancer, 14) == "aabacaa" * 2  # as in nginx


async def test_the_unfit_come_before_those_that_have_failed_this_request(io: WorkerIO) -> None:
    a, b, c = endpoints(io, 3)
    balancer = Balancer(mode=ROUND_ROBIN)
    balancer.use([a, b], [c])
    assert turns(balancer, 4) == "abab"
    assert turns(balancer, 2, tried="a") == "bb"
    assert turns(balancer, 2, tried="ab") == "cc"
    assert set(turns(balancer, 4, tried="abc")) == {"a", "b"}


@pytest.mark.parametrize("count", [2, 3, 6])
async def test_two_choices_are_different_and_the_less_loaded_wins(io: WorkerIO, count: int) -> None:
    many = endpoints(io, count, most=100)
    for load, endpoint in enumerate(many):
        endpoint.slots_taken = load
    counted = Counter(turns(Balancer(many, P2C), 2000))
    busiest = many[-1].name
    assert counted[busiest] == 0, "it was drawn against itself"
    assert counted["a"] == max(counted.values())
    assert len(counted) == count - 1


@pytest.mark.parametrize("mode", [P2C, RANDOM])
async def test_equal_ones_get_equal_shares(io: WorkerIO, mode: int) -> None:
    seed(1)
    counted = Counter(turns(Balancer(endpoints(io, 4), mode), 8000))
    assert all(1800 < number < 2200 for number in counted.values()), counted


@pytest.mark.parametrize("mode", list(MODES))
async def test_only_what_has_room_is_chosen(io: WorkerIO, mode: str) -> None:
    assert set(turns(Balancer(endpoints(io, 4, "abd"), MODES[mode]), 50, key=7)) == {"c"}
    assert set(turns(Balancer(endpoints(io, 4, "abcd"), MODES[mode]), 5, key=7)) == {"-"}
    assert Balancer(mode=MODES[mode]).pick(key=7) is None


@pytest.mark.parametrize("mode", [P2C, ROUND_ROBIN, RANDOM])
@pytest.mark.parametrize("in_flight", [1, 2, 12, 40])
async def test_weights_hold_at_any_load(io: WorkerIO, mode: int, in_flight: int) -> None:
    """A closed loop of requests that take equally long: the oldest ends when the next one comes."""
    seed(2)
    two = endpoints(io, 2, weights=(9, 1), most=100)
    balancer = Balancer(two, mode)
    under_way: list[Endpoint] = []
    counted: Counter[str] = Counter()
    for _ in range(10_000):
        endpoint = balancer.pick()
        assert endpoint is not None
        balancer.advance(endpoint)
        endpoint.slots_taken += 1
        under_way.append(endpoint)
        counted[endpoint.name] += 1
        if len(under_way) >= in_flight:
            under_way.pop(0).slots_taken -= 1
    assert 8750 <= counted["a"] <= 9250, counted


async def test_a_heavy_one_that_does_not_answer_gets_little_by_two_choices(io: WorkerIO) -> None:
    stuck, well = endpoints(io, 2, weights=(9, 1), most=10_000)
    balancer = Balancer([stuck, well], P2C)
    counted: Counter[str] = Counter()
    for _ in range(1000):
        endpoint = balancer.pick()
        assert endpoint is not None
        balancer.advance(endpoint)
        counted[endpoint.name] += 1
        stuck.slots_taken += endpoint is stuck
    assert counted[stuck.name] < 20, counted


async def test_least_conn_goes_by_load_and_weight(io: WorkerIO) -> None:
    light, heavy = endpoints(io, 2, weights=(1, 3), most=100)
    balancer = Balancer([light, heavy], LEAST_CONN)
    light.slots_taken, heavy.slots_taken = 2, 5
    assert balancer.pick() is heavy
    heavy.slots_taken = 7
    assert balancer.pick() is light


async def test_a_key_stays_with_its_endpoint(io: WorkerIO) -> None:
    six = endpoints(io, 6)
    balancer = Balancer(six, HASH)
    keys = [key_of(f"10.0.{number}.1".encode()) for number in range(600)]
    before = {key: turns(balancer, 1, key=key) for key in keys}
    assert all(60 < number < 145 for number in Counter(before.values()).values()), Counter(before.values())
    assert {key: turns(Balancer(six[::-1], HASH), 1, key=key) for key in keys} == before
    balancer.use(six[1:])
    after = {key: turns(balancer, 1, key=key) for key in keys}
    moved = {key for key in keys if after[key] != before[key]}
    assert moved == {key for key in keys if before[key] == "a"}, "only the keys of the one that is gone move"
    assert len({after[key] for key in moved}) == 5, "and they spread"


async def test_keys_are_spread_by_weight(io: WorkerIO) -> None:
    balancer = Balancer(endpoints(io, 2, weights=(3, 1)), HASH)
    counted = Counter(turns(balancer, 1, key=key_of(b"%d" % number)) for number in range(2000))
    assert 1380 < counted["a"] < 1620, counted


async def test_a_key_moves_on_while_its_endpoint_is_full(io: WorkerIO) -> None:
    four = endpoints(io, 4)
    balancer = Balancer(four, HASH)
    own = turns(balancer, 1, key=99)
    full = next(endpoint for endpoint in four if endpoint.name == own)
    full.slots_taken = 2
    other = turns(balancer, 1, key=99)
    assert other != own
    assert turns(balancer, 5, key=99) == other * 5
    full.slots_taken = 0
    assert turns(balancer, 1, key=99) == own
