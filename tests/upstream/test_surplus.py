"""What happens to bytes that no request asked for: they are nobody's answer, they are told, and for a while
their upstream's connections serve one request each."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf

import httpx
import pytest

from coregateway.model.errors import GatewayError, UpstreamClosed
from coregateway.proxy.retry import REPLAYABLE
from coregateway.testing import ScriptedBackend, render_head, respond, send
from coregateway.upstream import connection as connection_module
from coregateway.upstream.connection import FRESH, LOOKED_AT_ONCE, UpstreamConnection
from coregateway.upstream.endpoint import Endpoint
from coregateway.upstream.endpoint_health import DISTRUST, EndpointHealth
from coregateway.upstream.httpx_transport import PoolTransport
from coregateway.upstream.pool import Pool
from coregateway.upstream.wait_queue import Waiter
from tests import certificates
from tests.stage import TRANSPORTS
from tests.upstream.pools import fetch, pool_to, read_all, request, state
from tests.waiting import eventually

OK = render_head(200, [("Content-Length", "2")]) + b"ok"
POISON = render_head(200, [("Content-Length", "6")]) + b"poison"
SURPLUSES = [
    pytest.param(POISON, id="response"),
    pytest.param(b"\r\n", id="line end"),
    pytest.param(b"\0", id="byte"),
    pytest.param(render_head(408, [("Connection", "close"), ("Content-Length", "0")]), id="408"),
]
ONE = {"max_connections": 1}


class Puppet:
    """A backend without a task: it moves when the test does, between two steps of the loop."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: it speaks TLS."""
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(5)
        self._accepted: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self._listener.getsockname()[1]}"

    async def wait(self) -> socket.socket:
        """The next connection; over TLS, when the handshake is complete."""
        return await asyncio.to_thread(self._accept)

    def _accept(self) -> socket.socket:
        accepted, _ = self._listener.accept()
        accepted.settimeout(5)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            accepted = self._tls.wrap_socket(accepted, server_side=True)
        self._accepted.append(accepted)
        return accepted

    def close(self) -> None:
        for each in (self._listener, *self._accepted):
            each.close()


def speaking_tls() -> ssl.SSLContext:
    return certificates.serving(certificates.issued("127.0.0.1"))


@pytest.fixture(params=TRANSPORTS)
def puppet(request: pytest.FixtureRequest) -> Iterator[Puppet]:
    puppet = Puppet(None if request.param == "clear" else speaking_tls())
    yield puppet
    puppet.close()


async def served_once(pool: Pool, puppet: Puppet) -> tuple[UpstreamConnection, socket.socket]:
    """A connection that has just brought its first answer, and the backend's end of it."""
    connection, backend = await asyncio.gather(pool.acquire_connection(), puppet.wait())
    connection.begin(request("/first"), complete=True)
    await asyncio.sleep(0)
    assert await asyncio.to_thread(backend.recv, 1000)
    backend.sendall(OK)
    await connection.head()
    assert await read_all(connection) == b"ok"
    return connection, backend


def all_that_came(backend: socket.socket) -> bytes:
    """Up to the end of the connection, by FIN or RST."""
    data = b""
    with suppress(ConnectionError, ssl.SSLZeroReturnError):
        while more := backend.recv(65_536):
            data += more
    return data


def poison(backend: socket.socket) -> None:
    backend.sendall(POISON)


def end(backend: socket.socket) -> None:
    if isinstance(backend, ssl.SSLSocket):
        backend.setblocking(False)
        with suppress(ssl.SSLWantReadError):  # the peer's own end is not awaited
            backend.unwrap()
        backend.settimeout(5)
    else:
        backend.shutdown(socket.SHUT_WR)


class AtOnce(Waiter):
    """Waits in the queue without a task, and sends its request as soon as it has a connection."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.connection: UpstreamConnection | None = None

    def done(self) -> bool:
        return self.connection is not None

    def take_connection(self, connection: UpstreamConnection) -> None:
        self._pool.leave_queue()
        self.connection = connection
        connection.begin(request("/second"), complete=True)

    def take_slot(self, endpoint: Endpoint) -> None:
        raise AssertionError(endpoint)

    def refuse(self, error: GatewayError) -> None:
        raise AssertionError(error)


type Reuse = Callable[[Pool, UpstreamConnection, Callable[[], None]], "asyncio.Future[UpstreamConnection]"]
"""Gives a connection back, lets the backend act, and sends another request on it, in one step of the loop."""


def _ready(connection: UpstreamConnection) -> "asyncio.Future[UpstreamConnection]":
    future: asyncio.Future[UpstreamConnection] = asyncio.get_running_loop().create_future()
    future.set_result(connection)
    return future


def taken(
    pool: Pool, connection: UpstreamConnection, act: Callable[[], None]
) -> "asyncio.Future[UpstreamConnection]":
    connection.endpoint.release(connection)
    act()
    assert pool.take_idle_connection() is connection
    connection.begin(request("/second"), complete=True)
    return _ready(connection)


def taken_for_an_upload(
    pool: Pool, connection: UpstreamConnection, act: Callable[[], None]
) -> "asyncio.Future[UpstreamConnection]":
    connection.endpoint.release(connection)
    act()
    assert pool.take_idle_connection() is connection
    connection.begin(request("/second", "PUT", "Content-Length: 9") + b"half", complete=False)
    assert connection.error is not None
    return _ready(connection)


def taken_for_a_long_request(
    pool: Pool, connection: UpstreamConnection, act: Callable[[], None]
) -> "asyncio.Future[UpstreamConnection]":
    connection.endpoint.release(connection)
    act()
    again = pool.take_idle_connection()
    assert again is connection
    length = f"Content-Length: {REPLAYABLE + 1}"
    connection.begin(request("/second", "PUT", length) + bytes(REPLAYABLE + 1), complete=True)
    assert connection.error is not None
    return _ready(connection)


def handed_over(
    pool: Pool, connection: UpstreamConnection, act: Callable[[], None]
) -> "asyncio.Future[UpstreamConnection]":
    waiter = AtOnce(pool)
    pool.join_queue(waiter, asyncio.get_running_loop().time(), 5.0)
    act()
    connection.endpoint.release(connection)
    assert waiter.connection is connection
    return _ready(connection)


def acquired(
    pool: Pool, connection: UpstreamConnection, act: Callable[[], None]
) -> "asyncio.Future[UpstreamConnection]":
    connection.endpoint.release(connection)
    act()
    with pytest.raises(StopIteration) as ended:
        pool.acquire_connection().send(None)  # nothing to wait for
    assert ended.value.value is connection
    connection.begin(request("/second"), complete=True)
    return _ready(connection)


def acquired_in_the_queue(
    pool: Pool, connection: UpstreamConnection, act: Callable[[], None]
) -> "asyncio.Future[UpstreamConnection]":
    async def use() -> UpstreamConnection:
        again = await pool.acquire_connection()
        again.begin(request("/second"), complete=True)
        return again

    async def give_back() -> UpstreamConnection:
        waiting = asyncio.ensure_future(use())
        await eventually(lambda: state(pool).queued == 1)
        act()
        connection.endpoint.release(connection)
        return await waiting

    return asyncio.ensure_future(give_back())


REUSES = [
    taken,
    taken_for_an_upload,
    taken_for_a_long_request,
    handed_over,
    acquired,
    acquired_in_the_queue,
]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a step of the test takes, a connection that was given back in it is not looked at."""
    monkeypatch.setattr(connection_module, "FRESH", inf)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("reuse", REUSES)
@pytest.mark.parametrize("surplus", SURPLUSES)
async def test_no_request_leaves_on_a_connection_with_bytes_to_read(
    reuse: Reuse, surplus: bytes, puppet: Puppet
) -> None:
    async with pool_to(puppet.url, limits=ONE) as pool:
        connection, backend = await served_once(pool, puppet)
        again = await reuse(pool, connection, lambda: backend.sendall(surplus))
        with pytest.raises(UpstreamClosed) as raised:
            await again.head()
        assert (raised.value.sent, raised.value.reused) == (False, True)
        again.endpoint.release(again)
        assert await asyncio.to_thread(all_that_came, backend) == b""
        assert pool.surpluses == 1
        assert state(pool) == (0, 0, 0, 0, 0, 1)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("reuse", REUSES)
@pytest.mark.parametrize("by_reset", [False, True])
async def test_an_end_that_is_met_before_a_request_leaves_is_no_surplus(
    reuse: Reuse, by_reset: bool, puppet: Puppet
) -> None:
    def act() -> None:
        if by_reset:
            backend.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            backend.close()
        else:
            end(backend)

    async with pool_to(puppet.url, limits=ONE) as pool:
        connection, backend = await served_once(pool, puppet)
        again = await reuse(pool, connection, act)
        with pytest.raises(UpstreamClosed) as raised:
            await again.head()
        assert (raised.value.sent, raised.value.reused) == (False, True)
        again.endpoint.release(again)
        assert pool.surpluses == 0
        assert pool.endpoints[0].health.failures == 0
        assert state(pool) == (0, 0, 0, 0, 0, 1)


@pytest.mark.parametrize("puppet", ["tls"], indirect=True)
async def test_no_request_leaves_behind_an_end_that_has_come_with_the_answer_before_it(
    puppet: Puppet,
) -> None:
    """Over TLS: its close_notify is in the process by then, and the kernel knows of no end."""
    async with pool_to(puppet.url, limits=ONE) as pool:
        connection, backend = await served_once(pool, puppet)
        connection.begin(request("/first"), complete=True)
        await asyncio.sleep(0)
        assert await asyncio.to_thread(backend.recv, 1000)
        waiter = AtOnce(pool)
        pool.join_queue(waiter, asyncio.get_running_loop().time(), 5.0)

        def give_back() -> None:
            assert connection.take() == b"ok"
            connection.endpoint.release(connection)

        connection.when_answered(give_back)
        backend.sendall(OK)
        end(backend)
        await eventually(lambda: waiter.connection is not None)
        assert waiter.connection is connection
        with pytest.raises(UpstreamClosed) as raised:
            await connection.head()
        assert (raised.value.sent, raised.value.reused) == (False, True)
        connection.endpoint.release(connection)
        assert await asyncio.to_thread(all_that_came, backend) == b""
        assert pool.surpluses == 0


async def test_bytes_that_are_read_before_the_request_has_left_are_no_answer(puppet: Puppet) -> None:
    async with pool_to(puppet.url) as pool:
        connection, backend = await served_once(pool, puppet)
        connection.endpoint.release(connection)
        again = await pool.acquire_connection()
        again.begin(request("/second"), complete=True)
        again.data_received(POISON)  # as the loop does that had it among the events of this turn
        with pytest.raises(UpstreamClosed) as raised:
            await again.head()
        assert not raised.value.sent
        again.endpoint.release(again)
        assert await asyncio.to_thread(all_that_came, backend) == b""
        assert pool.surpluses == 1


async def test_a_connection_that_has_nothing_to_read_is_used_again(puppet: Puppet) -> None:
    async with pool_to(puppet.url, limits=ONE) as pool:
        for reuse in (taken, handed_over, acquired, acquired_in_the_queue):
            connection, backend = await served_once(pool, puppet)
            again = await reuse(pool, connection, lambda: None)
            assert again is connection
            await asyncio.sleep(0)
            assert (await asyncio.to_thread(backend.recv, 1000)).startswith(b"GET /second ")
            backend.sendall(OK)
            assert (await again.head()).status == 200
            end(backend)
            await eventually(lambda again=again: again.closed)
            again.endpoint.release(again)
        assert pool.surpluses == 0


def test_a_request_that_is_not_kept_for_another_try_is_looked_for_at_once() -> None:
    assert LOOKED_AT_ONCE <= REPLAYABLE


async def test_a_connection_that_rested_is_passed_over_without_an_attempt(puppet: Puppet) -> None:
    async with pool_to(puppet.url) as pool:
        connection, backend = await served_once(pool, puppet)
        connection.endpoint.release(connection)
        connection.idle_since -= 2 * FRESH
        backend.sendall(POISON)
        assert pool.take_idle_connection() is None
        assert pool.surpluses == 1
        assert state(pool) == (0, 0, 0, 0, 0, 50)


# ------------------------------------------------------------------ one kind, however it comes

HEAD_WITH_BODY = render_head(200, [("Content-Length", "2")]) + b"ok"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        pytest.param("GET", OK + POISON, id="behind a length"),
        pytest.param("GET", render_head(200, [("Content-Length", "1")]) + b"ok", id="longer than its length"),
        pytest.param("GET", render_head(204) + b"ok", id="behind a 204"),
        pytest.param("GET", render_head(304) + b"ok", id="behind a 304"),
        pytest.param("HEAD", HEAD_WITH_BODY, id="a body for HEAD"),
        pytest.param(
            "GET",
            render_head(200, [("Transfer-Encoding", "chunked")]) + b"0\r\n\r\n" + POISON,
            id="behind the last chunk",
        ),
    ],
)
async def test_bytes_in_the_same_read_as_the_end_of_a_response_are_a_surplus(
    method: str, answer: bytes
) -> None:
    async with ScriptedBackend(send(answer)) as backend, pool_to(backend.url) as pool:
        await fetch(pool, "/", method)
        assert pool.surpluses == 1
        assert state(pool) == (0, 0, 0, 0, 0, 50)


async def test_bytes_on_a_connection_at_rest_are_a_surplus(puppet: Puppet) -> None:
    async with pool_to(puppet.url) as pool:
        connection, backend = await served_once(pool, puppet)
        connection.endpoint.release(connection)
        backend.sendall(POISON)
        await eventually(lambda: pool.surpluses == 1)
        await eventually(lambda: connection.closed)
        assert state(pool) == (0, 0, 0, 0, 0, 50)
        assert not pool.ended_ages


async def test_bytes_behind_a_response_that_was_not_given_back_yet_are_a_surplus(puppet: Puppet) -> None:
    async with pool_to(puppet.url) as pool:
        connection, backend = await served_once(pool, puppet)
        backend.sendall(POISON)
        await eventually(lambda: connection.has_surplus)
        connection.endpoint.release(connection)
        assert pool.surpluses == 1


@pytest.mark.parametrize("surplus", SURPLUSES)
@pytest.mark.parametrize("puppet", ["clear"], indirect=True)
async def test_bytes_behind_a_body_that_passed_inside_the_kernel_are_a_surplus(
    surplus: bytes, puppet: Puppet
) -> None:
    async with pool_to(puppet.url, limits=ONE) as pool:
        connection, backend = await asyncio.gather(pool.acquire_connection(), puppet.wait())
        connection.begin(request(), complete=True)
        await asyncio.sleep(0)
        assert await asyncio.to_thread(backend.recv, 1000)
        backend.sendall(render_head(200, [("Content-Length", "8")]))
        await connection.head()
        connection.lend(lambda: None)
        backend.sendall(b"the rest" + surplus)
        with socket.socket(fileno=connection.descriptor) as borrowed:
            assert await asyncio.to_thread(_receive, borrowed, 8) == b"the rest"
            borrowed.detach()
        connection.passed(8)
        assert connection.complete
        again = await handed_over(pool, connection, lambda: None)
        with pytest.raises(UpstreamClosed) as raised:
            await again.head()
        assert not raised.value.sent
        again.endpoint.release(again)
        assert pool.surpluses == 1


def _receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        with suppress(BlockingIOError):
            data += sock.recv(size - len(data))
    return data


# ------------------------------------------------------------------ what follows


async def test_after_a_surplus_each_connection_serves_one_request_for_a_while(
    backend: ScriptedBackend,
) -> None:
    async with pool_to(backend.url) as pool:
        backend.once(send(OK + POISON))
        for _ in range(4):
            assert (await fetch(pool))[0] == 200
        assert [len(connection.requests) for connection in backend.connections] == [1] * 4
        pool.endpoints[0].health.distrusted_until = 0.0  # the time has passed
        for _ in range(4):
            assert await fetch(pool) == (200, b"ok")
        assert [len(connection.requests) for connection in backend.connections] == [1, 1, 1, 1, 4]


async def test_in_the_queue_too_each_connection_serves_one_request_then(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url, limits={"max_connections": 2}) as pool:
        backend.once(send(OK + POISON))
        assert await fetch(pool) == (200, b"ok")
        assert await asyncio.gather(*(fetch(pool) for _ in range(20))) == [(200, b"ok")] * 20
        assert {len(connection.requests) for connection in backend.connections} == {1}
        assert state(pool) == (0, 0, 0, 0, 0, 2)


async def test_a_surplus_ends_the_idle_and_the_busy_connections_of_its_endpoint_alone(
    backend: ScriptedBackend,
) -> None:
    async with ScriptedBackend() as other, pool_to(backend.url, other.url) as pool:
        held = [await pool.acquire_connection() for _ in range(6)]  # three to each
        for connection in held:
            connection.begin(request(), complete=True)
        for connection in held:
            await connection.head()
            await read_all(connection)
        mine = [connection for connection in held if connection.endpoint is pool.endpoints[0]]
        for connection in held:
            if connection is not mine[0]:
                connection.endpoint.release(connection)
        assert state(pool).idle == 5
        mine[0].endpoint.distrust()
        assert state(pool).idle == 3
        assert not pool.endpoints[0].idle
        mine[0].endpoint.release(mine[0])
        assert state(pool).idle == 3
        assert [endpoint.health.surpluses for endpoint in pool.endpoints] == [1, 0]


async def test_what_was_handed_over_before_a_surplus_to_a_waiter_that_has_left_is_not_used_again(
    backend: ScriptedBackend,
) -> None:
    async with pool_to(backend.url, limits=ONE) as pool:
        held = await pool.acquire_connection()
        waiting = asyncio.create_task(pool.acquire_connection())
        await eventually(lambda: state(pool).queued == 1)
        held.begin(request(), complete=True)
        await held.head()
        await read_all(held)
        held.endpoint.release(held)
        held.endpoint.distrust()
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        assert state(pool) == (0, 0, 0, 0, 0, 1)


def test_distrust_lasts_from_the_last_surplus_on() -> None:
    health = EndpointHealth()
    health.distrust(100.0)
    health.distrust(104.0)
    assert (health.surpluses, health.distrusted_until) == (2, 104.0 + DISTRUST)
    assert DISTRUST == 10.0


# ------------------------------------------------------------------ the httpx face


@pytest.mark.parametrize("content", [b"", b"body"])
@pytest.mark.parametrize("act", [poison, end])
async def test_a_client_s_request_goes_to_a_new_connection_when_the_idle_one_is_unfit(
    act: Callable[[socket.socket], None], content: bytes, puppet: Puppet
) -> None:
    async with pool_to(puppet.url) as pool:
        connection, old = await served_once(pool, puppet)
        connection.endpoint.release(connection)
        client = httpx.AsyncClient(transport=PoolTransport(pool), base_url="http://backend", trust_env=False)
        act(old)
        connection.idle_since = (
            asyncio.get_running_loop().time() + 60
        )  # too young to be looked at when chosen
        asked = asyncio.create_task(client.post("/second", content=content))
        new = await puppet.wait()
        head = await asyncio.to_thread(new.recv, 1000)
        assert head.startswith(b"POST /second ")
        while not head.endswith(b"\r\n\r\n" + content):
            head += await asyncio.to_thread(new.recv, 1000)
        new.sendall(OK)
        assert (await asked).content == b"ok"
        assert await asyncio.to_thread(all_that_came, old) == b""


async def test_what_a_client_has_sent_is_not_sent_again_by_its_transport(backend: ScriptedBackend) -> None:
    async with pool_to(backend.url) as pool:
        await fetch(pool)
        backend.on("/second", lambda exchange: exchange.close())
        backend.default(respond(200))
        client = httpx.AsyncClient(transport=PoolTransport(pool), base_url="http://backend", trust_env=False)
        with pytest.raises(httpx.ReadError):
            await client.get("/second")
        assert [request.path for request in backend.requests] == [b"/", b"/second"]
