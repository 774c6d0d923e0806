"""A worker's memory: at rest, while large bodies pass through it, and while nobody takes them.

`python -m tests.test_memory 1024` passes as many MiB each way and prints what it saw, then the same for 500
readers and 500 uploads that have come to a stop.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import cast

import pytest

from coregateway.testing import Filler, GatewayProcess, ScriptedBackend, respond
from coregateway.testing.queues import Queues, kernel_queues

MIB = 1024 * 1024
AT_REST = 80 * MIB
"""Of these 13 are sanic-ext's, and 5 the machine code's."""
GROWTH = 24 * MIB
STALLED = 500
EACH = 64 * 1024
"""Bytes that one of them may cost a worker, on average: what it has read and the kernel has not taken yet.
It costs some 45 KiB, and 28 where the source writes large pieces."""
IN_FLIGHT = 256 * 1024
UNSENT = 512 * 1024
"""Bytes that the kernel may keep of what the gateway has written; without a limit it takes 4 MiB."""
KERNEL = 32 * 1024
"""Bytes of each buffer of the kernel at either end. By default the kernel takes megabytes from each source,
1.7 GiB in all: with so much it drops segments of all connections of the machine (`tcp_mem` in tcp(7))."""
PAGE = os.sysconf("SC_PAGE_SIZE")
UNLIMITED = {"COREGATEWAY_LIMITS__REQUEST__MAX_BODY": "0"}
PATIENT = UNLIMITED | {
    "COREGATEWAY_LIMITS__MAX_CONNECTIONS": str(2 * STALLED),  # half of them may carry uploads
    "COREGATEWAY_TIMEOUTS__CLIENT": "60",
    "COREGATEWAY_TIMEOUTS__READ": "60",
    "COREGATEWAY_TIMEOUTS__WRITE": "60",
}
ENDLESS = {
    "length": (b"Content-Length: 999999999999", b"x" * 65_536),
    "chunked": (b"Transfer-Encoding: chunked", b"10000\r\n%b\r\n" % (b"x" * 65_536)),
    "websocket": (b"Connection: Upgrade\r\nUpgrade: websocket", b"x" * 65_536),
}
"""What frames a body without end, and a piece of it."""
HANDSHAKE = b"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"


async def test_a_worker_at_rest_is_small_and_bodies_do_not_make_it_grow() -> None:
    at_rest, download, upload = await figures(256 * MIB)
    assert at_rest < AT_REST
    assert download < GROWTH
    assert upload < GROWTH


@pytest.mark.parametrize("uploads", [False, True], ids=["readers", "uploads"])
async def test_exchanges_that_stall_cost_little_and_pause_their_source(uploads: bool) -> None:
    growth, in_flight, unsent = await stalled(uploads=uploads)
    assert growth < STALLED * EACH
    assert in_flight <= IN_FLIGHT
    assert unsent <= UNSENT


class End(asyncio.Protocol):
    """One end of an exchange. It takes nothing but the head, and gives whatever it is told to."""

    def __init__(self, ends: dict[bytes, "End"], *, gives: bool) -> None:
        self._ends = ends
        self._gives = gives
        self._piece = b""
        self._full = False
        self._written = 0
        self.taken = 0

    @property
    def given(self) -> int:
        """Bytes that the kernel has got."""
        return self._written - self.transport.get_write_buffer_size()

    @property
    def ports(self) -> tuple[int, int]:
        """The port of this side and that of the other."""
        return self.transport.get_extra_info("sockname")[1], self.transport.get_extra_info("peername")[1]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=0)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, KERNEL)

    def data_received(self, data: bytes) -> None:
        """The head of a request: the last segment of its path tells which one."""
        self.taken += len(data)
        self.transport.pause_reading()
        path = data.split(b" ", 2)[1]
        self._ends[path] = self
        if self._gives:
            kind = path.split(b"/")[1].decode()
            framing, piece = ENDLESS[kind]
            status = 101 if kind == "websocket" else 200
            self.give(b"HTTP/1.1 %d OK\r\n%b\r\n\r\n" % (status, framing), piece)

    def give(self, head: bytes, piece: bytes) -> None:
        """A head, then a piece again and again."""
        self.transport.write(head)
        self._written = len(head)
        self._piece = piece
        self._give_on()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._give_on()

    def _give_on(self) -> None:
        while self._piece and not self._full and not self.transport.is_closing():
            self._written += len(self._piece)
            self.transport.write(self._piece)


async def stalled(*, uploads: bool) -> tuple[int, int, int]:
    """By how many bytes a worker grows with `STALLED` exchanges whose end takes nothing, of all framings (and
    tunnels); the most bytes of one exchange that are in the worker itself, and that the kernel keeps of what
    it has written."""
    loop = asyncio.get_running_loop()
    backends: dict[bytes, End] = {}
    clients: dict[bytes, End] = {}
    server = await loop.create_server(lambda: End(backends, gives=not uploads), "127.0.0.1", 0, backlog=1024)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    kinds = ("length", "chunked") if uploads else ("length", "chunked", "websocket")

    async def begin(number: int) -> None:
        kind = kinds[number % len(kinds)]
        _, client = await loop.create_connection(lambda: End({}, gives=False), *gateway.address)
        client.transport.pause_reading()
        path = f"/{kind}/{number}".encode()
        clients[path] = client
        head = b"%b /api/v1/coredinator%b HTTP/1.1\r\nHost: a\r\n" % (b"POST" if uploads else b"GET", path)
        framing, piece = ENDLESS[kind]
        if uploads:
            client.give(head + framing + b"\r\n\r\n", piece)
        elif kind == "websocket":
            client.give(head + framing + HANDSHAKE, b"")
        else:
            client.give(head + b"\r\n", b"")

    async def all_of_them() -> None:
        await asyncio.gather(*(begin(number) for number in range(STALLED)))
        given, before = 0, -1
        while len(backends) < STALLED or given != before:
            await asyncio.sleep(0.3)
            given, before = sum(end.given for end in (*clients.values(), *backends.values())), given

    async with server, GatewayProcess(backends={"coredinator": url}, env=PATIENT) as gateway:
        try:
            worker = worker_of(gateway)
            at_rest = memory(worker)
            growth = await highest(worker, all_of_them()) - at_rest
            queues = kernel_queues()
            sources, sinks = (clients, backends) if uploads else (backends, clients)
            in_flight = [held_between(sources[path], sinks[path], queues) for path in clients]
            ports = [sink.ports for sink in sinks.values()]
            unsent = [queues[gateway_out, sink_port].sending for sink_port, gateway_out in ports]
        finally:
            for end in (*clients.values(), *backends.values()):
                end.transport.abort()
    return growth, max(in_flight), max(unsent)


def held_between(source: End, sink: End, queues: dict[tuple[int, int], Queues]) -> int:
    """Bytes that the source has given and that are neither in the kernel nor at the sink."""
    (source_port, gateway_in), (sink_port, gateway_out) = source.ports, sink.ports
    kernel = queues[source_port, gateway_in].sending + queues[gateway_in, source_port].receiving
    kernel += queues[gateway_out, sink_port].sending + queues[sink_port, gateway_out].receiving
    return source.given - kernel - sink.taken


async def figures(size: int) -> tuple[int, int, int]:
    """Resident bytes of a worker at rest, and by how many it grows during a download and an upload."""
    async with ScriptedBackend() as backend:
        backend.on("/download", respond(200, Filler(size)))
        backend.default(respond(200, b"taken"))
        async with GatewayProcess(backends={"coredinator": backend.url}, env=UNLIMITED) as gateway:
            worker = worker_of(gateway)
            at_rest = memory(worker)
            after_download = await highest(worker, download(gateway, size))
            after_upload = await highest(worker, upload(gateway, size))
    return at_rest, after_download - at_rest, after_upload - at_rest


async def download(gateway: GatewayProcess, size: int) -> None:
    reader, writer = await asyncio.open_connection(*gateway.address)
    writer.write(b"GET /api/v1/coredinator/download HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    while size > 0:
        piece = await reader.read(MIB)
        assert piece
        size -= len(piece)
    writer.close()
    await writer.wait_closed()


async def upload(gateway: GatewayProcess, size: int) -> None:
    reader, writer = await asyncio.open_connection(*gateway.address)
    head = f"POST /api/v1/coredinator/upload HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
    writer.write(head.encode())
    for block in Filler(size):
        writer.write(block)
        await writer.drain()
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()


async def highest(worker: int, transfer: Awaitable[None]) -> int:
    """The most resident bytes that a worker had while something passed through it."""
    task = asyncio.ensure_future(transfer)
    most = 0
    while not task.done():
        most = max(most, memory(worker))
        await asyncio.wait({task}, timeout=0.02)
    await task
    return most


def worker_of(gateway: GatewayProcess) -> int:
    """The gateway's one worker."""
    (worker,) = [
        pid
        for pid in gateway.processes()
        if b"SANIC_WORKER_NAME=" in Path(f"/proc/{pid}/environ").read_bytes()
    ]
    return worker


def memory(worker: int) -> int:
    """Its resident bytes."""
    return int(Path(f"/proc/{worker}/statm").read_text().split()[1]) * PAGE


async def main(size: int) -> None:
    at_rest, *growths = await figures(size)
    sys.stdout.write(f"at rest: {at_rest / MIB:.1f} MiB\n")
    for name, growth in zip(("download", "upload"), growths, strict=True):
        sys.stdout.write(f"growth, {name}: {growth / MIB:.1f} MiB\n")
    for name in ("readers", "uploads"):
        growth, in_flight, unsent = await stalled(uploads=name == "uploads")
        sys.stdout.write(f"growth, {STALLED} stalled {name}: {growth / MIB:.1f} MiB, ")
        sys.stdout.write(
            f"at most {in_flight / 1024:.0f} KiB in flight and {unsent / 1024:.0f} unsent each\n"
        )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) * MIB))
