"""What a client sends arrives, what is written to it leaves in order, and each end is told once."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from coregateway.net.epoll import IN
from coregateway.net.plain_transport import PlainTransport
from coregateway.net.read_budget import AHEAD, SHARES
from coregateway.net.sockets import reset
from coregateway.net.worker_io import WorkerIO
from coregateway.testing import PATIENCE

BODY = os.urandom(1 << 20)


class Protocol:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.reads: list[bytes] = []
        self.events: list[object] = []
        self.stays = False
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


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 -- what is waited for knows nothing of events
            await asyncio.sleep(0.001)


class Wire:
    def __init__(self) -> None:
        self.io = WorkerIO(asyncio.get_running_loop())
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            sock, _ = listener.accept()
        sock.setblocking(False)
        self.client.setblocking(False)
        self.protocol = Protocol()
        self.transport = PlainTransport(self.io, sock)
        self.transport.start(cast(Any, self.protocol))

    async def taken(self, size: int) -> bytes:
        """What the client receives: so many bytes, or all until the end."""
        data = b""
        async with asyncio.timeout(PATIENCE):
            while len(data) < size and (
                more := await asyncio.get_running_loop().sock_recv(self.client, 1 << 20)
            ):
                data += more
        return data

    async def told(self, *events: object) -> None:
        """Wait for these, and no others."""
        await until(lambda: len(self.protocol.events) >= len(events))
        await asyncio.sleep(0.01)
        assert self.protocol.events == list(events)

    def reset(self) -> None:
        """The client breaks off."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()

    def stall(self) -> bytes:
        """Write more than the kernel takes; returns it."""
        data = BODY * 8
        self.transport.write(data)
        assert self.transport.get_write_buffer_size() > 0
        return data


@contextmanager
def wire() -> Generator[Wire]:
    wire = Wire()
    try:
        yield wire
    finally:
        wire.transport.abort()
        wire.io.close()
        wire.client.close()


@pytest.fixture(autouse=True)
async def _ends_are_told() -> Any:  # pyright: ignore[reportUnusedFunction] -- a fixture
    yield
    await asyncio.sleep(0)  # the last call of an aborted transport


async def test_what_the_client_sends_arrives_in_order_and_its_end_closes() -> None:
    with wire() as there:
        await asyncio.get_running_loop().sock_sendall(there.client, BODY)
        there.client.shutdown(socket.SHUT_WR)
        await there.told("eof", "lost")
        assert there.protocol.received == BODY
        assert there.transport.is_closing()
        assert there.transport.get_extra_info("socket").fileno() == -1


@pytest.mark.parametrize("streams", [False, True])
async def test_a_read_brings_no_more_than_is_allowed(streams: bool) -> None:
    with wire() as there:
        if streams:
            there.transport.stream()
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(there.client, BODY * 4))
        await until(lambda: sum(map(len, there.protocol.reads)) == 4 * len(BODY))
        await sending
        most = SHARES[0][1] if streams else AHEAD
        assert max(map(len, there.protocol.reads)) == most
        del there.protocol.reads[:]
        for _ in range(100):
            there.io.read_budget.stall()
        try:
            there.client.send(BODY[:50_000])
            await until(lambda: len(there.protocol.received) == 50_000)
            assert max(map(len, there.protocol.reads)) == there.io.read_budget.size
        finally:
            for _ in range(100):
                there.io.read_budget.relieve()


async def test_while_reading_is_paused_nothing_arrives_and_the_poll_is_quiet() -> None:
    with wire() as there:
        there.protocol.on_data = there.transport.pause_reading
        await asyncio.get_running_loop().sock_sendall(there.client, BODY[: 3 * AHEAD])
        await asyncio.sleep(0.05)
        assert len(there.protocol.reads) == 1
        assert there.transport.events == 0
        there.client.close()
        await asyncio.sleep(0.05)
        assert there.protocol.events == []
        there.protocol.on_data = lambda: None
        there.transport.resume_reading()
        await there.told("eof", "lost")
        assert there.protocol.received == BODY[: 3 * AHEAD]


async def test_what_the_kernel_does_not_take_leaves_in_its_order_and_pauses_who_writes() -> None:
    with wire() as there:
        data = there.stall()
        there.transport.write(b"more")
        there.transport.writelines([b"and ", b"more"])
        assert there.protocol.events == ["pause"]
        assert await there.taken(len(data) + 12) == data + b"more" + b"and more"
        await there.told("pause", "resume")
        assert there.transport.get_write_buffer_size() == 0
        there.transport.writelines([b"the", b"", b" next"])
        assert await there.taken(8) == b"the next"


@pytest.mark.parametrize("count", [3, 1024, 5000])
async def test_any_number_of_pieces_leaves(count: int) -> None:
    with wire() as there:
        pieces = [b"%d," % number for number in range(count)]
        there.transport.writelines(pieces)
        assert await there.taken(len(b"".join(pieces))) == b"".join(pieces)
        large = [BODY[:500_000]] * 40
        there.transport.writelines(large)
        assert await there.taken(20_000_000) == b"".join(large)
        await there.told("pause", "resume")


async def test_closing_comes_after_all_that_was_written() -> None:
    with wire() as there:
        data = there.stall()
        there.transport.close()
        there.transport.close()
        there.transport.write(b"too late")
        assert there.transport.is_closing()
        await asyncio.sleep(0.02)
        assert there.protocol.events == ["pause"]
        taken = await there.taken(len(data))
        assert taken == data
        await there.told("pause", "resume", "lost")


async def test_the_end_of_writing_comes_after_all_that_was_written_and_reading_goes_on() -> None:
    with wire() as there:
        data = there.stall()
        there.transport.write_eof()
        there.transport.write_eof()
        there.transport.write(b"too late")
        assert await there.taken(len(data) + 1) == data
        there.client.send(b"still here")
        await there.told("pause", "resume")
        assert there.protocol.received == b"still here"


async def test_a_half_closed_client_can_be_kept_and_written_to() -> None:
    with wire() as there:
        there.protocol.stays = True
        there.client.shutdown(socket.SHUT_WR)
        await there.told("eof")
        assert there.transport.events == 0
        there.transport.pause_reading()
        there.transport.resume_reading()
        assert there.transport.events == 0
        data = there.stall()
        assert await there.taken(len(data)) == data
        await there.told("eof", "pause", "resume")


async def test_an_abort_leaves_nothing_and_is_told_once() -> None:
    with wire() as there:
        there.stall()
        there.transport.abort()
        there.transport.abort()
        assert there.transport.get_write_buffer_size() == 0
        assert there.protocol.events == ["pause"]
        await there.told("pause", "lost")
        there.transport.resume_reading()
        there.transport.write(b"x")
        there.transport.write_eof()
        there.transport.close()
        await there.told("pause", "lost")


@pytest.mark.parametrize("doing", ["reading", "writing", "stalled", "closing"])
async def test_a_client_that_breaks_off_is_lost_with_the_reason(doing: str) -> None:
    with wire() as there:
        before: list[object] = []
        if doing in ("stalled", "closing"):
            there.stall()
            before = ["pause"]
        if doing == "closing":
            there.transport.close()
        if doing == "writing":
            there.transport.pause_reading()
        there.reset()
        if doing == "writing":
            await asyncio.sleep(0.02)
            assert there.protocol.events == []
            there.transport.write(b"x")
        await there.told(*before, ConnectionResetError)
        assert there.transport.get_extra_info("socket").fileno() == -1


async def test_a_client_that_has_left_has_no_address() -> None:
    with wire() as there:
        assert there.transport.get_extra_info("peername") == there.client.getsockname()
        assert there.transport.get_extra_info("sockname") == there.client.getpeername()
        assert there.transport.get_extra_info("ssl_object", 7) == 7
        there.reset()
        await asyncio.sleep(0.02)
        assert there.transport.get_extra_info("peername") is None


async def test_a_defect_of_who_is_told_ends_the_connection_and_is_told_to_the_loop() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    defect = ZeroDivisionError()

    def fail() -> None:
        raise defect

    with wire() as there:
        there.protocol.on_data = fail
        there.client.send(b"x")
        await there.told(ZeroDivisionError)
        assert [context["exception"] for context in told] == [defect]


DECISIONS: dict[str, Callable[[Wire], object]] = {
    "close": lambda there: there.transport.close(),
    "abort": lambda there: there.transport.abort(),
    "reset": lambda there: reset(there.transport),
    "the client's end": lambda there: there.client.shutdown(socket.SHUT_WR),
    "the client breaks off": lambda there: there.reset(),
}
"""What makes a transport close."""


@pytest.mark.parametrize("stalled", [False, True], ids=["all has left", "some is unsent"])
@pytest.mark.parametrize("name", DECISIONS)
async def test_the_decision_to_close_is_known_to_all_who_write_by_the_descriptor(
    name: str, *, stalled: bool
) -> None:
    with wire() as there:
        told: list[tuple[bool, bool]] = []
        if stalled:
            there.stall()
        there.transport.begin_splice(
            lambda: told.append((there.protocol.closing, there.transport.is_closing()))
        )
        assert not there.protocol.closing
        DECISIONS[name](there)
        await until(lambda: there.protocol.closing)
        assert told == [(True, True)]
        into, out = os.pipe()
        try:
            os.write(out, b"x")
            with pytest.raises(BrokenPipeError):
                there.transport.splice(into, 1)
        finally:
            os.close(into)
            os.close(out)


async def test_what_is_spliced_waits_for_what_was_written_and_for_room() -> None:
    with wire() as there:
        room = asyncio.Event()
        into, out = os.pipe()
        try:
            os.write(out, b"spliced")
            there.transport.begin_splice(room.set)
            data = there.stall()
            assert there.transport.splice(into, 7) == 0
            assert await there.taken(len(data)) == data
            await asyncio.wait_for(room.wait(), 5)
            assert there.transport.splice(into, 7) == 7
            assert await there.taken(7) == b"spliced"
            os.set_blocking(into, False)
            assert there.transport.splice(into, 7) == 0  # nothing is in it
            there.transport.end_splice()
            there.transport.end_splice()
            assert there.transport.events == IN
        finally:
            os.close(into)
            os.close(out)


@pytest.mark.parametrize("size", [1, 300_000, 8 << 20])
@pytest.mark.parametrize("paused", [False, True])
async def test_what_is_discarded_is_told_to_nobody_but_its_end_is(size: int, *, paused: bool) -> None:
    with wire() as there:
        if paused:
            there.transport.pause_reading()
        there.transport.discard()
        there.transport.pause_reading()  # a pause would keep the client from its end
        async with asyncio.timeout(10):
            await asyncio.get_running_loop().sock_sendall(there.client, bytes(size))
        there.transport.write(b"answer")
        assert await there.taken(6) == b"answer"
        there.client.shutdown(socket.SHUT_WR)
        await there.told("eof", "lost")
        assert there.protocol.reads == []
