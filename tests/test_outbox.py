"""What is given to an outbox leaves in its order, soon, and not to those who have gone."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from coregateway.net.batched_writer import MOST, Outbox, Outlet


class Transport:
    """Notes what it is asked to write."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, pieces: list[bytes | memoryview]) -> None:
        self.written += b"".join(pieces)


@dataclass
class Wire:
    """One socket, for all connections of a test: what arrives tells in which order they were served."""

    near: socket.socket
    far: socket.socket
    outbox: Outbox = field(default_factory=Outbox)

    def outlet(self, transport: Transport | None = None) -> Outlet:
        outlet = Outlet()
        outlet.transport = cast(Any, transport or Transport())
        outlet.descriptor = self.near.fileno()
        outlet.closing = outlet.looks = False
        return outlet

    def write(self, data: bytes | list[Any], transport: Transport | None = None) -> None:
        self.outbox.write(self.outlet(transport), data)

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
def wire() -> Iterator[Wire]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        yield Wire(near, far)


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

    wire.outbox.first(note)
    await asyncio.sleep(0)
    assert done == [b""]
    wire.write(b"a")
    wire.outbox.first(note)
    wire.write(b"b")
    assert done == [b""]
    await asyncio.sleep(0)
    assert done == [b"", b""]
    wire.outbox.first(note)
    for _ in range(MOST):
        wire.write(b"c")
    assert done == [b"", b"", b"ab"]


async def test_nothing_is_written_for_a_connection_that_closes_meanwhile(wire: Wire) -> None:
    transport = Transport()
    one, other = wire.outlet(transport), wire.outlet(transport)
    wire.outbox.write(one, b"a")
    wire.outbox.write(other, b"b")
    one.closing = True
    wire.outbox.flush()
    assert wire.arrived() == b"b"
    await asyncio.sleep(0)
    assert wire.arrived() == transport.written == b""


async def test_pieces_leave_together_in_their_order(wire: Wire) -> None:
    transport = Transport()
    wire.write([b"head", memoryview(b"body")], transport)
    await asyncio.sleep(0)
    assert transport.written == b"headbody"


async def test_the_transport_gets_what_the_peer_does_not_take_at_once(wire: Wire) -> None:
    transport = Transport()
    data = bytes(range(256)) * 16_384
    wire.write(data, transport)
    wire.outbox.flush()
    taken = wire.arrived()
    assert 0 < len(taken) < len(data)
    assert taken + transport.written == data


async def test_the_transport_gets_all_that_a_full_socket_refuses(wire: Wire) -> None:
    with suppress(BlockingIOError):
        while True:
            wire.near.send(bytes(65_536))
    transport = Transport()
    wire.write(b"later", transport)
    wire.outbox.flush()
    assert transport.written == b"later"


async def test_the_transport_gets_what_cannot_be_written_and_meets_with_the_error(wire: Wire) -> None:
    wire.far.close()
    transport = Transport()
    wire.write(b"lost", transport)
    wire.outbox.flush()
    assert transport.written == b"lost"
