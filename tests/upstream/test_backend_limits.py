"""The limits of a backend over reloads: what is under way stays counted where it was."""

import asyncio

import httpx

from coregateway.shared_memory import Board
from coregateway.testing import ScriptedBackend
from coregateway.upstream.backend import Backend
from coregateway.upstream.node_link import NodeLink
from coregateway.upstream.retry_budget import RetryBudget
from tests.upstream.pools import pool_to
from tests.waiting import eventually


async def test_a_limit_comes_changes_and_goes_with_the_settings(backend: ScriptedBackend) -> None:
    board = Board(1)
    part = board.claim(1, 0)
    link = NodeLink(asyncio.get_running_loop(), board.upstreams, part, board.parts)
    async with pool_to(backend.url) as pool, httpx.AsyncClient() as client:
        row = Backend("row", pool, client, health_path=None, max_in_flight=1)
        row.join(link, RetryBudget(link, 0.2, 3))
        first = row.limit
        assert first is not None
        await first.take(1.0)
        waiting = asyncio.create_task(first.take(20.0))
        await eventually(lambda: row.queued == 1)

        row.change_limits(max_in_flight=0, client_rate=5)
        assert (row.limit, row.slow_clients.rate) == (None, 5)
        await waiting  # for nothing any more

        row.change_limits(max_in_flight=3, client_rate=5)
        second = row.limit
        assert second is not None
        await second.take(1.0)  # beside the two that the first has counted
        full = asyncio.create_task(second.take(20.0))
        await eventually(lambda: row.queued == 1)
        first.give_back()
        await full

        row.change_limits(max_in_flight=4, client_rate=5)
        assert row.limit is second
        await second.take(1.0)
        first.give_back()
        for _ in range(3):
            second.give_back()
        assert second.in_flight == 0
