"""What was written and is not taken: it counts as a stall once, and shows whether the peer takes anything."""

import asyncio
from typing import Any, cast

import pytest

from coregateway.net import write_backlog as module
from coregateway.net.read_budget import Allowance
from coregateway.net.write_backlog import Backlog


class Transport:
    def __init__(self) -> None:
        self.unsent = 0

    def get_write_buffer_size(self) -> int:
        return self.unsent


@pytest.fixture
def stalls(monkeypatch: pytest.MonkeyPatch) -> Allowance:
    stalls = Allowance()
    monkeypatch.setattr(module, "allowance", stalls)
    return stalls


def backlog(transport: Transport) -> Backlog:
    return Backlog(asyncio.get_running_loop(), cast(Any, transport))


async def test_however_often_it_begins_it_is_one_stall_until_it_ends(stalls: Allowance) -> None:
    one = backlog(Transport())
    for _ in range(3):
        one.begin()
        assert (one.blocks, stalls.stalled) == (True, 1)
    one.end()
    assert (one.blocks, stalls.stalled) == (False, 0)


@pytest.mark.parametrize("blocks", [False, True])
async def test_a_connection_that_is_gone_is_no_stall(stalls: Allowance, blocks: bool) -> None:
    one = backlog(Transport())
    if blocks:
        one.begin()
    one.drop()
    assert stalls.stalled == 0


class Clock:
    """Stands for a loop."""

    now = 100.0

    def time(self) -> float:
        return self.now


async def test_a_peer_that_takes_anything_is_in_time_and_one_that_does_not_is_found_out_soon() -> None:
    clock = Clock()
    transport = Transport()
    one = Backlog(cast(Any, clock), cast(Any, transport))
    transport.unsent = 1000
    one.begin()
    taken = {3: 999, 6: 500}  # at these looks there is less
    ended = 0.0
    for look in range(100):
        transport.unsent = taken.get(look, transport.unsent)
        if not (wait := one.look(1.0)):
            ended = clock.now
            break
        assert wait <= 0.25
        clock.now += wait
    one.end()
    assert 102.5 <= ended <= 102.75  # the last bytes were seen to be gone at 101.5


async def test_a_peer_that_never_takes_anything_has_exactly_its_limit() -> None:
    clock = Clock()
    transport = Transport()
    one = Backlog(cast(Any, clock), cast(Any, transport))
    transport.unsent = 1000
    one.begin()
    while wait := one.look(1.0):
        clock.now += wait
    one.end()
    assert clock.now == pytest.approx(101.0, abs=0.002)


async def test_who_waits_goes_on_when_it_is_woken_and_may_wait_again() -> None:
    one = backlog(Transport())
    one.wake()  # nobody waits
    for _ in range(2):
        waiting = asyncio.create_task(one.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        one.wake()
        one.wake()
        await waiting
