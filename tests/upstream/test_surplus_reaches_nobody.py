"""A backend that sends bytes which no request asked for, and clients who must never get them for an answer.

Bytes that are on their way while the next request is, too, cannot be told from its answer by anybody. So the
backend looks: where a request had come when its surplus was out, the two have crossed; it says so, and ends
the connection.
"""

import asyncio
import re
import select
import socket
from collections.abc import AsyncIterator, Coroutine, Generator
from contextlib import AsyncExitStack, contextmanager, suppress
from math import inf
from typing import NamedTuple, Self

import pytest
import pytest_asyncio

from coregateway.testing import GatewayProcess, RawClient, free_port
from tests.observability.metrics.scraping import until

_TARGET = re.compile(rb"[A-Z]+ ([^ ]+) HTTP/1\.1\r\n")


def _answer(content: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


class Shifting:
    """Answers each request with its path, and adds an answer that nobody asked for, after `pause` seconds.

    Of `limit` surpluses at most.
    """

    def __init__(self, *, pause: float = 0.0, limit: float = inf) -> None:
        self.crossed: set[bytes] = set()
        """Paths of requests that had come when a surplus was out."""
        self.served: list[int] = []
        """How many requests each connection brought."""
        self.surpluses = 0
        self._out = asyncio.Event()
        self._pause = pause
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._spawn(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listener.close()

    async def surplus_is_out(self) -> None:
        """Wait until the surplus behind the last answer is out, if there is one."""
        await self._out.wait()

    @contextmanager
    def _told(self) -> Generator[None]:
        """Whatever becomes of a connection, nobody waits for what it does not bring any more."""
        try:
            yield
        finally:
            self._out.set()

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        self._tasks.add(asyncio.create_task(coroutine))

    async def _accept(self) -> None:
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.served.append(0)
            self._spawn(self._serve(sock, len(self.served) - 1))

    async def _serve(self, sock: socket.socket, number: int) -> None:
        loop = asyncio.get_running_loop()
        with sock, suppress(ConnectionError), self._told():
            while path := await _path(sock):
                self.served[number] += 1
                self._out.clear()
                await loop.sock_sendall(sock, _answer(path))
                if self._pause:
                    await asyncio.sleep(self._pause)
                if self.surpluses < self._limit and not _readable(sock):
                    self.surpluses += 1
                    await loop.sock_sendall(sock, _answer(b"surplus behind " + path))
                    if _readable(sock):
                        self.crossed.add(await _path(sock))
                        return
                self._out.set()


def _readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


async def _path(sock: socket.socket) -> bytes:
    """The path of the next request, empty at the end."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = await asyncio.get_running_loop().sock_recv(sock, 65_536)
        if not data:
            return b""
        head += data
    match = _TARGET.match(head)
    assert match is not None
    return match[1]


PAUSES = (0.0, 0.001, 0.002, 0.004, 0.008)
METHODS = ("GET", "POST")


class Running(NamedTuple):
    """A gateway with two connections to each backend, and backends by their names in its settings."""

    gateway: GatewayProcess
    admin: int
    backends: dict[str, Shifting]

    async def ask(self, client: RawClient, path: str, method: str = "GET") -> bytes:
        """The content of the answer to one request, which must be a 200."""
        length = "Content-Length: 0\r\n" if method == "POST" else ""
        await client.send(f"{method} {path} HTTP/1.1\r\nHost: gw\r\n{length}\r\n".encode())
        response = await client.read_response()
        assert response.status == 200
        return response.body


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="running")
async def fixture_running() -> AsyncIterator[Running]:
    shifting = {
        f"after{number}-{method.lower()}": Shifting(pause=pause)
        for number, pause in enumerate(PAUSES)
        for method in METHODS
    }
    backends = shifting | {"line": Shifting(), "once": Shifting(limit=1)}
    admin = free_port()
    async with AsyncExitStack() as stack:
        rows = ""
        for name, backend in backends.items():
            await stack.enter_async_context(backend)
            rows += f'[backends.{name}]\nprefix = "/{name}"\nurls = ["{backend.url}"]\n'
        toml = f'[admin]\naddress = "127.0.0.1:{admin}"\n[limits]\nmax_connections = 2\n{rows}'
        yield Running(await stack.enter_async_context(GatewayProcess(toml=toml)), admin, backends)


pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("surplus")]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("after", range(len(PAUSES)))
async def test_a_surplus_that_is_out_before_the_next_request_never_answers_it(
    after: int, method: str, running: Running
) -> None:
    name = f"after{after}-{method.lower()}"
    backend = running.backends[name]
    async with RawClient(running.gateway.address) as client:
        for number in range(30):
            assert await running.ask(client, f"/{name}/{number}", method) == b"/%d" % number
            await backend.surplus_is_out()
    assert backend.surpluses
    assert backend.served == [1] * 30


async def test_clients_in_line_get_their_own_answers(running: Running) -> None:
    backend = running.backends["line"]
    wrong: set[bytes] = set()

    async def ask_on(client_number: int) -> None:
        async with RawClient(running.gateway.address, within=30.0) as client:
            for number in range(20):
                path = f"/{client_number}-{number}"
                if await running.ask(client, f"/line{path}") != path.encode():
                    wrong.add(path.encode())

    await asyncio.gather(*map(ask_on, range(12)))
    assert wrong <= backend.crossed
    assert backend.surpluses


async def test_a_surplus_is_told_and_counted_and_ends_the_reuse_of_connections(
    running: Running,
) -> None:
    backend = running.backends["once"]
    async with RawClient(running.gateway.address) as client:
        await running.ask(client, "/once/a")
        await backend.surplus_is_out()
        for _ in range(3):
            await running.ask(client, "/once/b")
    assert backend.served == [1, 1, 1, 1]
    await until(running.admin, lambda scrape: scrape.value("upstream_surplus_total", backend="once") == 1)
    line = await running.gateway.wait_for_line(event="diagnosis.surplus", backend="once", within=30.0)
    assert (line["level"], line["upstream"], line["connections"]) == ("WARNING", backend.url, 1)
    assert (
        f"backend once sent bytes that no request asked for on 1 connection ({backend.url})"
        in line["message"]
    )
