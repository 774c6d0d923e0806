"""A request is served through any transport: in the clear, over TLS, and through one that changes all bytes
on their way, of which nothing else is known."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, override

import pytest

from coregateway.downstream.connection import ClientConnection
from coregateway.downstream.states import State
from coregateway.model.exchange import Exchange
from coregateway.net.plain_transport import PlainTransport
from coregateway.net.splice import WORTH
from coregateway.net.tls_transport import TlsTransport
from coregateway.net.transport import Receiver, Transport
from coregateway.net.worker_io import WorkerIO
from coregateway.proxy.exchange_events import ExchangeEvents
from coregateway.proxy.policies import plan_of
from coregateway.proxy.worker import Worker
from coregateway.settings.model import BackendSettings, Settings
from coregateway.testing import Filler, RawClient, ScriptedBackend, respond
from coregateway.upstream.opening import open_backend
from tests.net.wire import TLS_1_3, connect
from tests.waiting import eventually

MASK = bytes(byte ^ 0x55 for byte in range(256))
"""Veils a byte, and unveils it."""

UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
KEY = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


class VeiledTransport(Transport):
    """Changes every byte, so that one that is written past it arrives as another."""

    def __init__(self, io: WorkerIO, sock: socket.socket) -> None:
        self.descriptor = -1
        self.watched = sock.fileno()
        self.events = 0
        self._loop = io.loop
        self._sock = sock
        self._receiver: Receiver | None = None
        self._unsent = b""
        self._reads = self._discards = self._ends = self._closing = self._lost = False

    @override
    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.resume_reading()

    @override
    def pause_reading(self) -> None:
        if self._reads and not self._discards:
            self._reads = False
            self._loop.remove_reader(self._sock)

    @override
    def resume_reading(self) -> None:
        if not (self._reads or self._closing):
            self._reads = True
            self._loop.add_reader(self._sock, self.catch_up)

    @override
    def stream(self) -> None:
        pass

    @override
    def discard(self) -> None:
        self._discards = True
        self.resume_reading()

    @override
    def catch_up(self) -> None:
        try:
            data = self._sock.recv(65_536)
        except BlockingIOError:
            return
        receiver = self._receiver
        assert receiver is not None
        if data and not self._discards:
            receiver.data_received(data.translate(MASK))
        elif not data and receiver.eof_received():
            self.pause_reading()
        elif not data:
            self.close()

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not (self._closing or self._ends):
            blocked = bool(self._unsent)
            self._unsent += bytes(data).translate(MASK)
            if not blocked:
                self._send()
                if self._unsent and self._receiver is not None:
                    self._loop.add_writer(self._sock, self._send_on)
                    self._receiver.pause_writing()

    @override
    def writelines(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(pieces))

    def _send(self) -> None:
        with suppress(BlockingIOError):
            self._unsent = self._unsent[self._sock.send(self._unsent) :]

    def _send_on(self) -> None:
        self._send()
        if not self._unsent:
            self._loop.remove_writer(self._sock)
            if self._ends:
                self._sock.shutdown(socket.SHUT_WR)
            if self._receiver is not None:
                self._receiver.resume_writing()
            if self._closing:
                self.abort()

    @override
    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    @override
    def write_eof(self) -> None:
        self._ends = True
        if not self._unsent:
            self._sock.shutdown(socket.SHUT_WR)

    @override
    def close(self) -> None:
        if not self._closing:
            self.pause_reading()
            self._closing = True
            if self._receiver is not None:
                self._receiver.closing = True
            if not self._unsent:
                self.abort()

    @override
    def abort(self) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._loop.call_soon(self._end)

    def _end(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.connection_lost(None)
        self._sock.close()

    @override
    def is_closing(self) -> bool:
        return self._closing

    @override
    def get_extra_info(self, name: str, default: object = None) -> Any:
        return self._sock if name == "socket" else default


class VeiledClient(RawClient):
    """Speaks with a `VeiledTransport`."""

    @override
    async def send(self, data: bytes | Iterable[bytes], *, within: float | None = None) -> None:
        pieces = [data] if isinstance(data, bytes) else data
        await super().send([piece.translate(MASK) for piece in pieces], within=within)

    @override
    async def _fill(self, within: float | None, limit: int = 65_536) -> None:
        before, self._unread = self._unread, b""
        await super()._fill(within, limit)
        self._unread = before + self._unread.translate(MASK)


class Way(NamedTuple):
    """How bytes pass between a client and the gateway."""

    name: str
    transport: Callable[[WorkerIO, socket.socket], Transport]
    client: Callable[[tuple[str, int]], RawClient]


WAYS = (
    Way("clear", PlainTransport, RawClient),
    Way("tls", TLS_1_3.transport, TLS_1_3.client),
    Way("veiled", VeiledTransport, VeiledClient),
)
NAMES = [way.name for way in WAYS]


class Scene:
    """A worker that forwards the requests of one client to a backend."""

    def __init__(self, url: str, way: Way) -> None:
        self._way = way
        self.io = WorkerIO(asyncio.get_running_loop())
        settings = Settings(backends={"b": BackendSettings(prefix="/b", urls=(url,))})
        self.backend = open_backend(self.io, "b", settings.backends["b"], settings.limits)
        self.ended: list[Exchange] = []
        events = ExchangeEvents()
        events.on_end = self.ended.append
        self.worker = Worker(plan_of(settings, {"b": self.backend}), events)
        self.worker.open(self.io)
        self.transport: Transport
        self.connection: ClientConnection
        self.client: RawClient

    async def open(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = self._way.client(listener.getsockname())
            await connect(self.client, listener, self._serve)

    def _serve(self, sock: socket.socket) -> None:
        self.transport = transport = self._way.transport(self.io, sock)
        secured = transport if isinstance(transport, TlsTransport) else None
        self.connection = ClientConnection(self.worker, transport, "127.0.0.1", secured)

    async def taken(self, size: int) -> bytes:
        """So many bytes behind each other, or all until the end."""
        data = b""
        while len(data) < size and (more := await self.client.receive(size - len(data))):
            data += more
        return data

    async def close(self) -> None:
        self.connection.abort()
        await self.backend.close()
        self.client.close()
        self.io.close()
        for _ in range(3):
            await asyncio.sleep(0)


@asynccontextmanager
async def opened(url: str, way: Way) -> AsyncGenerator[Scene]:
    scene = Scene(url, way)
    await scene.open()
    try:
        yield scene
    finally:
        await scene.close()


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend() as backend:
        yield backend


@pytest.fixture(params=WAYS, ids=NAMES)
async def scene(backend: ScriptedBackend, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    async with opened(backend.url, request.param) as scene:
        yield scene


async def test_small_requests_are_answered_without_a_task(scene: Scene, backend: ScriptedBackend) -> None:
    backend.on("/a", respond(200, b"answer"))
    for number in range(3):
        await scene.client.send(b"GET /b/a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await scene.client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await scene.taken(6) == b"answer"
        assert scene.connection.task_runs is (number == 0)  # the first has to open a connection
        scene.connection.task_runs = False
    assert [exchange.status for exchange in scene.ended] == [200] * 3
    assert scene.connection.state is State.IDLE


async def test_a_large_response_arrives_whole_behind_a_slow_client(
    scene: Scene, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 8 * WORTH
    backend.on("/a", respond(200, Filler(size)))
    lent: list[object] = []
    lend = scene.io.pipes.lend_pipe
    monkeypatch.setattr(type(scene.io.pipes), "lend_pipe", lambda _: lent.append(1) or lend())  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType] -- the pipes
    await scene.client.send(b"GET /b/a HTTP/1.1\r\nHost: a\r\n\r\n")
    await scene.client.read_until(b"\r\n\r\n")
    await asyncio.sleep(0.1)  # what the kernels hold is full by now
    assert hashlib.sha256(await scene.taken(size)).hexdigest() == Filler(size).sha256
    assert bool(lent) is (scene.transport.descriptor >= 0)


@pytest.mark.parametrize("framing", [b"Content-Length: 300000", b"Transfer-Encoding: chunked"])
async def test_a_body_in_pieces_is_streamed_upwards(
    scene: Scene, backend: ScriptedBackend, framing: bytes
) -> None:
    backend.on("/a", respond(200, b"done"))
    content = b"x" * 300_000
    await scene.client.send(b"POST /b/a HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % framing)
    for at in range(0, 300_000, 50_000):
        piece = content[at : at + 50_000]
        await scene.client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if b"chunked" in framing else piece)
    if b"chunked" in framing:
        await scene.client.send(b"0\r\n\r\n")
    await scene.client.read_until(b"\r\n\r\n")
    assert await scene.taken(4) == b"done"
    assert backend.requests[-1].body == content


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A backend that agrees to speak WebSocket, and sends back whatever comes."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + UPGRADE + b"\r\nhello")
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
async def test_a_tunnel_passes_bytes_both_ways(way: Way) -> None:
    async with (
        await asyncio.start_server(echo, "127.0.0.1", 0) as server,
        opened("http://{}:{}".format(*server.sockets[0].getsockname()), way) as scene,
    ):
        await scene.client.send(b"GET /b/a HTTP/1.1\r\nHost: a\r\n" + UPGRADE + KEY + b"\r\n")
        assert b" 101 " in await scene.client.read_until(b"\r\n\r\n")
        assert await scene.taken(5) == b"hello"
        for data in (b"one", b"two" * 100_000):
            sending = asyncio.create_task(scene.client.send(data))
            assert await scene.taken(len(data)) == data
            await sending
        scene.client.half_close()
        assert await scene.taken(1) == b""


async def test_a_connection_that_the_gateway_ends_lingers_until_the_client_ends(
    scene: Scene, backend: ScriptedBackend
) -> None:
    await scene.client.send(b"GET /b/a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert (await scene.client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    connection: Any = scene.connection  # whose state changes meanwhile
    assert connection.state is State.LINGERING
    await scene.client.send(b"more")
    await scene.client.read_until_closed()
    assert not scene.client.reset_by_peer
    scene.client.half_close()
    await eventually(lambda: connection.closing and connection.worker.clients == 0)
    assert backend.requests == []
