"""What was written and is not taken: it counts as a stall once, and shows whether the peer takes anything."""

import asyncio
from typing import Any, cast

import pytest

from coregateway import backlog as module
from coregateway.backlog import Backlog


class Transport:
    def __init__(self) -> None:
        self.unsent = 0

    def get_write_buffer_size(self) -> int:
        return self.unsent


class Stalls:
    """Stands for the allowance of the worker."""

    def __init__(self) -> None:
        self.count = 0

    def stall(self) -> None:
        self.count += 1

    def relieve(self) -> None:
        self.count -= 1


@pytest.fixture
def stalls(monkeypatch: pytest.MonkeyPatch) -> Stalls:
    stalls = Stalls()
    monkeypatch.setattr(module, "allowance", stalls)
    return stalls


def backlog(transport: Transport) -> Backlog:
    return Backlog(asyncio.get_running_loop(), cast(Any, transport))


async def test_however_often_it_begins_it_is_one_stall_until_it_ends(stalls: Stalls) -> None:
    one = backlog(Transport())
    for _ in range(3):
        one.begin()
        assert (one.blocks, stalls.count) == (True, 1)
    one.end()
    assert (one.blocks, stalls.count) == (False, 0)


@pytest.mark.parametrize("blocks", [False, True])
async def test_a_connection_that_is_gone_is_no_stall(stalls: Stalls, blocks: bool) -> None:
    one = backlog(Transport())
    if blocks:
        one.begin()
    one.drop()
    assert stalls.count == 0


async def test_it_shrinks_while_the_peer_takes_anything() -> None:
    transport = Transport()
    one = backlog(transport)
    transport.unsent = 1000
    one.begin()
    told: list[bool] = []
    for transport.unsent in (1000, 999, 999, 1, 0, 0):
        told.append(one.shrinks())
    one.end()
    assert told == [False, True, False, True, True, False]


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
