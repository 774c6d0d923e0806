"""What is given to a batched writer leaves in its order, soon, and not to peers that have gone."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, override

import pytest

from coregateway.net.batched_writer import MOST, BatchedWriter, Writer


class Connection(Writer):
    """Notes what its transport is asked to write."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.closing = self.looks = False
        self.written = b""

    @override
    def write_by_transport(self, data: bytes) -> None:
        self.written += data

    @override
    def write_pieces_by_transport(self, pieces: list[bytes | memoryview]) -> None:
        self.written += b"".join(pieces)


@dataclass
class Wire:
    """One socket, for all connections of a test: what arrives tells in which order they were served."""

    near: socket.socket
    far: socket.socket
    writer: BatchedWriter

    def connection(self) -> Connection:
        return Connection(self.near.fileno())

    def write(self, data: bytes | list[Any]) -> Connection:
        connection = self.connection()
        self.writer.write(connection, data)
        return connection

    def arrived(self) -> bytes:
        """Since it was asked the last time."""
        data = b""
        try:
            while more := self.far.recv(65_536):
                data += more
        except BlockingIOError:
            pass
        return data


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        yield Wire(near, far, BatchedWriter(asyncio.get_running_loop()))


async def test_writes_leave_in_order_before_anything_that_is_asked_for_later(wire: Wire) -> None:
    wire.write(b"a")
    seen: list[bytes] = []
    asyncio.get_running_loop().call_soon(lambda: seen.append(wire.arrived()))
    wire.write(b"b")
    wire.write(b"c")
    assert wire.arrived() == b""
    await asyncio.sleep(0)
    assert seen == [b"abc"]


async def test_what_comes_after_a_turn_leaves_with_the_next(wire: Wire) -> None:
    for data in (b"a", b"b"):
        wire.write(data)
        await asyncio.sleep(0)
        assert wire.arrived() == data


async def test_many_writes_do_not_wait_for_the_end_of_the_turn(wire: Wire) -> None:
    for number in range(MOST + 1):
        wire.write(b"%d," % number)
    assert wire.arrived() == b"".join(b"%d," % number for number in range(MOST))
    await asyncio.sleep(0)
    assert wire.arrived() == b"%d," % MOST


async def test_what_has_to_be_done_first_is_done_before_anything_leaves(wire: Wire) -> None:
    done: list[bytes] = []

    def note() -> None:
        done.append(wire.arrived())

    wire.writer.before_flush(note)
    await asyncio.sleep(0)
    assert done == [b""]
    wire.write(b"a")
    wire.writer.before_flush(note)
    wire.write(b"b")
    assert done == [b""]
    await asyncio.sleep(0)
    assert done == [b"", b""]
    wire.writer.before_flush(note)
    for _ in range(MOST):
        wire.write(b"c")
    assert done == [b"", b"", b"ab"]


async def test_nothing_is_written_for_a_connection_that_closes_meanwhile(wire: Wire) -> None:
    one, other = wire.connection(), wire.connection()
    wire.writer.write(one, b"a")
    wire.writer.write(other, b"b")
    one.closing = True
    wire.writer.flush()
    assert wire.arrived() == b"b"
    await asyncio.sleep(0)
    assert wire.arrived() == one.written == other.written == b""


async def test_pieces_leave_together_in_their_order(wire: Wire) -> None:
    connection = wire.write([b"head", memoryview(b"body")])
    await asyncio.sleep(0)
    assert connection.written == b"headbody"


async def test_the_transport_gets_what_the_peer_does_not_take_at_once(wire: Wire) -> None:
    data = bytes(range(256)) * 16_384
    connection = wire.write(data)
    wire.writer.flush()
    taken = wire.arrived()
    assert 0 < len(taken) < len(data)
    assert taken + connection.written == data


async def test_the_transport_gets_all_that_a_full_socket_refuses(wire: Wire) -> None:
    with suppress(BlockingIOError):
        while True:
            wire.near.send(bytes(65_536))
    connection = wire.write(b"later")
    wire.writer.flush()
    assert connection.written == b"later"


async def test_the_transport_gets_what_cannot_be_written_and_meets_with_the_error(wire: Wire) -> None:
    wire.far.close()
    connection = wire.write(b"lost")
    wire.writer.flush()
    assert connection.written == b"lost"


@pytest.mark.parametrize("data", [b"whole", [b"in ", memoryview(b"pieces")], b"x" * (1 << 20)])
async def test_a_connection_without_a_descriptor_writes_all_by_its_transport(wire: Wire, data: Any) -> None:
    connection = wire.connection()
    connection.descriptor = -1
    wire.writer.write(connection, data)
    assert connection.written == b""
    await asyncio.sleep(0)
    assert connection.written == (data if isinstance(data, bytes) else b"".join(data))
    assert wire.arrived() == b""
