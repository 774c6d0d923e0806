"""The pool's promises: its limits hold, nothing leaks, and nobody waits for nothing."""

import asyncio
import random
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress

import httpx
import pytest

from coregateway.errors import (
    ConnectFailed,
    ConnectTimeout,
    Draining,
    GatewayError,
    Overloaded,
    PoolTimeout,
    UpstreamClosed,
)
from coregateway.settings.model import TimeoutSettings
from coregateway.testing import (
    Exchange,
    Filler,
    ScriptedBackend,
    Step,
    close,
    delay,
    hang,
    render_head,
    reset,
    respond,
    send,
    wait,
)
from coregateway.upstream.connection import FRESH, UpstreamConnection
from coregateway.upstream.pool import Pool
from coregateway.upstream.transport import PoolTransport
from tests.upstream.pools import (
    descriptors,
    descriptors_at_rest,
    eventually,
    fetch,
    pool_to,
    read_all,
    request,
    state,
)

type Ask = Callable[[Pool], Coroutine[None, None, None]]


async def jittery(exchange: Exchange) -> None:
    """Answers after up to 4 ms, in a body that comes in two pieces."""
    await asyncio.sleep(random.random() * 0.004)
    await exchange.send(render_head(200, [("Content-Length", "8")]) + b"half")
    await asyncio.sleep(random.random() * 0.002)
    await exchange.send(b"half")


async def ask_once(pool: Pool) -> None:
    assert (await fetch(pool))[0] == 200


async def ask_by_httpx(pool: Pool) -> None:
    # The client is not closed: that would close the pool, which all of them share.
    client = httpx.AsyncClient(transport=PoolTransport(pool), base_url="http://backend", trust_env=False)
    assert (await client.get("/")).is_success


async def take_and_return(pool: Pool) -> None:
    connection = await pool.acquire()
    try:
        await asyncio.sleep(random.random() * 0.003)
    finally:
        pool.give_back(connection)


# ------------------------------------------------------------------ cancellation


@pytest.mark.parametrize("ask", [ask_once, ask_by_httpx, take_and_return])
@pytest.mark.parametrize(
    "steps",
    [
        pytest.param((jittery,), id="kept-alive"),
        pytest.param((jittery, close()), id="closed-after-each"),
        pytest.param((jittery, reset(if_reused=True)), id="reset-at-random"),
    ],
)
async def test_a_storm_of_cancelled_requests_leaves_no_slot_task_or_descriptor_behind(
    ask: Ask, steps: tuple[Step, ...]
) -> None:
    descriptors_before = await descriptors_at_rest()
    tasks_before = len(asyncio.all_tasks())
    async with (
        ScriptedBackend(*steps) as backend,
        pool_to(backend.url, limits={"max_connections": 8, "max_keepalive_connections": 4}) as pool,
    ):
        for _ in range(12):
            asked = [asyncio.create_task(ask(pool)) for _ in range(40)]
            for task in random.sample(asked, 30):
                await asyncio.sleep(random.choice((0.0, 0.0, 0.001)))
                task.cancel()
            for outcome in await asyncio.gather(*asked, return_exceptions=True):
                # What a backend resets under a request is that request's own loss.
                lost = isinstance(outcome, UpstreamClosed | httpx.ReadError)
                assert outcome is None or lost or isinstance(outcome, asyncio.CancelledError), outcome
        assert state(pool).at_rest, repr(pool)
        assert state(pool).idle <= 8
        backend.default(respond(200, b"ok"))
        answers = await asyncio.gather(*(fetch(pool) for _ in range(16)))
        assert answers == [(200, b"ok")] * 16
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks_before)
    await eventually(lambda: descriptors() <= descriptors_before)


async def test_a_storm_that_is_cancelled_while_connecting_leaves_no_slot_and_no_descriptor_behind() -> None:
    before = await descriptors_at_rest()
    async with (
        ScriptedBackend(accepting=False) as backend,
        pool_to(backend.url, limits={"max_connections": 5}) as pool,
    ):
        for _ in range(30):
            asked = [asyncio.create_task(fetch(pool)) for _ in range(15)]
            for task in asked:
                await asyncio.sleep(random.choice((0.0, 0.0005)))
                task.cancel()
            await asyncio.wait(asked)
        assert state(pool) == (0, 0, 0, 0, 0, 5)
    await eventually(lambda: descriptors() <= before)


async def test_what_is_handed_to_a_waiter_that_was_just_cancelled_goes_to_the_next(
    backend: ScriptedBackend,
) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        held = await pool.acquire()
        first = asyncio.create_task(pool.acquire())
        second = asyncio.create_task(fetch(pool))
        await eventually(lambda: state(pool).queued == 2)
        held.begin(request(), complete=True)
        await held.head()
        await read_all(held)
        pool.give_back(held)  # hands it to the first …
        first.cancel()  # … who does not want it any more
        assert await asyncio.wait_for(second, 2) == (200, b"ok")
        assert first.cancelled()
        assert state(pool) == (0, 0, 0, 1, 0, 1)
        assert len(backend.connections) == 1


async def test_a_slot_that_falls_free_for_a_waiter_that_was_just_cancelled_goes_to_the_next(
    backend: ScriptedBackend,
) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        held = await pool.acquire()
        first = asyncio.create_task(pool.acquire())
        second = asyncio.create_task(fetch(pool))
        await eventually(lambda: state(pool).queued == 2)
        pool.give_back(held)  # unused, hence closed: its slot goes to the first
        first.cancel()
        assert await asyncio.wait_for(second, 2) == (200, b"ok")
        assert state(pool) == (0, 0, 0, 1, 0, 1)


# ------------------------------------------------------------------ limits and the queue


async def test_never_more_connections_than_the_limit(backend: ScriptedBackend) -> None:
    backend.default(delay(0.01), respond(200, b"ok"))
    async with pool_to(backend.url, limits={"max_connections": 3}) as pool:
        answers = asyncio.gather(*(fetch(pool) for _ in range(30)))
        await eventually(lambda: state(pool).busy == 3)
        assert state(pool) == (3, 27, 3, 0, 0, 3)
        assert await answers == [(200, b"ok")] * 30
        assert len(backend.connections) == 3


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
        started = time.monotonic()
        with pytest.raises(Overloaded):
            await pool.acquire()
        assert time.monotonic() - started < 0.1
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
        assert 0.19 <= time.monotonic() - started < 0.4
        assert not raised.value.sent
        assert state(pool) == (1, 0, 1, 0, 0, 1)
        pool.give_back(held)
        assert await fetch(pool) == (200, b"ok")


async def test_the_patience_of_one_waiter_does_not_stretch_that_of_the_next(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}, timeouts={"pool": 0.2}) as pool:
        held = await pool.acquire()
        patient = asyncio.create_task(pool.acquire(timeouts=TimeoutSettings(pool=3600.0)))
        await eventually(lambda: state(pool).queued == 1)
        started = time.monotonic()
        with pytest.raises(PoolTimeout):
            await asyncio.wait_for(pool.acquire(), 2)
        assert time.monotonic() - started < 0.5
        pool.give_back(held)
        pool.give_back(await patient)


async def test_each_of_many_waiters_is_refused_at_its_own_time(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        held = await pool.acquire()

        async def refused_after(patience: float) -> float:
            started = time.monotonic()
            with pytest.raises(PoolTimeout):
                await pool.acquire(timeouts=TimeoutSettings(pool=patience))
            return time.monotonic() - started

        patiences = [0.3, 0.1, 0.2, 0.1, 0.4]
        waited = await asyncio.gather(*map(refused_after, patiences))
        for patience, seconds in zip(patiences, waited, strict=True):
            assert patience - 0.01 <= seconds < patience + 0.15
        pool.give_back(held)


# ------------------------------------------------------------------ opening connections


async def test_a_refused_connection_is_told_at_once() -> None:
    async with ScriptedBackend() as backend:
        url = backend.url
    async with pool_to(url) as pool:
        started = time.monotonic()
        with pytest.raises(ConnectFailed) as raised:
            await pool.acquire()
        assert time.monotonic() - started < 0.5
        assert raised.value.upstream == url.removeprefix("http://")
        assert not raised.value.sent
        assert state(pool).at_rest


async def test_an_unknown_host_is_a_failed_connect() -> None:
    async with pool_to("http://no-such-host.invalid:80") as pool:
        with pytest.raises(ConnectFailed):
            await pool.acquire()
        assert state(pool).at_rest


async def test_a_backend_that_does_not_accept_is_given_up_in_time() -> None:
    async with (
        ScriptedBackend(accepting=False) as backend,
        pool_to(backend.url, limits={"max_connections": 1}, timeouts={"connect": 0.2}) as pool,
    ):
        started = time.monotonic()
        with pytest.raises(ConnectTimeout) as raised:
            await pool.acquire()
        assert 0.19 <= time.monotonic() - started < 0.5
        assert not raised.value.sent
        assert state(pool) == (0, 0, 0, 0, 0, 1)


async def test_a_failed_connect_lets_the_next_in_line_try() -> None:
    async with ScriptedBackend() as backend:
        url = backend.url
    async with pool_to(url, limits={"max_connections": 1}) as pool:
        outcomes = await asyncio.wait_for(
            asyncio.gather(*(fetch(pool) for _ in range(10)), return_exceptions=True), 2
        )
        assert [type(outcome) for outcome in outcomes] == [ConnectFailed] * 10
        assert state(pool).at_rest


async def test_an_upstream_is_found_by_its_name() -> None:
    async with ScriptedBackend() as backend, pool_to(f"http://localhost:{backend.port}") as pool:
        assert await fetch(pool) == (200, b"ok")


# ------------------------------------------------------------------ reuse


async def test_a_connection_is_reused_after_a_complete_exchange(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url) as pool:
        for _ in range(5):
            assert await fetch(pool) == (200, b"ok")
        assert len(backend.connections) == 1
        assert state(pool).idle == 1


async def test_the_connection_that_was_used_last_is_used_next(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url) as pool:
        gate = asyncio.Event()
        backend.on("/held", wait(gate), respond(200))
        held = asyncio.create_task(fetch(pool, "/held"))
        await backend.wait_for_request()
        await fetch(pool)
        gate.set()
        await held  # so the first connection is the last one used
        await fetch(pool, "/which")
        assert (await backend.wait_for_request(3)).connection == 1


async def test_upstreams_take_turns() -> None:
    async with ScriptedBackend() as one, ScriptedBackend() as other, pool_to(one.url, other.url) as pool:
        for _ in range(10):
            await fetch(pool)
        assert (len(one.requests), len(other.requests)) == (5, 5)
        assert (len(one.connections), len(other.connections)) == (1, 1)


async def test_an_idle_connection_makes_room_for_another_upstream() -> None:
    async with (
        ScriptedBackend() as one,
        ScriptedBackend() as other,
        pool_to(one.url, other.url, limits={"max_connections": 1}) as pool,
    ):
        for _ in range(4):
            assert await fetch(pool) == (200, b"ok")
        assert (len(one.requests), len(other.requests)) == (2, 2)
        assert state(pool) == (0, 0, 0, 1, 0, 1)
        assert len(one.connections) + len(other.connections) == 4


async def test_an_upstream_that_is_down_takes_no_slot_from_the_other() -> None:
    async with ScriptedBackend() as down:
        url = down.url
    async with ScriptedBackend() as up, pool_to(url, up.url, limits={"max_connections": 2}) as pool:
        outcomes = await asyncio.gather(*(fetch(pool) for _ in range(20)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {tuple, ConnectFailed}
        assert outcomes.count((200, b"ok")) >= 5
        assert state(pool).at_rest


async def test_who_wants_a_rested_connection_gets_a_new_one_when_the_idle_one_is_too_old(
    backend: ScriptedBackend,
) -> None:
    async with pool_to(backend.url, limits={"max_connections": 2}) as pool:
        await fetch(pool)
        await asyncio.sleep(0.1)
        connection = await pool.acquire(rested=0.05)
        assert connection.served == 0
        pool.give_back(connection)
        connection = await pool.acquire(rested=10.0)
        assert connection.served == 1
        pool.give_back(connection)


async def test_a_connection_that_is_too_old_for_its_user_makes_room_at_the_limit(
    backend: ScriptedBackend,
) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        await fetch(pool)
        await asyncio.sleep(0.1)
        connection = await asyncio.wait_for(pool.acquire(rested=0.05), 1)
        assert connection.served == 0
        pool.give_back(connection)
        assert state(pool).at_rest


async def test_an_idle_connection_is_not_used_after_its_expiry(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"keepalive_expiry": 0.1}) as pool:
        await fetch(pool)
        await asyncio.sleep(0.15)
        await fetch(pool)
        assert len(backend.connections) == 2


async def test_idle_connections_are_closed_after_their_expiry(backend: ScriptedBackend) -> None:
    backend.default(delay(0.02), respond(200))
    async with pool_to(backend.url, limits={"keepalive_expiry": 0.1}) as pool:
        await asyncio.gather(*(fetch(pool) for _ in range(3)))
        assert state(pool).idle == 3
        for connection in backend.connections:
            await connection.closed_by_peer.wait(2)
        assert state(pool) == (0, 0, 0, 0, 0, 50)


async def test_no_more_idle_connections_than_wanted_are_kept(backend: ScriptedBackend) -> None:
    backend.default(delay(0.02), respond(200))
    async with pool_to(backend.url, limits={"max_keepalive_connections": 2}) as pool:
        await asyncio.gather(*(fetch(pool) for _ in range(6)))
        await eventually(lambda: state(pool).idle == 2)
        await asyncio.sleep(0.05)
        assert state(pool) == (0, 0, 0, 2, 0, 50)
        assert await fetch(pool) == (200, b"")


# ------------------------------------------------------------------ connections that end by themselves


@pytest.mark.parametrize("by_reset", [False, True])
async def test_an_idle_connection_that_the_backend_closed_is_not_used(
    backend: ScriptedBackend, by_reset: bool
) -> None:
    async with pool_to(backend.url) as pool:
        await fetch(pool)
        assert await backend.close_idle(reset=by_reset) == 1
        assert await fetch(pool) == (200, b"ok")
        assert len(backend.connections) == 2
        assert state(pool) == (0, 0, 0, 1, 0, 50)


async def test_the_end_of_an_idle_connection_is_seen_before_the_loop_has_seen_it() -> None:
    listener = await asyncio.get_running_loop().run_in_executor(None, _blocking_listener)
    with listener, suppress(GatewayError):
        async with pool_to(f"http://127.0.0.1:{listener.getsockname()[1]}") as pool:
            connection = await pool.acquire()
            accepted, _ = listener.accept()
            connection.begin(request(), complete=True)
            await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            accepted.recv(1000)
            accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await connection.head()
            pool.give_back(connection)
            assert state(pool).idle == 1
            await asyncio.sleep(2 * FRESH)
            accepted.close()
            # No step of the loop between the two: only asking the kernel tells.
            assert connection.is_stale(asyncio.get_running_loop().time())
            acquiring = pool.acquire()
            listener.settimeout(2)
            fresh = await acquiring
            assert fresh is not connection
            pool.give_back(fresh)


def _blocking_listener() -> "socket.socket":
    return socket.create_server(("127.0.0.1", 0))


async def test_bytes_on_an_idle_connection_end_it() -> None:
    gate = asyncio.Event()
    unasked = send(b"HTTP/1.1 200 OK\r\n\r\n")
    async with (
        ScriptedBackend(respond(200, b"ok"), wait(gate), unasked) as backend,
        pool_to(backend.url) as pool,
    ):
        await fetch(pool)
        assert state(pool).idle == 1
        gate.set()
        await eventually(lambda: state(pool).idle == 0)
        backend.default(respond(200, b"mine"))
        assert await fetch(pool) == (200, b"mine")
        assert state(pool) == (0, 0, 0, 1, 0, 50)


async def test_a_connection_that_ends_between_hand_over_and_use_has_sent_nothing(
    backend: ScriptedBackend,
) -> None:
    async with pool_to(backend.url) as pool:
        await fetch(pool)
        connection = await pool.acquire()
        await backend.close_idle()
        await eventually(lambda: connection.closed)
        connection.begin(request(), complete=True)
        with pytest.raises(UpstreamClosed) as raised:
            await connection.head()
        assert not raised.value.sent
        pool.give_back(connection)
        assert state(pool) == (0, 0, 0, 0, 0, 50)
        assert await fetch(pool) == (200, b"ok")


async def test_a_waiter_is_not_handed_a_connection_that_has_ended(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        await fetch(pool)
        held = await pool.acquire()
        waiting = asyncio.create_task(fetch(pool))
        await eventually(lambda: state(pool).queued == 1)
        await backend.close_idle()
        await eventually(lambda: held.closed)
        pool.give_back(held)
        assert await asyncio.wait_for(waiting, 2) == (200, b"ok")
        assert state(pool) == (0, 0, 0, 1, 0, 1)


# ------------------------------------------------------------------ the end


async def test_closing_refuses_those_who_wait_and_fails_those_under_way() -> None:
    async with (
        ScriptedBackend(hang()) as backend,
        pool_to(backend.url, limits={"max_connections": 1}) as pool,
    ):
        under_way = asyncio.create_task(fetch(pool))
        await backend.wait_for_request()
        waiting = asyncio.create_task(fetch(pool))
        await eventually(lambda: state(pool).queued == 1)
        await pool.close()
        outcomes = await asyncio.wait_for(asyncio.gather(under_way, waiting, return_exceptions=True), 1)
        assert isinstance(outcomes[0], GatewayError)
        assert isinstance(outcomes[1], Draining)
        assert state(pool) == (0, 0, 0, 0, 0, 1)
        with pytest.raises(Draining):
            await pool.acquire()


async def test_closing_never_makes_a_cut_body_look_complete() -> None:
    half = send(render_head(200) + b"half")
    async with ScriptedBackend(half, hang()) as backend, pool_to(backend.url) as pool:
        connection = await pool.acquire()
        connection.begin(request(), complete=True)
        await connection.head()
        assert await connection.read() == b"half"
        await pool.close()
        with pytest.raises(GatewayError):
            await connection.read()
        pool.give_back(connection)


async def test_closing_ends_the_connections_that_are_being_opened(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url) as pool:
        opening = [asyncio.create_task(pool.acquire()) for _ in range(5)]
        await asyncio.sleep(0)
        assert state(pool).opening == 5
        await pool.close()
        outcomes = await asyncio.gather(*opening, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Draining] * 5
        assert state(pool) == (0, 0, 0, 0, 0, 50)
        for connection in backend.connections:
            await connection.closed_by_peer.wait()


async def test_a_connection_comes_back_once(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url) as pool:
        connection = await pool.acquire()
        pool.give_back(connection)
        with pytest.raises(KeyError):
            pool.give_back(connection)
        assert state(pool).at_rest


async def test_a_large_body_that_nobody_takes_does_not_pile_up() -> None:
    async with ScriptedBackend(respond(200, Filler(64 << 20))) as backend, pool_to(backend.url) as pool:
        connection: UpstreamConnection = await pool.acquire()
        connection.begin(request(), complete=True)
        await connection.head()
        await asyncio.sleep(0.3)
        assert len(connection.take()) < 512 << 10
        pool.give_back(connection)
        assert state(pool).at_rest
