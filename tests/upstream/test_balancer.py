"""Whose turn it is: round robin over the endpoints that have room, and where a request was not before."""

import pytest

from coregateway.net.worker_io import WorkerIO
from coregateway.settings.model import LimitSettings, TimeoutSettings
from coregateway.upstream.balancer import Balancer
from coregateway.upstream.endpoint import Endpoint
from coregateway.upstream.idle import EndedAges
from coregateway.upstream.roles import Timeouts
from coregateway.upstream.wait_queue import WaitQueue


def endpoints(io: WorkerIO, count: int, full: str = "") -> list[Endpoint]:
    """Named a, b, c, …; of `full` all slots are taken."""
    limits = LimitSettings(max_connections=2)
    timeouts = Timeouts.of(TimeoutSettings())
    made = [
        Endpoint(io, f"http://{name}", limits, timeouts, WaitQueue(io.loop, 1), EndedAges())
        for name in "abcdef"[:count]
    ]
    for endpoint in made:
        endpoint.slots_taken = 2 if endpoint.name in full else 1
    return made


def turns(balancer: Balancer, count: int, tried: str = "") -> str:
    picked = ""
    for _ in range(count):
        endpoint = balancer.pick(list(tried))
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
async def test_the_endpoint_whose_turn_it_is(
    io: WorkerIO, count: int, full: str, tried: str, expected: str
) -> None:
    assert turns(Balancer(endpoints(io, count, full)), len(expected), tried) == expected


async def test_a_turn_that_is_declined_stays(io: WorkerIO) -> None:
    balancer = Balancer(endpoints(io, 3))
    assert turns(balancer, 1) == "a"
    assert [balancer.pick(), balancer.pick()] == [balancer.pick()] * 2
    assert turns(balancer, 2) == "bc"


async def test_an_endpoint_that_was_full_has_its_turn_again_once_it_has_room(io: WorkerIO) -> None:
    three = endpoints(io, 3, "b")
    balancer = Balancer(three)
    assert turns(balancer, 2) == "ac"
    three[1].slots_taken = 0
    assert turns(balancer, 3) == "abc"
