"""A connection that is about to be closed lasts until its peer has left, had its time, or sent too much."""

import asyncio
import time

import pytest

from coregateway.server import linger as module
from coregateway.server.linger import LINGER_BYTES, Linger


async def lingering() -> tuple[Linger, "asyncio.Task[None]"]:
    """A linger, and who waits for its end."""
    linger = Linger(asyncio.get_running_loop())
    waiting = asyncio.create_task(linger.wait())
    await asyncio.sleep(0)
    return linger, waiting


async def test_it_ends_when_the_peer_has_left() -> None:
    linger, waiting = await lingering()
    linger.drop(1000)
    linger.end()
    await asyncio.wait_for(waiting, 1)


async def test_it_ends_when_the_peer_has_had_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER", 0.05)
    started = time.monotonic()
    _, waiting = await lingering()
    await asyncio.wait_for(waiting, 1)
    assert time.monotonic() - started > 0.04


async def test_it_ends_when_the_peer_has_sent_too_much() -> None:
    linger, waiting = await lingering()
    for _ in range(4):
        linger.drop(LINGER_BYTES // 4)
    await asyncio.sleep(0.01)
    assert not waiting.done()
    linger.drop(1)
    linger.drop(1)
    await asyncio.wait_for(waiting, 1)
