"""The promises of idle connections: used while they are fit, closed when not, and seldom too many."""

import asyncio
import socket
from contextlib import suppress

import pytest

from coregateway.model.errors import GatewayError
from coregateway.testing import PATIENCE, ScriptedBackend, delay, respond, send, wait
from coregateway.upstream.connection import FRESH
from tests.upstream.pools import fetch, pool_to, request, state
from tests.waiting import eventually


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


async def test_a_new_connection_is_opened_when_the_idle_one_is_too_old_for_its_user(
    backend: ScriptedBackend,
) -> None:
    async with pool_to(backend.url, limits={"max_connections": 2}) as pool:
        await fetch(pool)
        await asyncio.sleep(0.1)
        connection = await pool.acquire_connection(rested=0.05)
        assert connection.served == 0
        connection.endpoint.release(connection)
        connection = await pool.acquire_connection(rested=10.0)
        assert connection.served == 1
        connection.endpoint.release(connection)


async def test_a_connection_that_is_too_old_for_its_user_makes_room_at_the_limit(
    backend: ScriptedBackend,
) -> None:
    async with pool_to(backend.url, limits={"max_connections": 1}) as pool:
        await fetch(pool)
        await asyncio.sleep(0.1)
        connection = await asyncio.wait_for(pool.acquire_connection(rested=0.05), PATIENCE)
        assert connection.served == 0
        connection.endpoint.release(connection)
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
        assert len(backend.connections) == 3
        for connection in backend.connections:
            assert await connection.closed_by_peer.wait() - connection.writes[-1].time >= 0.09
        assert state(pool) == (0, 0, 0, 0, 0, 50)


async def test_no_more_idle_connections_than_wanted_are_kept(backend: ScriptedBackend) -> None:
    backend.default(delay(0.02), respond(200))
    async with pool_to(backend.url, limits={"max_keepalive_connections": 2}) as pool:
        await asyncio.gather(*(fetch(pool) for _ in range(6)))
        await eventually(lambda: state(pool).idle == 2)
        await asyncio.sleep(0.05)
        assert state(pool) == (0, 0, 0, 2, 0, 50)
        assert await fetch(pool) == (200, b"")


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
            connection = await pool.acquire_connection()
            accepted, _ = listener.accept()
            connection.begin(request(), complete=True)
            await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            accepted.recv(1000)
            accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await connection.head()
            connection.endpoint.release(connection)
            assert state(pool).idle == 1
            await asyncio.sleep(2 * FRESH)
            accepted.close()
            # No step of the loop between the two: only asking the kernel tells.
            assert connection.is_stale(asyncio.get_running_loop().time())
            acquiring = pool.acquire_connection()
            listener.settimeout(2)
            fresh = await acquiring
            assert fresh is not connection
            fresh.endpoint.release(fresh)


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


async def test_connections_that_end_together_tell_one_age(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url) as pool:
        await asyncio.gather(*(fetch(pool) for _ in range(3)))
        await asyncio.sleep(0.1)
        assert await backend.close_idle() == 3
        await eventually(lambda: pool.is_empty)
        (age,) = pool.ended_ages
        assert 0.08 < age < 2.0


async def test_connections_that_the_pool_ends_tell_none(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"keepalive_expiry": 0.01}) as pool:
        await fetch(pool)
        await eventually(lambda: pool.is_empty)
        assert not pool.ended_ages
