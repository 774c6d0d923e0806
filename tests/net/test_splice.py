import asyncio
import hashlib
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from fcntl import ioctl
from termios import FIONREAD
from typing import Any, cast

import pytest

from coregateway.net import splice
from coregateway.net.plain_transport import PlainTransport
from coregateway.net.sockets import reset
from coregateway.net.splice import CALM, LARGE_PIECE, PIECE, End, Splice, prepare
from coregateway.net.worker_io import WorkerIO
from coregateway.testing import Filler

SIOCOUTQ = 0x5411
"""See tcp(7): what the peer has not confirmed."""

SMALL = 4096
"""Bytes of a socket's buffer, where little is to be taken."""


class Client(asyncio.Protocol):
    """The protocol of a sink, whose transport tells when it has decided to close."""

    def __init__(self) -> None:
        self.decided: Callable[[], object] = lambda: None

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "closing":
            self.decided()


class Way:
    """What a splice passes from `writer`, a socket of its source's peer, to `reader`, one of its sink's."""

    def __init__(
        self,
        writer: socket.socket,
        reader: socket.socket,
        source: socket.socket,
        transport: PlainTransport,
        client: Client,
        splice: Splice,
        io: WorkerIO,
    ) -> None:
        self.io = io
        self.writer = writer
        self.reader = reader
        self.source = source
        self.transport = transport
        self.client = client
        self.sink: socket.socket = transport.get_extra_info("socket")
        self.splice = splice

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.writer, data)

    async def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (more := await asyncio.get_running_loop().sock_recv(self.reader, 1 << 20)):
            data += more
        return data


@asynccontextmanager
async def way(*, buffers: int = 0, beside: Way | None = None) -> AsyncGenerator[Way]:
    """`buffers`: bytes of those of the sockets at both ends, where not as large as usual. `beside`: another
    one of the same worker."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        if beside is None:
            io = WorkerIO(loop)
            stack.callback(io.close)
        else:
            io = beside.io
        accepted: list[socket.socket] = []
        peers: list[socket.socket] = []
        for _ in range(2):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            peer = stack.enter_context(socket.socket())
            if buffers:
                for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                    listener.setsockopt(socket.SOL_SOCKET, option, buffers)
                    peer.setsockopt(socket.SOL_SOCKET, option, buffers)
            peer.setblocking(False)
            await loop.sock_connect(peer, listener.getsockname())
            accepted.append(listener.accept()[0])
            accepted[-1].setblocking(False)
            peers.append(peer)
        source, _ = await loop.connect_accepted_socket(asyncio.Protocol, accepted[0])
        source.pause_reading()
        stack.callback(source.abort)
        sink = PlainTransport(io, accepted[1])
        client = Client()
        sink.start(cast(Any, client))
        stack.callback(sink.abort)
        splicing = prepare(io, source.get_extra_info("socket").fileno(), sink)
        assert splicing is not None
        try:
            yield Way(peers[0], peers[1], source.get_extra_info("socket"), sink, client, splicing, io)
        finally:
            splicing.close()
    await asyncio.sleep(0)  # the last call of an aborted transport


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("step", [1000, 65_536, 1 << 20])
async def test_what_the_source_sends_arrives_whole_and_in_order_and_no_more_of_it(step: int) -> None:
    content = b"".join(Filler(3_000_000))
    async with way() as there:

        async def send() -> None:
            for at in range(0, len(content), step):
                await there.write(content[at : at + step])
            await there.write(b"the next message")

        sending = asyncio.create_task(send())
        running = asyncio.create_task(there.splice.run(len(content), silence=5, patience=5))
        arrived = await there.read(len(content))
        assert await running is End.COMPLETE
        await sending
        assert hashlib.sha256(arrived).digest() == hashlib.sha256(content).digest()
        assert there.splice.passed == len(content)
        with pytest.raises(BlockingIOError):
            there.reader.recv(1)


async def test_a_reader_that_takes_nothing_pauses_the_source_with_a_piece_on_the_way_at_most() -> None:
    async with way(buffers=SMALL) as there:
        running = asyncio.create_task(there.splice.run(1 << 30, silence=5, patience=5))
        written = await fill(there)
        assert 0 < in_flight(there, written) <= PIECE
        assert not running.done()
        there.splice.interrupt()
        assert await running is End.INTERRUPTED


async def test_while_nobody_else_sends_pieces_grow_to_what_the_sink_has_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with way() as there:
        pieces = spy(monkeypatch, there)
        running = asyncio.create_task(there.splice.run(1 << 40, silence=5, patience=5))
        written = 0
        for _ in range(5):
            pieces.clear()
            written += await pass_on(there, pieces, more_than=PIECE)
            assert max(pieces) <= LARGE_PIECE
            written += await fill(there)
            assert in_flight(there, written) <= PIECE
        there.splice.interrupt()
        await running


@pytest.mark.parametrize("before", range(0, 18_000, 1500))
async def test_the_sink_has_room_for_scraps_too_whose_keeping_takes_room_of_its_own(
    monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    async with way() as there:
        there.writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there.reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        there.sink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        running = asyncio.create_task(there.splice.run(1 << 40, silence=5, patience=5))
        for _ in range(CALM + 1):
            await there.write(b"x")
            await there.read(1)
        await there.write(b"x" * before)
        await turns()
        pieces = spy(monkeypatch, there)
        written = CALM + 1 + before + some(there, 1500)
        await turns()
        assert max(pieces) > PIECE
        assert in_flight(there, written) <= PIECE
        there.splice.interrupt()
        await running


@pytest.mark.parametrize("others", ["requests", "bodies"])
async def test_while_others_send_no_piece_keeps_them_waiting_for_long(
    monkeypatch: pytest.MonkeyPatch, others: str
) -> None:
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(way())
        if others == "bodies":
            await stack.enter_async_context(way(beside=there))
        pieces = spy(monkeypatch, there)
        running = asyncio.create_task(there.splice.run(1 << 40, silence=5, patience=5))
        while len(pieces) < 10 * CALM:
            await pass_some(there)
            if others == "requests":  # one of somebody else leaves now and then
                there.io.writer.before_flush(nothing)
        assert max(pieces) <= PIECE
        there.splice.interrupt()
        await running


def spy(monkeypatch: pytest.MonkeyPatch, there: Way) -> list[int]:
    """The sizes of the pieces that are taken from the source, as they come."""
    pieces: list[int] = []
    take = os.splice

    def splicing(source: int, into: int, size: int, *, flags: int) -> int:
        taken = take(source, into, size, flags=flags)
        if os.path.samestat(os.fstat(source), os.fstat(there.source.fileno())):
            pieces.append(taken)
        return taken

    monkeypatch.setattr(splice.os, "splice", splicing)
    return pieces


async def pass_on(there: Way, pieces: list[int], *, more_than: int) -> int:
    """Write and read until a piece was larger than that; returns the bytes that were written."""
    written = 0
    while not pieces or pieces[-1] <= more_than:
        written += await pass_some(there)
    return written


async def pass_some(there: Way) -> int:
    """Write what the kernel takes, and read what has come; returns the bytes that were written."""
    written = some(there)
    await asyncio.sleep(0)
    with suppress(BlockingIOError):
        while there.reader.recv(1 << 20):
            pass
    return written


def nothing() -> None:
    pass


def taken(there: Way) -> int:
    """Read all that is there; returns how many bytes that was."""
    size = 0
    with suppress(OSError):
        while data := there.reader.recv(1 << 20):
            size += len(data)
    return size


async def turns() -> None:
    """Let the loop do what it can do by now."""
    for _ in range(20):
        await asyncio.sleep(0)


def some(there: Way, at_once: int = 1 << 20) -> int:
    """Write what the kernel takes, so many bytes at once."""
    written = 0
    with suppress(BlockingIOError):
        while True:
            written += there.writer.send(b"x" * at_once)
    return written


async def fill(there: Way) -> int:
    """Write until nothing is taken any more; returns the bytes that were written."""
    written = refused = 0
    while refused < 40:
        if more := some(there):
            written += more
            refused = 0
        else:
            refused += 1
            await asyncio.sleep(0.005)
    return written


def in_flight(there: Way, written: int) -> int:
    """Bytes that are neither in the kernel's queues nor with the peers."""
    waiting = queued(there.writer, SIOCOUTQ) + queued(there.source, FIONREAD)
    return written - waiting - there.splice.passed


def queued(sock: socket.socket, which: int) -> int:
    """Bytes in one of the kernel's queues of a socket."""
    return int.from_bytes(ioctl(sock.fileno(), which, bytes(4)), sys.byteorder)


async def test_a_source_that_ends_early_is_told_from_a_body_that_is_complete() -> None:
    async with way() as there:
        await there.write(b"half")
        running = asyncio.create_task(there.splice.run(8, silence=5, patience=5))
        assert await there.read(4) == b"half"
        there.writer.close()
        assert await running is End.SOURCE_ENDED
        assert there.splice.passed == 4


async def test_a_source_that_breaks_off_has_ended_too() -> None:
    async with way() as there:
        running = asyncio.create_task(there.splice.run(8, silence=5, patience=5))
        there.writer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        there.writer.close()
        assert await running is End.SOURCE_ENDED


async def test_silence_of_the_source_ends_it_and_each_byte_begins_it_anew() -> None:
    loop = asyncio.get_running_loop()
    async with way() as there:
        began = loop.time()
        running = asyncio.create_task(there.splice.run(100, silence=1.0, patience=5))
        for _ in range(20):
            await asyncio.sleep(0.06)
            await there.write(b"x")
        assert await running is End.SOURCE_LATE
        assert loop.time() - began > 20 * 0.06 + 0.9
        assert there.splice.passed == 20


async def test_a_sink_that_takes_nothing_ends_it_and_one_that_is_slow_does_not() -> None:
    loop = asyncio.get_running_loop()
    async with way(buffers=SMALL) as there:

        async def send() -> None:
            while True:
                await there.write(b"x" * 65_536)

        sending = asyncio.create_task(send())
        running = asyncio.create_task(there.splice.run(1 << 30, silence=0.1, patience=1.0))
        for _ in range(24):
            await asyncio.sleep(0.05)
            await there.read(32_768)
        assert not running.done()
        stopped = loop.time()
        assert await running is End.SINK_LATE
        assert loop.time() - stopped > 0.5
        sending.cancel()


async def test_a_sink_that_is_gone_ends_it() -> None:
    async with way() as there:
        there.reader.close()
        running = asyncio.create_task(there.splice.run(1 << 30, silence=5, patience=5))
        while not running.done():
            await there.write(b"x" * 65_536)
            await asyncio.sleep(0)
        assert await running is End.SINK_ENDED


DECISIONS: dict[str, Callable[[Way], object]] = {
    "close": lambda there: there.transport.close(),
    "abort": lambda there: there.transport.abort(),
    "reset": lambda there: reset(there.transport),
    "no more is written": lambda there: there.transport.write_eof(),
    "the client's end": lambda there: there.reader.shutdown(socket.SHUT_WR),
}
"""What is decided at the sink."""


@pytest.mark.parametrize("name", DECISIONS)
@pytest.mark.parametrize("when", ["before it begins", "between two pieces", "while a piece waits"])
async def test_a_sink_that_has_decided_to_close_gets_not_one_byte_more(name: str, when: str) -> None:
    blocked = when == "while a piece waits"
    async with way(buffers=SMALL if blocked else 0) as there:
        running: asyncio.Task[End] | None = None
        if when != "before it begins":
            running = asyncio.create_task(there.splice.run(1 << 30, silence=5, patience=5))
            await there.write(b"first")
            assert await there.read(5) == b"first"
        if blocked:
            await fill(there)
        else:
            await there.write(b"later")
        passed: list[int] = []
        there.client.decided = lambda: passed.append(there.splice.passed)
        DECISIONS[name](there)
        if name == "no more is written":
            there.client.decided()
        received = taken(there)  # so that there is room for more
        if running is None:
            await turns()
            running = asyncio.create_task(there.splice.run(1 << 30, silence=5, patience=5))
        assert await running is End.SINK_ENDED
        assert passed == [there.splice.passed]
        await turns()
        assert received + taken(there) <= passed[0]


async def test_what_was_written_before_leaves_before() -> None:
    async with way() as there:
        written = b"w" * (8 << 20)
        there.transport.write(written)
        assert there.transport.get_write_buffer_size() > 0
        running = asyncio.create_task(there.splice.run(8, silence=5, patience=5))
        await there.write(b"spliced!")
        assert await there.read(len(written) + 8) == written + b"spliced!"
        assert await running is End.COMPLETE


@pytest.mark.parametrize("way_to_end", ["interrupted", "complete", "the sink is gone"])
async def test_the_second_descriptor_goes_as_soon_as_it_has_ended(way_to_end: str) -> None:
    async with way() as there:
        running = asyncio.create_task(there.splice.run(8, silence=5, patience=5))
        await there.write(b"x")
        await there.read(1)
        open_ones = descriptors()
        match way_to_end:
            case "interrupted":
                there.splice.interrupt()
            case "complete":
                await there.write(b"x" * 7)
                await there.read(7)
            case _:
                there.transport.close()
        assert descriptors() < open_ones
        await asyncio.wait([running])


async def test_what_is_interrupted_before_it_runs_does_not_run() -> None:
    async with way() as there:
        there.splice.interrupt()
        assert await there.splice.run(8, silence=5, patience=5) is End.INTERRUPTED


async def test_a_kernel_that_cannot_is_told_before_anything_has_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(22, "Invalid argument")

    async with way() as there:
        monkeypatch.setattr(splice.os, "splice", refuse)
        await there.write(b"x")
        assert await there.splice.run(8, silence=5, patience=5) is End.UNABLE
