"""Waiting for what sets no event."""

from asyncio import sleep
from collections.abc import Callable
from time import monotonic

from coregateway.testing import PATIENCE


async def eventually(holds: Callable[[], object], within: float = PATIENCE) -> None:
    """Wait until something holds; AssertionError if that takes longer."""
    end = monotonic() + within
    while not holds():
        assert monotonic() < end, f"not so within {within} s"
        await sleep(0.005)
