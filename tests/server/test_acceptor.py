"""A burst of clients is let in as a burst."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import uvloop

from coregateway.server.acceptor import BURST, Acceptor


class Counting(asyncio.Protocol):
    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        type(self).made += 1
        transport.close()


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


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("waiting", [0, 1, BURST - 1, BURST])
def test_all_who_wait_come_in_within_a_few_turns_of_the_loop(listener: socket.socket, waiting: int) -> None:
    async def come_in() -> int:
        class Protocol(Counting):
            pass

        acceptor = Acceptor(listener)
        with clients(listener, waiting):
            acceptor.bring(asyncio.get_running_loop(), Protocol)
            await turns()
        return Protocol.made

    assert uvloop.run(come_in()) == waiting


def test_no_more_than_a_burst_comes_in_at_a_time(listener: socket.socket) -> None:
    async def come_in() -> tuple[int, int]:
        class Protocol(Counting):
            pass

        acceptor = Acceptor(listener)
        with clients(listener, BURST + 5):
            acceptor.bring(asyncio.get_running_loop(), Protocol)
            await turns()
            first = Protocol.made
            acceptor.bring(asyncio.get_running_loop(), Protocol)
            await turns()
        return first, Protocol.made

    assert uvloop.run(come_in()) == (BURST, BURST + 5)


def test_a_socket_that_was_ended_brings_in_nobody(listener: socket.socket) -> None:
    async def come_in() -> int:
        class Protocol(Counting):
            pass

        with clients(listener, 3):
            listener.shutdown(socket.SHUT_RDWR)
            Acceptor(listener).bring(asyncio.get_running_loop(), Protocol)
            await turns()
        return Protocol.made

    assert uvloop.run(come_in()) == 0
