"""What was written and is not taken: it counts as a stall once, and shows whether the peer takes anything."""

import asyncio
from typing import Any, cast

import pytest

from coregateway.net.read_budget import ReadBudget
from coregateway.net.write_backlog import WriteBacklog


class Transport:
    def __init__(self) -> None:
        self.unsent = 0

    def get_write_buffer_size(self) -> int:
        return self.unsent


@pytest.fixture
async def stalls() -> ReadBudget:
    return ReadBudget(asyncio.get_running_loop())


def backlog(transport: Transport, budget: ReadBudget) -> WriteBacklog:
    return WriteBacklog(asyncio.get_running_loop(), budget, transport)


async def test_however_often_it_begins_it_is_one_stall_until_it_ends(stalls: ReadBudget) -> None:
    one = backlog(Transport(), stalls)
    for _ in range(3):
        one.begin_stall()
        assert (one.blocks, stalls.stalled) == (True, 1)
    one.end_stall()
    assert (one.blocks, stalls.stalled) == (False, 0)


@pytest.mark.parametrize("blocks", [False, True])
async def test_a_connection_that_is_gone_is_no_stall(stalls: ReadBudget, blocks: bool) -> None:
    one = backlog(Transport(), stalls)
    if blocks:
        one.begin_stall()
    one.drop()
    assert stalls.stalled == 0


class Clock:
    """Stands for a loop."""

    now = 100.0

    def time(self) -> float:
        return self.now


async def test_a_peer_that_takes_anything_is_in_time_and_one_that_does_not_is_found_out_soon(
    stalls: ReadBudget,
) -> None:
    clock = Clock()
    transport = Transport()
    one = WriteBacklog(cast(Any, clock), stalls, transport)
    transport.unsent = 1000
    one.begin_stall()
    taken = {3: 999, 6: 500}  # at these looks there is less
    ended = 0.0
    for look in range(100):
        transport.unsent = taken.get(look, transport.unsent)
        if not (wait := one.look(1.0)):
            ended = clock.now
            break
        assert wait <= 0.25
        clock.now += wait
    one.end_stall()
    assert 102.5 <= ended <= 102.75  # the last bytes were seen to be gone at 101.5


async def test_a_peer_that_never_takes_anything_has_exactly_its_limit(stalls: ReadBudget) -> None:
    clock = Clock()
    transport = Transport()
    one = WriteBacklog(cast(Any, clock), stalls, transport)
    transport.unsent = 1000
    one.begin_stall()
    while wait := one.look(1.0):
        clock.now += wait
    one.end_stall()
    assert clock.now == pytest.approx(101.0, abs=0.002)


async def test_a_waiting_task_goes_on_when_it_is_woken_and_may_wait_again(stalls: ReadBudget) -> None:
    one = backlog(Transport(), stalls)
    one.wake()  # nothing waits
    for _ in range(2):
        waiting = asyncio.create_task(one.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        one.wake()
        one.wake()
        await waiting
