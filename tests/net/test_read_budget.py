"""How much a read may bring: much while all take what they get, little when many do not."""

import asyncio

import pytest

from coregateway.net.read_budget import AHEAD, LEAST, SHARES, ReadBudget


@pytest.mark.parametrize(
    ("stalled", "size"),
    [(0, 126_000), (7, 126_000), (8, 64_000), (23, 64_000), (24, 32_768), (48, LEAST), (10_000, LEAST)],
)
async def test_the_more_peers_are_stalled_the_less_a_read_may_bring(stalled: int, size: int) -> None:
    budget = ReadBudget(asyncio.get_running_loop())
    for _ in range(stalled):
        budget.stall()
    assert (budget.size, len(budget.view)) == (size, size)
    assert budget.ahead == min(size, AHEAD)
    for _ in range(stalled):
        budget.relieve()
    assert (budget.size, len(budget.view)) == (SHARES[0][1], SHARES[0][1])


async def test_five_hundred_that_stall_one_after_the_other_hold_less_than_8_mib() -> None:
    budget = ReadBudget(asyncio.get_running_loop())
    held = 0
    for _ in range(500):
        held += budget.size
        budget.stall()
    assert held < 8 << 20


async def test_reads_of_one_turn_of_the_loop_count_until_it_shows_whether_they_are_taken() -> None:
    budget = ReadBudget(asyncio.get_running_loop())
    brought = 0
    for _ in range(500):
        brought += budget.size
        budget.spend(budget.size)
    assert budget.size == LEAST
    assert brought < 11 << 20
    await asyncio.sleep(0)
    assert budget.size == SHARES[0][1]
