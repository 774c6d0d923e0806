"""The pool's promises: its limits hold, nothing leaks, and no request waits in vain."""

import asyncio
import random
import socket
import time
from collections.abc import Callable, Coroutine

import httpx
import pytest

from coregateway.model.errors import ConnectFailed, ConnectTimeout, Draining, GatewayError, UpstreamClosed
from coregateway.testing import (
    PATIENCE,
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
)
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.httpx_transport import PoolTransport
from coregateway.upstream.pool import Pool
from tests.upstream.pools import (
    LATE,
    descriptors,
    descriptors_at_rest,
    fetch,
    pool_to,
    read_all,
    request,
    state,
)
from tests.waiting import eventually

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
    connection = await pool.acquire_connection()
    try:
        await asyncio.sleep(random.random() * 0.003)
    finally:
        connection.endpoint.release(connection)


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


async def test_no_connect_is_under_way_once_a_pool_is_closed() -> None:
    tasks_before = asyncio.all_tasks()
    async with (
        ScriptedBackend(accepting=False) as one,
        ScriptedBackend(accepting=False) as other,
        pool_to(one.url, other.url) as pool,
    ):
        asked = asyncio.create_task(fetch(pool))
        await eventually(lambda: state(pool).opening == 1)
        asked.cancel()  # its connect goes on behind it
        await asyncio.wait([asked])
        assert state(pool).opening == 1
        await pool.close()
        assert state(pool).opening == 0
        assert asyncio.all_tasks() <= tasks_before


async def test_what_is_handed_to_a_waiter_that_was_just_cancelled_goes_to_the_next(
    backend: ScriptedBackend,
) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        held = await pool.acquire_connection()
        first = asyncio.create_task(pool.acquire_connection())
        second = asyncio.create_task(fetch(pool))
        await eventually(lambda: state(pool).queued == 2)
        held.begin(request(), complete=True)
        await held.head()
        await read_all(held)
        held.endpoint.release(held)  # hands it to the first …
        first.cancel()  # … who does not want it any more
        assert await asyncio.wait_for(second, PATIENCE) == (200, b"ok")
        assert first.cancelled()
        assert state(pool) == (0, 0, 0, 1, 0, 1)
        assert len(backend.connections) == 1


async def test_a_slot_that_falls_free_for_a_waiter_that_was_just_cancelled_goes_to_the_next(
    backend: ScriptedBackend,
) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        held = await pool.acquire_connection()
        first = asyncio.create_task(pool.acquire_connection())
        second = asyncio.create_task(fetch(pool))
        await eventually(lambda: state(pool).queued == 2)
        held.endpoint.release(held)  # unused, hence closed: its slot goes to the first
        first.cancel()
        assert await asyncio.wait_for(second, PATIENCE) == (200, b"ok")
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


# ------------------------------------------------------------------ opening connections


async def test_a_refused_connection_is_told_at_once() -> None:
    async with ScriptedBackend() as backend:
        url = backend.url
    async with pool_to(url) as pool:
        started = time.monotonic()
        with pytest.raises(ConnectFailed) as raised:
            await pool.acquire_connection()
        assert time.monotonic() - started < LATE
        assert raised.value.upstream == url.removeprefix("http://")
        assert not raised.value.sent
        assert state(pool).at_rest


async def test_an_unknown_host_is_a_failed_connect() -> None:
    async with pool_to("http://no-such-host.invalid:80") as pool:
        with pytest.raises(ConnectFailed):
            await pool.acquire_connection()
        assert state(pool).at_rest


async def test_a_backend_that_does_not_accept_is_given_up_in_time() -> None:
    async with (
        ScriptedBackend(accepting=False) as backend,
        pool_to(backend.url, limits={"max_connections": 1}, timeouts={"connect": 0.2}) as pool,
    ):
        started = time.monotonic()
        with pytest.raises(ConnectTimeout) as raised:
            await pool.acquire_connection()
        assert 0.19 <= time.monotonic() - started < LATE
        assert not raised.value.sent
        assert state(pool) == (0, 0, 0, 0, 0, 1)


async def test_a_failed_connect_lets_the_next_in_line_try() -> None:
    async with ScriptedBackend() as backend:
        url = backend.url
    async with pool_to(url, limits={"max_connections": 1}) as pool:
        outcomes = await asyncio.wait_for(
            asyncio.gather(*(fetch(pool) for _ in range(10)), return_exceptions=True), PATIENCE
        )
        assert [type(outcome) for outcome in outcomes] == [ConnectFailed] * 10
        assert state(pool).at_rest


async def test_an_upstream_is_found_by_its_name() -> None:
    async with ScriptedBackend() as backend, pool_to(f"http://localhost:{backend.port}") as pool:
        assert await fetch(pool) == (200, b"ok")


# ------------------------------------------------------------------ several upstreams


async def test_endpoints_take_turns() -> None:
    async with ScriptedBackend() as one, ScriptedBackend() as other, pool_to(one.url, other.url) as pool:
        for _ in range(10):
            await fetch(pool)
        assert (len(one.requests), len(other.requests)) == (5, 5)
        assert (len(one.connections), len(other.connections)) == (1, 1)


async def test_each_endpoint_has_connections_of_its_own_up_to_the_limit() -> None:
    async with (
        ScriptedBackend(delay(0.01), respond(200, b"ok")) as one,
        ScriptedBackend(delay(0.01), respond(200, b"ok")) as other,
        pool_to(one.url, other.url, limits={"max_connections": 2, "max_keepalive_connections": 1}) as pool,
    ):
        asked = [asyncio.create_task(fetch(pool)) for _ in range(20)]
        await eventually(lambda: state(pool).busy == 4)
        assert state(pool) == (4, 16, 4, 0, 0, 2)
        assert [endpoint.active for endpoint in pool.endpoints] == [2, 2]
        assert await asyncio.gather(*asked) == [(200, b"ok")] * 20
        assert (len(one.connections), len(other.connections)) == (2, 2)
        await eventually(lambda: [endpoint.idle for endpoint in pool.endpoints] == [1, 1])


@pytest.mark.parametrize("stuck", [0, 1])
async def test_requests_pass_over_an_endpoint_whose_connections_are_all_stuck(stuck: int) -> None:
    async with ScriptedBackend() as one, ScriptedBackend() as other:
        both = (one, other)
        both[stuck].default(hang())
        async with pool_to(one.url, other.url, limits={"max_connections": 2}) as pool:
            hanging = [asyncio.create_task(fetch(pool)) for _ in range(4)]
            await eventually(lambda: pool.endpoints[stuck].active == 2 and pool.endpoints[1 - stuck].idle > 0)
            for _ in range(10):
                assert await asyncio.wait_for(fetch(pool), PATIENCE) == (200, b"ok")
            assert len(both[stuck].requests) == 2
            for one_of_them in hanging:
                one_of_them.cancel()
            await asyncio.wait(hanging)


@pytest.mark.parametrize("free", [0, 1])
@pytest.mark.parametrize("kept", [True, False])
async def test_what_falls_free_at_any_endpoint_serves_the_first_in_the_queue(free: int, kept: bool) -> None:
    async with (
        ScriptedBackend() as one,
        ScriptedBackend() as other,
        pool_to(one.url, other.url, limits={"max_connections": 1}) as pool,
    ):
        held = [await pool.acquire_connection() for _ in range(2)]
        held.sort(key=lambda connection: connection.endpoint is pool.endpoints[1])
        waiting = asyncio.create_task(fetch(pool, "/queued"))
        await eventually(lambda: state(pool).queued == 1)
        if kept:
            held[free].begin(request("/first"), complete=True)
            await held[free].head()
            await read_all(held[free])
        held[free].endpoint.release(held[free])  # without an exchange it is closed, and leaves its slot
        assert await asyncio.wait_for(waiting, PATIENCE) == (200, b"ok")
        assert [seen.path for seen in (one, other)[free].requests] == [b"/first"] * kept + [b"/queued"]
        assert not (one, other)[1 - free].requests
        held[1 - free].endpoint.release(held[1 - free])
        assert state(pool).at_rest


async def test_an_upstream_that_is_down_takes_no_slot_from_the_other(down: str) -> None:
    async with ScriptedBackend() as up, pool_to(down, up.url, limits={"max_connections": 2}) as pool:
        outcomes = await asyncio.gather(*(fetch(pool) for _ in range(20)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {tuple, ConnectFailed}
        assert outcomes.count((200, b"ok")) >= 18, "the queue was emptied into the one that is down"
        assert state(pool).at_rest


async def test_a_queue_for_endpoints_that_are_all_down_does_not_wait_in_vain(down: str) -> None:
    with socket.socket() as another:
        another.bind(("127.0.0.1", 0))
        urls = (down, f"http://127.0.0.1:{another.getsockname()[1]}")  # bound, and not listening
        async with pool_to(*urls, limits={"max_connections": 1}) as pool:
            outcomes = await asyncio.wait_for(
                asyncio.gather(*(fetch(pool) for _ in range(10)), return_exceptions=True), PATIENCE
            )
            assert [type(outcome) for outcome in outcomes] == [ConnectFailed] * 10
            assert state(pool).at_rest


async def test_a_request_goes_where_it_was_not_before_and_waits_for_room_there() -> None:
    async with (
        ScriptedBackend() as one,
        ScriptedBackend() as other,
        pool_to(one.url, other.url, limits={"max_connections": 1}) as pool,
    ):
        first, second = (endpoint.name for endpoint in pool.endpoints)
        for tried, expected in (([first], 1), ([second], 0), ([first], 1)):
            connection = await pool.acquire_connection(tried=tried)
            assert connection.endpoint is pool.endpoints[expected]
            connection.endpoint.release(connection)
        held = await pool.acquire_connection(tried=[first])
        waiting = asyncio.create_task(pool.acquire_connection(tried=[first]))
        await eventually(lambda: state(pool).queued == 1)
        held.endpoint.release(held)
        connection = await asyncio.wait_for(waiting, PATIENCE)
        assert connection.endpoint is pool.endpoints[1]
        connection.endpoint.release(connection)
        connection = await pool.acquire_connection(tried=[first, second])  # there is no other
        connection.endpoint.release(connection)


# ------------------------------------------------------------------ connections that end by themselves


async def test_a_connection_that_ends_between_hand_over_and_use_has_sent_nothing(
    backend: ScriptedBackend,
) -> None:
    async with pool_to(backend.url) as pool:
        await fetch(pool)
        connection = await pool.acquire_connection()
        await backend.close_idle()
        await eventually(lambda: connection.closed)
        connection.begin(request(), complete=True)
        with pytest.raises(UpstreamClosed) as raised:
            await connection.head()
        assert not raised.value.sent
        connection.endpoint.release(connection)
        assert state(pool) == (0, 0, 0, 0, 0, 50)
        assert await fetch(pool) == (200, b"ok")


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
        outcomes = await asyncio.wait_for(
            asyncio.gather(under_way, waiting, return_exceptions=True), PATIENCE
        )
        assert isinstance(outcomes[0], GatewayError)
        assert isinstance(outcomes[1], Draining)
        assert state(pool) == (0, 0, 0, 0, 0, 1)
        with pytest.raises(Draining):
            await pool.acquire_connection()


async def test_closing_never_makes_a_cut_body_look_complete() -> None:
    half = send(render_head(200) + b"half")
    async with ScriptedBackend(half, hang()) as backend, pool_to(backend.url) as pool:
        connection = await pool.acquire_connection()
        connection.begin(request(), complete=True)
        await connection.head()
        assert await connection.read() == b"half"
        await pool.close()
        with pytest.raises(GatewayError):
            await connection.read()
        connection.endpoint.release(connection)


async def test_closing_ends_the_connections_that_are_being_opened(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url) as pool:
        opening = [asyncio.create_task(pool.acquire_connection()) for _ in range(5)]
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
        connection = await pool.acquire_connection()
        connection.endpoint.release(connection)
        with pytest.raises(KeyError):
            connection.endpoint.release(connection)
        assert state(pool).at_rest


async def test_a_large_body_that_nobody_takes_does_not_pile_up() -> None:
    async with ScriptedBackend(respond(200, Filler(64 << 20))) as backend, pool_to(backend.url) as pool:
        connection: UpstreamConnection = await pool.acquire_connection()
        connection.begin(request(), complete=True)
        await connection.head()
        await asyncio.sleep(0.3)
        assert len(connection.take()) < 512 << 10
        connection.endpoint.release(connection)
        assert state(pool).at_rest
