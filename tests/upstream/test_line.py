"""The promises of the line for a connection: first come, first served, and nobody waits for ever."""

import asyncio
import time

import pytest

from coregateway.model.errors import Draining, GatewayError, Overloaded, PoolTimeout
from coregateway.settings.model import TimeoutSettings
from coregateway.testing import PATIENCE, ScriptedBackend
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.pool import Pool
from coregateway.upstream.roles import Timeouts
from coregateway.upstream.wait_queue import Line, Place, Waiter
from tests.upstream.pools import LATE, fetch, pool_to, state
from tests.waiting import eventually


async def test_waiters_are_served_in_the_order_in_which_they_came(backend: ScriptedBackend) -> None:
    order: list[int] = []

    async def ask(number: int, pool: Pool) -> None:
        await fetch(pool, f"/{number}")
        order.append(number)

    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        await asyncio.gather(*(ask(number, pool) for number in range(20)))
    assert order == list(range(20))
    assert [request.path for request in backend.requests] == [b"/%d" % number for number in range(20)]


async def test_a_newcomer_does_not_overtake_those_who_wait(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        held = await pool.acquire()
        waiting = asyncio.create_task(fetch(pool, "/first"))
        await eventually(lambda: state(pool).queued == 1)
        pool.give_back(held)
        await fetch(pool, "/second")
        await waiting
    assert [request.path for request in backend.requests] == [b"/first", b"/second"]


async def test_a_full_queue_refuses_at_once(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1, "max_queued": 2}) as pool:
        held = await pool.acquire()
        waiting = [asyncio.create_task(fetch(pool)) for _ in range(2)]
        await eventually(lambda: state(pool).queued == 2)
        with pytest.raises(Overloaded):
            pool.acquire().send(None)  # its first step, before it could have waited for anything
        pool.give_back(held)
        assert await asyncio.gather(*waiting) == [(200, b"ok")] * 2


async def test_without_a_queue_the_limit_refuses_at_once(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1, "max_queued": 0}) as pool:
        held = await pool.acquire()
        with pytest.raises(Overloaded):
            await pool.acquire()
        pool.give_back(held)
        assert await fetch(pool) == (200, b"ok")


async def test_waiting_for_a_connection_ends_in_time(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}, timeouts={"pool": 0.2}) as pool:
        held = await pool.acquire()
        started = time.monotonic()
        with pytest.raises(PoolTimeout) as raised:
            await pool.acquire()
        assert 0.19 <= time.monotonic() - started < LATE
        assert not raised.value.sent
        assert state(pool) == (1, 0, 1, 0, 0, 1)
        pool.give_back(held)
        assert await fetch(pool) == (200, b"ok")


async def test_the_patience_of_one_waiter_does_not_stretch_that_of_the_next(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}, timeouts={"pool": 0.2}) as pool:
        held = await pool.acquire()
        patient = asyncio.create_task(pool.acquire(timeouts=Timeouts.of(TimeoutSettings(pool=3600.0))))
        await eventually(lambda: state(pool).queued == 1)
        with pytest.raises(PoolTimeout):
            await asyncio.wait_for(pool.acquire(), PATIENCE)
        pool.give_back(held)
        pool.give_back(await patient)


async def test_each_of_many_waiters_is_refused_at_its_own_time(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        held = await pool.acquire()

        async def refused_after(patience: float) -> float:
            started = time.monotonic()
            with pytest.raises(PoolTimeout):
                await pool.acquire(timeouts=Timeouts.of(TimeoutSettings(pool=patience)))
            return time.monotonic() - started

        patient = [asyncio.create_task(refused_after(3600.0)) for _ in range(2)]
        await eventually(lambda: state(pool).queued == 2)
        patiences = [0.3, 0.1, 0.2, 0.1, 0.4]
        waited = await asyncio.gather(*map(refused_after, patiences))
        for patience, seconds in zip(patiences, waited, strict=True):
            assert patience - 0.01 <= seconds < LATE
        assert state(pool).queued == len(patient)
        for one in patient:
            one.cancel()
        await asyncio.wait(patient)
        pool.give_back(held)


async def test_a_waiter_is_not_handed_a_connection_that_has_ended(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        await fetch(pool)
        held = await pool.acquire()
        waiting = asyncio.create_task(fetch(pool))
        await eventually(lambda: state(pool).queued == 1)
        await backend.close_idle()
        await eventually(lambda: held.closed)
        pool.give_back(held)
        assert await asyncio.wait_for(waiting, PATIENCE) == (200, b"ok")
        assert state(pool) == (0, 0, 0, 1, 0, 1)


# ------------------------------------------------------------------ the line by itself


def waiter() -> Place:
    return Place(asyncio.get_running_loop())


async def test_who_waits_no_more_is_passed_over() -> None:
    line = Line(asyncio.get_running_loop(), 3)
    first, second, third = waiter(), waiter(), waiter()
    for one in (first, second, third):
        line.join(one, time.monotonic(), 60.0)
    first.served.cancel()
    assert line.serve(None)
    assert (second.done(), third.done()) == (True, False)
    third.served.cancel()
    assert not line.has_waiters
    assert not line.serve(None)
    line.close()


async def test_a_place_is_taken_until_its_waiter_leaves() -> None:
    line = Line(asyncio.get_running_loop(), 1)
    one = waiter()
    line.join(one, time.monotonic(), 60.0)
    one.served.cancel()
    assert (line.length, line.is_full) == (1, True)
    line.leave()
    assert (line.length, line.is_full) == (0, False)
    line.close()


class Impatient(Waiter):
    """Waits without a task, and leaves the line as soon as it is refused."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.refused: GatewayError | None = None

    def done(self) -> bool:
        return self.refused is not None

    def take_turn(self, connection: UpstreamConnection | None) -> None:
        raise AssertionError(connection)

    def refuse(self, error: GatewayError) -> None:
        self.refused = error
        self._line.leave()


async def test_who_leaves_while_being_refused_disturbs_nobody_else() -> None:
    line = Line(asyncio.get_running_loop(), 4)
    late, patient = [Impatient(line), Impatient(line)], [Impatient(line), Impatient(line)]
    for one, other in zip(late, patient, strict=True):
        line.join(one, time.monotonic(), 0.05)
        line.join(other, time.monotonic(), 60.0)
    await eventually(lambda: line.length == 2)
    assert [type(one.refused) for one in late + patient] == [PoolTimeout] * 2 + [type(None)] * 2
    line.close()
    assert [type(one.refused) for one in patient] == [Draining] * 2
    assert line.length == 0
