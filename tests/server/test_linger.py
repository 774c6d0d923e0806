"""A connection that is about to be closed reads on and drops, until its peer has left or had its time."""

import asyncio
import socket

import pytest

from coregateway.server import linger as module
from coregateway.server.linger import LINGER_BYTES, Linger


class Connection(asyncio.Protocol):
    """Hears of its end, and of nothing that is read."""

    def __init__(self) -> None:
        self.lost = 0
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- the interface of asyncio
        self.lost += 1


async def lingering() -> tuple["asyncio.Task[None]", Connection, socket.socket]:
    """A connection that lingers, and its peer."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    far.setblocking(False)
    transport, connection = await loop.create_connection(Connection, sock=near)
    task = loop.create_task(Linger(loop, transport, connection).run())
    assert await loop.sock_recv(far, 1) == b""  # closed for writing
    return task, connection, far


async def test_it_ends_when_the_peer_has_left() -> None:
    task, connection, far = await lingering()
    with far:
        await asyncio.get_running_loop().sock_sendall(far, b"dropped")
    await task
    await asyncio.sleep(0)
    assert (connection.lost, connection.received) == (1, b"")


async def test_it_ends_when_the_peer_has_had_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER", 0.05)
    task, connection, far = await lingering()
    with far:
        await task
        assert connection.lost == 0
        connection.transport.close()


async def test_it_ends_when_the_peer_sends_too_much() -> None:
    task, connection, far = await lingering()
    with far:
        await asyncio.get_running_loop().sock_sendall(far, bytes(LINGER_BYTES))
        await asyncio.sleep(0.05)
        assert not task.done()
        await asyncio.get_running_loop().sock_sendall(far, b"x")
        await asyncio.wait_for(task, 1)
        assert (connection.lost, connection.received) == (0, b"")
        connection.transport.close()
