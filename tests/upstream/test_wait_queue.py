"""The promises of the queue for a connection: first come, first served, and no wait is endless."""

import asyncio
import time

import pytest

from coregateway.model.errors import Draining, GatewayError, Overloaded, PoolTimeout
from coregateway.net.worker_io import WorkerIO
from coregateway.settings.limits import LimitSettings, TimeoutSettings
from coregateway.testing import PATIENCE, ScriptedBackend
from coregateway.upstream.address import Address
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.endpoint import Endpoint
from coregateway.upstream.idle import EndedAges
from coregateway.upstream.pool import Pool
from coregateway.upstream.roles import Timeouts
from coregateway.upstream.wait_queue import QueuedTask, Waiter, WaitQueue
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
        held = await pool.acquire_connection()
        waiting = asyncio.create_task(fetch(pool, "/first"))
        await eventually(lambda: state(pool).queued == 1)
        held.endpoint.release(held)
        await fetch(pool, "/second")
        await waiting
    assert [request.path for request in backend.requests] == [b"/first", b"/second"]


async def test_a_full_queue_refuses_at_once(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1, "max_queued": 2}) as pool:
        held = await pool.acquire_connection()
        waiting = [asyncio.create_task(fetch(pool)) for _ in range(2)]
        await eventually(lambda: state(pool).queued == 2)
        with pytest.raises(Overloaded):
            pool.acquire_connection().send(None)  # its first step, before it could have waited for anything
        held.endpoint.release(held)
        assert await asyncio.gather(*waiting) == [(200, b"ok")] * 2


async def test_without_a_queue_the_limit_refuses_at_once(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1, "max_queued": 0}) as pool:
        held = await pool.acquire_connection()
        with pytest.raises(Overloaded):
            await pool.acquire_connection()
        held.endpoint.release(held)
        assert await fetch(pool) == (200, b"ok")


async def test_waiting_for_a_connection_ends_in_time(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}, timeouts={"pool": 0.2}) as pool:
        held = await pool.acquire_connection()
        started = time.monotonic()
        with pytest.raises(PoolTimeout) as raised:
            await pool.acquire_connection()
        assert 0.19 <= time.monotonic() - started < LATE
        assert not raised.value.sent
        assert state(pool) == (1, 0, 1, 0, 0, 1)
        held.endpoint.release(held)
        assert await fetch(pool) == (200, b"ok")


async def test_the_patience_of_one_waiter_does_not_stretch_that_of_the_next(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}, timeouts={"pool": 0.2}) as pool:
        held = await pool.acquire_connection()
        patient = asyncio.create_task(
            pool.acquire_connection(timeouts=Timeouts.of(TimeoutSettings(pool=3600.0)))
        )
        await eventually(lambda: state(pool).queued == 1)
        with pytest.raises(PoolTimeout):
            await asyncio.wait_for(pool.acquire_connection(), PATIENCE)
        held.endpoint.release(held)
        released = await patient
        released.endpoint.release(released)


async def test_each_of_many_waiters_is_refused_at_its_own_time(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        held = await pool.acquire_connection()

        async def refused_after(patience: float) -> float:
            started = time.monotonic()
            with pytest.raises(PoolTimeout):
                await pool.acquire_connection(timeouts=Timeouts.of(TimeoutSettings(pool=patience)))
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
        held.endpoint.release(held)


async def test_a_waiter_is_not_handed_a_connection_that_has_ended(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        await fetch(pool)
        held = await pool.acquire_connection()
        waiting = asyncio.create_task(fetch(pool))
        await eventually(lambda: state(pool).queued == 1)
        await backend.close_idle()
        await eventually(lambda: held.closed)
        held.endpoint.release(held)
        assert await asyncio.wait_for(waiting, PATIENCE) == (200, b"ok")
        assert state(pool) == (0, 0, 0, 1, 0, 1)


# ------------------------------------------------------------------ the queue by itself


def endpoint_of(io: WorkerIO, queue: WaitQueue) -> Endpoint:
    timeouts = Timeouts.of(TimeoutSettings())
    return Endpoint(io, Address("http://127.0.0.1:1"), LimitSettings(), timeouts, queue, EndedAges())


def waiter() -> QueuedTask:
    return QueuedTask(asyncio.get_running_loop())


async def test_a_waiter_that_waits_no_more_is_passed_over(io: WorkerIO) -> None:
    queue = WaitQueue(asyncio.get_running_loop(), 3)
    endpoint = endpoint_of(io, queue)
    first, second, third = waiter(), waiter(), waiter()
    for one in (first, second, third):
        queue.join(one, time.monotonic(), 60.0)
    first.given.cancel()
    assert queue.give_slot(endpoint)
    assert (second.done(), third.done()) == (True, False)
    third.given.cancel()
    assert not queue.has_waiters
    assert not queue.give_slot(endpoint)
    queue.close()


async def test_a_place_is_taken_until_its_waiter_leaves() -> None:
    queue = WaitQueue(asyncio.get_running_loop(), 1)
    one = waiter()
    queue.join(one, time.monotonic(), 60.0)
    one.given.cancel()
    assert (queue.length, queue.is_full) == (1, True)
    queue.leave()
    assert (queue.length, queue.is_full) == (0, False)
    queue.close()


class Impatient(Waiter):
    """Waits without a task, and leaves the queue as soon as it is refused."""

    def __init__(self, queue: WaitQueue) -> None:
        self._line = queue
        self.refused: GatewayError | None = None

    def done(self) -> bool:
        return self.refused is not None

    def take_connection(self, connection: UpstreamConnection) -> None:
        raise AssertionError(connection)

    def take_slot(self, endpoint: Endpoint) -> None:
        raise AssertionError(endpoint)

    def refuse(self, error: GatewayError) -> None:
        self.refused = error
        self._line.leave()


async def test_a_waiter_that_leaves_while_being_refused_disturbs_no_other() -> None:
    queue = WaitQueue(asyncio.get_running_loop(), 4)
    late, patient = [Impatient(queue), Impatient(queue)], [Impatient(queue), Impatient(queue)]
    for one, other in zip(late, patient, strict=True):
        queue.join(one, time.monotonic(), 0.05)
        queue.join(other, time.monotonic(), 60.0)
    await eventually(lambda: queue.length == 2)
    assert [type(one.refused) for one in late + patient] == [PoolTimeout] * 2 + [type(None)] * 2
    queue.close()
    assert [type(one.refused) for one in patient] == [Draining] * 2
    assert queue.length == 0
