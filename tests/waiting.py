"""Waiting for what sets no event."""

from asyncio import sleep, timeout
from collections.abc import Awaitable, Callable
from time import monotonic

from coregateway.testing import PATIENCE


async def eventually(holds: Callable[[], object], within: float = PATIENCE) -> None:
    """Wait until something holds; AssertionError if that takes longer."""
    end = monotonic() + within
    while not holds():
        assert monotonic() < end, f"not so within {within} s"
        await sleep(0.005)


async def eventually_async(look: Callable[[], Awaitable[object]], within: float = PATIENCE) -> None:
    """As `eventually`, of what has to be asked for; TimeoutError if it takes longer."""
    async with timeout(within):
        while not await look():  # noqa: ASYNC110 -- another process has no events
            await sleep(0.02)
