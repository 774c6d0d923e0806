"""Backends learn what the prober has found: addresses of names, and results of checks."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from coregateway.model.errors import ConnectFailed, GatewayError, NameUnresolved, NoUpstream
from coregateway.net.worker_io import WorkerIO
from coregateway.prober.knowledge import Hosts, Knowledge, Known
from coregateway.prober.standing import Standing
from coregateway.settings import BackendSettings, LimitSettings, TimeoutSettings
from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.publication import SIZE, Publication
from coregateway.testing import ScriptedBackend
from coregateway.upstream.backend import Backend
from coregateway.upstream.following import Following
from coregateway.upstream.opening import open_backend
from tests.upstream.pools import eventually, fetch

NAME = "http://name.test:{port}"


class Prober:
    """Writes down what it is told that it has found."""

    def __init__(self) -> None:
        self.publication = Publication(SharedMemory(SIZE), 0)

    def finds(
        self,
        url: str,
        *hosts: str,
        state: str = "known",
        fixed: bool = False,
        down: Sequence[str] = (),
    ) -> None:
        found: tuple[Hosts, ...] | None = None if fixed else tuple((host,) for host in hosts)
        standings = {host: Standing("down" if host in down else "up", reason="a reason") for host in hosts}
        knowledge = Knowledge([Known("b", url, found, state, standings=standings)])
        self.publication.write(knowledge.encoded(), news=True)


@pytest.fixture(name="prober")
def fixture_prober() -> Prober:
    return Prober()


class Followed:
    """A backend that follows a prober, with `timeouts.connect` of a second."""

    def __init__(self, io: WorkerIO, prober: Prober) -> None:
        self._io = io
        self._following = Following(prober.publication, asyncio.get_running_loop())
        self._backend: Backend | None = None

    def at(self, *urls: str, connect: float = 1.0) -> Backend:
        row = BackendSettings(prefix="/b", urls=urls, timeouts=TimeoutSettings(connect=connect))
        self._backend = open_backend(self._io, "b", row, LimitSettings())
        self._following.follow({"b": self._backend}, {"b": row.urls}, probed=True)
        return self._backend

    async def close(self) -> None:
        self._following.stop()
        if self._backend is not None:
            await self._backend.close()


@pytest.fixture(name="followed")
async def fixture_followed(io: WorkerIO, prober: Prober) -> AsyncIterator[Followed]:
    followed = Followed(io, prober)
    yield followed
    await followed.close()


def names(backend: Backend) -> list[str]:
    return [endpoint.name for endpoint in backend.pool.endpoints]


async def test_every_address_of_a_name_is_an_endpoint(prober: Prober, followed: Followed) -> None:
    url = NAME.format(port=80)
    prober.finds(url, "192.0.2.1", "2001:db8::1")
    backend = followed.at(url)
    assert names(backend) == ["192.0.2.1:80", "[2001:db8::1]:80"]
    assert {endpoint.authority for endpoint in backend.pool.endpoints} == {b"name.test:80"}


async def test_a_request_waits_for_the_first_address(
    prober: Prober, followed: Followed, backend: ScriptedBackend
) -> None:
    url = NAME.format(port=backend.port)
    pool = followed.at(url, connect=30.0).pool
    waiting = asyncio.create_task(fetch(pool))
    await eventually(lambda: pool.queued == 1)
    prober.finds(url, "127.0.0.1")
    assert await waiting == (200, b"ok")


async def test_a_request_waits_no_longer_than_a_connect(followed: Followed) -> None:
    pool = followed.at(NAME.format(port=80), connect=0.05).pool
    with pytest.raises(NameUnresolved) as caught:
        await fetch(pool)
    assert (caught.value.status, caught.value.cause) == (ConnectFailed.status, ConnectFailed.cause)
    assert pool.is_empty


@pytest.mark.parametrize(("state", "error"), [("failing", NameUnresolved), ("lost", NoUpstream)])
async def test_a_name_without_an_address_fails_at_once(
    prober: Prober, followed: Followed, state: str, error: type[GatewayError]
) -> None:
    url = NAME.format(port=80)
    pool = followed.at(url, connect=30.0).pool
    waiting = asyncio.create_task(fetch(pool))
    await eventually(lambda: pool.queued == 1)
    prober.finds(url, state=state)
    with pytest.raises(error):
        await waiting
    with pytest.raises(error):
        await fetch(pool)


async def test_a_fixed_address_beside_a_name_needs_no_answer(
    followed: Followed, backend: ScriptedBackend
) -> None:
    pool = followed.at(NAME.format(port=80), backend.url).pool
    assert (await fetch(pool))[0] == 200


async def test_a_name_that_moves_keeps_what_is_under_way_and_closes_what_is_idle(
    prober: Prober, followed: Followed, backend: ScriptedBackend
) -> None:
    async with ScriptedBackend(host="127.0.0.2", port=backend.port) as other:
        url = NAME.format(port=backend.port)
        prober.finds(url, "127.0.0.1")
        followed_backend = followed.at(url)
        pool = followed_backend.pool
        idle, busy = await pool.acquire_connection(), await pool.acquire_connection()
        for connection in (idle, busy):
            connection.begin(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", complete=True)
            await connection.head()
        await idle.read()
        idle.endpoint.release(idle)
        prober.finds(url, "127.0.0.2")
        await eventually(lambda: names(followed_backend) == [f"127.0.0.2:{backend.port}"])
        await eventually(lambda: sum(each.closed for each in backend.connections) == 1)
        assert await fetch(pool) == (200, b"ok")
        assert len(other.requests) == 1
        assert await busy.read() == b"ok"
        busy.endpoint.release(busy)
        await eventually(lambda: all(each.closed for each in backend.connections))


async def test_a_check_that_fails_takes_an_endpoint_out_and_one_that_passes_brings_it_back(
    prober: Prober, followed: Followed
) -> None:
    url = NAME.format(port=80)
    prober.finds(url, "192.0.2.1", "192.0.2.2", down=["192.0.2.2"])
    first, second = followed.at(url).pool.endpoints
    assert (first.eligible, second.eligible) == (True, False)
    assert second.health.check_reason == "a reason"
    prober.finds(url, "192.0.2.1", "192.0.2.2", down=["192.0.2.1"])
    await eventually(lambda: second.eligible)
    assert not first.eligible


async def test_what_is_known_stays_while_the_prober_is_writing(prober: Prober, followed: Followed) -> None:
    url = NAME.format(port=80)
    prober.finds(url, "192.0.2.1")
    backend = followed.at(url)
    publication = prober.publication
    for buffer in publication._bytes:  # pyright: ignore[reportPrivateUsage] -- as in the middle of two writes
        buffer[:1] = b"x"
    publication._numbers[1] += 1  # pyright: ignore[reportPrivateUsage]
    assert publication.read() == b""
    await asyncio.sleep(0.12)
    assert names(backend) == ["192.0.2.1:80"]
    prober.finds(url, "192.0.2.2")
    await eventually(lambda: names(backend) == ["192.0.2.2:80"])


async def test_a_check_at_a_fixed_address_counts(prober: Prober, followed: Followed) -> None:
    url = "http://192.0.2.1:80"
    prober.finds(url, "192.0.2.1", fixed=True, down=["192.0.2.1"])
    first, second = followed.at(url, "http://192.0.2.2:80").pool.endpoints
    assert (first.eligible, second.eligible) == (False, True)


async def test_what_is_no_longer_checked_is_no_longer_down(prober: Prober, followed: Followed) -> None:
    url = "http://192.0.2.1:80"
    prober.finds(url, "192.0.2.1", fixed=True, down=["192.0.2.1"])
    first, _ = followed.at(url, "http://192.0.2.2:80").pool.endpoints
    assert not first.eligible
    prober.finds(url, fixed=True)
    await eventually(lambda: first.eligible)


async def test_localhost_is_one_endpoint_which_tries_each_address(followed: Followed) -> None:
    async with ScriptedBackend() as four:
        pool = followed.at(f"http://localhost:{four.port}").pool
        assert await fetch(pool) == (200, b"ok")
        [endpoint] = pool.endpoints
        assert (endpoint.name, endpoint.health.failures) == (f"localhost:{four.port}", 0)


async def test_localhost_prefers_the_address_that_has_taken_a_connection(followed: Followed) -> None:
    tried: list[str] = []
    async with ScriptedBackend(host="127.0.0.2") as backend:
        pool = followed.at(f"http://localhost:{backend.port}").pool
        [endpoint] = pool.endpoints
        endpoint.dialer.hosts = ("127.0.0.1", "127.0.0.2")  # ::1 is not everywhere
        for _ in range(2):
            connection = await pool.acquire_connection()
            tried.append(endpoint.dialer.hosts[0])
            connection.abort()
            endpoint.release(connection)
        assert tried == ["127.0.0.2", "127.0.0.2"]
        assert endpoint.health.failures == 0
