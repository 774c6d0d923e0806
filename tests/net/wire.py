"""A transport over a real connection, and the client at its other end: in the clear or over TLS."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, NamedTuple, cast

from coregateway.net.plain_transport import PlainTransport
from coregateway.net.tls_codec import RECORD
from coregateway.net.tls_server import Pair, ServerTls, ServerTlsOptions
from coregateway.net.tls_transport import TlsTransport
from coregateway.net.worker_io import WorkerIO
from coregateway.testing import Filler, RawClient, TlsRawClient
from tests import certificates
from tests.waiting import eventually

BODY = b"".join(Filler(1 << 20))


class Kind(NamedTuple):
    """One kind of transport."""

    name: str
    version: ssl.TLSVersion | None
    """None: in the clear."""

    @property
    def slack(self) -> int:
        """Bytes by which a read may bring more or less than it is allowed: a record comes as a whole."""
        return 0 if self.version is None else RECORD

    def transport(self, io: WorkerIO, sock: socket.socket) -> PlainTransport:
        return (
            PlainTransport(io, sock) if self.version is None else TlsTransport(io, sock, server=server_tls())
        )

    def client(self, address: tuple[str, int]) -> RawClient:
        if self.version is None:
            return RawClient(address)
        context = certificates.trusting()
        context.maximum_version = self.version
        return TlsRawClient(address, context)


CLEAR = Kind("clear", None)
TLS_1_2 = Kind("tls-1.2", ssl.TLSVersion.TLSv1_2)
TLS_1_3 = Kind("tls-1.3", ssl.TLSVersion.TLSv1_3)
KINDS = (CLEAR, TLS_1_2, TLS_1_3)


@cache
def server_tls() -> ServerTls:
    """What the tests' port speaks TLS by."""
    return ServerTls(ServerTlsOptions((Pair(certificates.pair_file("localhost"), ""),), "none", "", "1.2"))


class Told:
    """A receiver that notes what it is told."""

    def __init__(self) -> None:
        self.reads: list[bytes] = []
        self.events: list[object] = []
        self.stays = False
        """Whether it keeps the connection when the client has ended its half."""
        self.closing = False
        self.on_data: Callable[[], object] = lambda: None

    def data_received(self, data: bytes) -> None:
        self.reads.append(data)
        self.on_data()

    def eof_received(self) -> bool:
        self.events.append("eof")
        return self.stays

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(type(exc) if exc else "lost")

    @property
    def received(self) -> bytes:
        return b"".join(self.reads)


class Wire:
    """A transport that has started."""

    def __init__(self, io: WorkerIO, transport: PlainTransport, client: RawClient, told: Told) -> None:
        self.io = io
        self.transport = transport
        self.client = client
        self.told = told

    async def taken(self, size: int) -> bytes:
        """What the client receives: so many bytes, or all until the end."""
        pieces: list[bytes] = []
        while size > 0 and (data := await self.client.receive(min(size, 65_536))):
            pieces.append(data)
            size -= len(data)
        return b"".join(pieces)

    async def wait_told(self, *events: object) -> None:
        """Wait for these, and no others."""
        await eventually(lambda: len(self.told.events) >= len(events))
        await asyncio.sleep(0.01)
        assert self.told.events == list(events)

    def stall(self) -> bytes:
        """Write more than the kernel takes; returns it."""
        data = BODY * 8
        self.transport.write(data)
        assert self.transport.get_write_buffer_size() > 0
        return data


async def connect(
    client: RawClient, listener: socket.socket, serve: Callable[[socket.socket], object]
) -> None:
    """Have a client connect, and shake hands with what `serve` makes of the accepted socket."""
    listener.setblocking(False)
    entering = asyncio.ensure_future(client.__aenter__())
    sock, _ = await asyncio.get_running_loop().sock_accept(listener)
    sock.setblocking(False)
    serve(sock)
    await entering


@asynccontextmanager
async def wire(
    kind: Kind, client_for: Callable[[tuple[str, int]], RawClient] | None = None
) -> AsyncGenerator[Wire]:
    """A connection whose handshake is complete at both ends, and on which nothing lies unread.

    `client_for`: makes the client for an address, if that is not to be the one of the kind.
    """
    io = WorkerIO(asyncio.get_running_loop())
    told = Told()
    transports: list[PlainTransport] = []

    def serve(sock: socket.socket) -> None:
        transports.append(kind.transport(io, sock))
        transports[0].start(cast(Any, told))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = (client_for or kind.client)(listener.getsockname())
        await connect(client, listener, serve)
    there = Wire(io, transports[0], client, told)
    try:
        await client.send(b"?")
        await eventually(lambda: told.reads)
        told.reads.clear()
        there.transport.write(b"!")
        assert await there.taken(1) == b"!"
        yield there
    finally:
        there.transport.abort()
        await asyncio.sleep(0)  # the last call of an aborted transport
        io.close()
        client.close()
