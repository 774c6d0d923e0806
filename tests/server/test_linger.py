"""A connection that is about to be closed lasts until its peer has left or had its time, or too many do."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from coregateway.server import linger as module
from coregateway.server.linger import DRAIN, MOST, Linger, Lingering

SECONDS = 30.0


class Clock:
    """Stands for the loop as far as it keeps time."""

    def __init__(self) -> None:
        self._now = 0.0
        self._calls: list[tuple[float, Callable[[], object]]] = []

    def create_future(self) -> "asyncio.Future[None]":
        return asyncio.get_running_loop().create_future()

    def call_later(self, seconds: float, call: Callable[[], object]) -> "Clock":
        self._calls.append((self._now + seconds, call))
        return self

    def cancel(self) -> None:
        """Of a timer: what it would end has ended."""

    async def advance(self, seconds: float) -> None:
        self._now += seconds
        for due, call in self._calls:
            if due <= self._now:
                call()
        await turns()


async def turns() -> None:
    """Let those go on that wait for nothing any more."""
    for _ in range(4):
        await asyncio.sleep(0)


class One:
    """A connection that lingers."""

    def __init__(self, lingering: Lingering, clock: Clock) -> None:
        self.linger = Linger(cast(Any, clock))
        self.waiting = asyncio.ensure_future(lingering.wait(self.linger, SECONDS))


async def test_it_ends_when_the_peer_has_left() -> None:
    lingering = Lingering()
    one, another = One(lingering, Clock()), One(lingering, Clock())
    await turns()
    assert lingering.count == 2
    one.linger.end()
    one.linger.end()
    await turns()
    assert (one.waiting.done(), another.waiting.done(), lingering.count) == (True, False, 1)
    another.waiting.cancel()
    await turns()
    assert lingering.count == 0


@pytest.mark.parametrize(
    ("drain_at", "lasts"),
    [
        (None, SECONDS),
        (0.0, DRAIN),
        (10.0, 10.0 + DRAIN),
        (SECONDS - 1.0, SECONDS),
    ],
)
async def test_it_ends_when_the_peer_has_had_its_time_or_that_of_a_drain(
    drain_at: float | None, lasts: float
) -> None:
    clock = Clock()
    one = One(Lingering(), clock)
    await turns()
    before = lasts - 0.5
    if drain_at is not None:
        await clock.advance(drain_at)
        before -= drain_at
        one.linger.hurry()
    await clock.advance(before)
    assert not one.waiting.done()
    await clock.advance(0.5)
    assert one.waiting.done()


@pytest.mark.parametrize("most", [1, 3, 10])
async def test_one_too_many_ends_the_one_that_has_lingered_longest(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    if module.__file__.endswith(".so"):
        most = MOST  # a constant of machine code
    else:
        monkeypatch.setattr(module, "MOST", most)
    lingering = Lingering()
    some = [One(lingering, Clock()) for _ in range(most)]
    await turns()
    assert not any(one.waiting.done() for one in some)
    newcomers = [One(lingering, Clock()) for _ in range(3)]
    await turns()
    ended = [one.waiting.done() for one in some + newcomers]
    assert ended == [True] * 3 + [False] * most
    assert lingering.count == most
    for one in some + newcomers:
        one.waiting.cancel()
    await turns()
    assert lingering.count == 0
