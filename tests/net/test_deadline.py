import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from coregateway.net.deadline import RESOLUTION, Deadline

LATE = 10.0
"""Seconds after which a limit that should have come is given up."""


class Clock:
    """A deadline on the running loop, and when it expired."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.times: list[float] = []
        self.expiries: asyncio.Queue[None] = asyncio.Queue()
        self.deadline = Deadline(self.loop, self._expired)
        self.began = self.loop.time()

    def _expired(self) -> None:
        self.times.append(self.loop.time() - self.began)
        self.expiries.put_nowait(None)

    async def expiry(self) -> float:
        """Seconds from the beginning to the next expiry."""
        async with asyncio.timeout(LATE):
            await self.expiries.get()
        return self.times[-1]


type Scenario = Callable[[], Awaitable[None]]
type OnLoop = Callable[[Scenario], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> OnLoop:
    """Runs a scenario on a real loop of each kind."""

    def on_loop(scenario: Scenario) -> None:
        async def main() -> None:
            await scenario()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return on_loop


def test_a_limit_expires_once_and_not_before_its_time(run: OnLoop) -> None:
    async def scenario() -> None:
        clock = Clock()
        clock.deadline.within(0.02)
        assert await clock.expiry() >= 0.02 - RESOLUTION
        await asyncio.sleep(0.05)
        assert len(clock.times) == 1

    run(scenario)


def test_a_limit_that_is_moved_away_expires_at_the_last_time_set(run: OnLoop) -> None:
    async def scenario() -> None:
        clock = Clock()
        clock.deadline.within(0.02)
        clock.deadline.within(0.06)
        assert await clock.expiry() >= 0.06 - RESOLUTION
        assert len(clock.times) == 1

    run(scenario)


def test_a_limit_that_is_moved_again_and_again_does_not_expire(run: OnLoop) -> None:
    async def scenario() -> None:
        clock = Clock()
        for _ in range(3):
            clock.deadline.within(0.01)
            clock.deadline.within(60.0)
            await asyncio.sleep(0.02)
        assert clock.times == []
        clock.deadline.close()

    run(scenario)


def test_a_nearer_limit_takes_the_place_of_a_farther_one(run: OnLoop) -> None:
    async def scenario() -> None:
        clock = Clock()
        clock.deadline.within(3600.0)
        clock.deadline.within(0.02)
        assert 0.02 - RESOLUTION <= await clock.expiry() < LATE

    run(scenario)


def test_a_limit_at_once_expires_but_not_within_the_call(run: OnLoop) -> None:
    async def scenario() -> None:
        clock = Clock()
        clock.deadline.within(0.0)
        assert clock.times == []
        await clock.expiry()

    run(scenario)


def test_a_cleared_limit_does_not_expire_and_may_be_set_again(run: OnLoop) -> None:
    async def scenario() -> None:
        clock = Clock()
        clock.deadline.within(0.01)
        clock.deadline.clear()
        await asyncio.sleep(0.04)
        assert clock.times == []
        clock.deadline.within(0.02)
        clock.deadline.clear()
        clock.deadline.within(0.03)
        assert await clock.expiry() >= 0.07 - 3 * RESOLUTION

    run(scenario)


def test_a_limit_may_be_set_again_when_it_expires(run: OnLoop) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        began = loop.time()
        times: list[float] = []

        def expired() -> None:
            times.append(loop.time() - began)
            if len(times) < 3:
                deadline.within(0.02)
            else:
                done.set_result(None)

        deadline = Deadline(loop, expired)
        deadline.within(0.02)
        async with asyncio.timeout(LATE):
            await done
        assert times[0] >= 0.02 - RESOLUTION
        assert times[1] >= 0.04 - 2 * RESOLUTION
        assert times[2] >= 0.06 - 3 * RESOLUTION

    run(scenario)


def test_a_closed_deadline_lets_go(run: OnLoop) -> None:
    async def scenario() -> None:
        clock = Clock()
        clock.deadline.close()
        clock.deadline.within(0.01)
        clock.deadline.close()
        clock.deadline.close()
        await asyncio.sleep(0.03)
        assert clock.times == []

    run(scenario)


def test_a_limit_that_is_set_on_a_closed_deadline_keeps_nothing_alive(run: OnLoop) -> None:
    async def scenario() -> None:
        clock = Clock()
        clock.deadline.within(60.0)
        clock.deadline.close()
        clock.deadline.within(0.01)
        await asyncio.sleep(0.03)
        assert clock.times == []
        gone = weakref.ref(clock)
        del clock
        gc.collect()
        assert gone() is None

    run(scenario)


class CountingLoop(asyncio.SelectorEventLoop):
    timers = 0

    def call_at(self, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(*arguments, **options)


def test_moving_a_limit_away_costs_no_timer() -> None:
    async def scenario() -> int:
        clock = Clock()
        loop = clock.loop
        assert isinstance(loop, CountingLoop)
        before = loop.timers
        for _ in range(1000):
            clock.deadline.within(60.0)
            clock.deadline.clear()
        timers = loop.timers - before
        clock.deadline.close()
        return timers

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        assert runner.run(scenario()) == 1
