"""A burst of clients is let in as a burst."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import pytest
import uvloop

from coregateway.server.acceptor import BURST, Acceptor, take_over


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        listener.setblocking(False)
        yield listener


def clients(listener: socket.socket, count: int) -> ExitStack:
    """As many connections that wait to be accepted."""
    stack = ExitStack()
    for _ in range(count):
        stack.enter_context(socket.create_connection(listener.getsockname()))
    return stack


def come_in(acceptor: Acceptor) -> int:
    """How many a burst brings in."""
    count = 0
    for accepted in acceptor.burst():
        with accepted:
            assert not accepted.getblocking()
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        count += 1
    return count


@pytest.mark.parametrize("waiting", [0, 1, BURST - 1, BURST])
def test_all_who_wait_come_in(listener: socket.socket, waiting: int) -> None:
    with clients(listener, waiting):
        assert come_in(Acceptor(listener)) == waiting


def test_no_more_than_a_burst_comes_in_at_a_time(listener: socket.socket) -> None:
    acceptor = Acceptor(listener)
    with clients(listener, BURST + 5):
        assert come_in(acceptor) == BURST
        assert come_in(acceptor) == 5


def test_a_socket_that_was_ended_brings_in_nobody(listener: socket.socket) -> None:
    with clients(listener, 3):
        listener.shutdown(socket.SHUT_RDWR)
        assert come_in(Acceptor(listener)) == 0


class Accepting(asyncio.Protocol):
    """Takes over what the loop has accepted."""

    def __init__(self, taken: "asyncio.Future[socket.socket | None]") -> None:
        self._taken = taken

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._taken.set_result(take_over(cast(asyncio.Transport, transport)))

    def data_received(self, data: bytes) -> None:
        raise AssertionError(data)

    def connection_lost(self, exc: Exception | None) -> None:
        raise AssertionError(exc)


async def accept(client: socket.socket) -> socket.socket | None:
    """Let a client in by a server of the loop's own, and have the connection taken over."""
    loop = asyncio.get_running_loop()
    taken: asyncio.Future[socket.socket | None] = loop.create_future()
    server = await loop.create_server(lambda: Accepting(taken), "127.0.0.1", 0)
    async with server:
        client.setblocking(False)
        await loop.sock_connect(client, server.sockets[0].getsockname())
        await loop.sock_sendall(client, b"sent at once")
        accepted = await taken
        await asyncio.sleep(0.05)  # the loop's own transport comes to its end
        return accepted


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_connection_that_is_taken_over_stays_open_and_nothing_of_it_is_read(run: object) -> None:
    async def taken_over() -> None:
        with socket.socket() as client:
            accepted = await accept(client)
            assert accepted is not None
            with accepted:
                assert not accepted.getblocking()
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert accepted.recv(100) == b"sent at once"
                accepted.sendall(b"answer")
            assert await asyncio.get_running_loop().sock_recv(client, 100) == b"answer"
            assert await asyncio.get_running_loop().sock_recv(client, 100) == b""

    assert callable(run)
    run(taken_over())


def test_without_a_descriptor_the_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def dup(_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    async def refused() -> None:
        with socket.socket() as client:
            monkeypatch.setattr(os, "dup", dup)
            assert await accept(client) is None
            with pytest.raises(ConnectionResetError):
                await asyncio.get_running_loop().sock_recv(client, 100)

    uvloop.run(refused())
