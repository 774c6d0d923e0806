"""A burst of clients is let in as a burst, and there is room for newcomers."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Self, cast

import pytest
import uvloop

from coregateway.net.acceptor import BURST, RETRY, Acceptor, take_over


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


class Served:
    """A connection that the acceptor has let in."""

    def __init__(self, sock: socket.socket, among: "set[Served]", idle_since: float | None) -> None:
        self.sock = sock
        self.idle_since = idle_since
        self._among = among
        among.add(self)

    def close(self) -> None:
        """It ends in the next turn, as that of a client does."""
        self.idle_since = None
        asyncio.get_running_loop().call_soon(self.end)

    def end(self) -> None:
        self._among.discard(self)
        self.sock.close()


class Door:
    """An acceptor with its clients, on the loop that runs; the first to come has been idle for longest."""

    def __init__(self, listener: socket.socket, room: int = 1000) -> None:
        self.clients: set[Served] = set()
        self.come = 0
        self.warnings: list[str] = []
        self.idle = True
        """Whether those that come are idle."""
        loop = asyncio.get_running_loop()
        self._acceptor = Acceptor(loop, listener, self._begin, self.clients, room, self._warn)

    def _warn(self, name: str, message: str) -> None:
        assert message
        self.warnings.append(name)

    def _begin(self, accepted: socket.socket) -> None:
        assert not accepted.getblocking()
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        Served(accepted, self.clients, float(self.come) if self.idle else None)
        self.come += 1

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._acceptor.stop()
        for client in list(self.clients):
            client.end()

    async def until(self, come: int) -> None:
        """Wait until so many have come in, in all."""
        async with asyncio.timeout(20):
            while self.come < come:  # noqa: ASYNC110 -- it is the acceptor that is watched
                await asyncio.sleep(0.001)

    def numbers(self) -> list[float | None]:
        """Which of them are in, by the order in which they came; None for those that are busy."""
        return sorted((client.idle_since for client in self.clients), key=str)


@pytest.mark.parametrize("waiting", [1, BURST - 1, BURST, 3 * BURST + 5])
def test_all_who_wait_come_in(listener: socket.socket, waiting: int) -> None:
    async def enter() -> None:
        with clients(listener, waiting), Door(listener) as door:
            await door.until(waiting)

    uvloop.run(enter())


def test_no_more_than_a_burst_comes_in_at_a_time(listener: socket.socket) -> None:
    async def enter() -> None:
        with clients(listener, BURST + 5), Door(listener) as door:
            seen: set[int] = set()
            while door.come < BURST + 5:
                await asyncio.sleep(0)
                seen.add(door.come)
            assert BURST in seen

    uvloop.run(enter())


@pytest.mark.parametrize("ended", [True, False])
def test_nobody_comes_in_behind_the_end(listener: socket.socket, *, ended: bool) -> None:
    """The end of the socket, or of the acceptor."""

    async def enter() -> None:
        with clients(listener, 1), Door(listener) as door:
            await door.until(1)
            if ended:
                listener.shutdown(socket.SHUT_RDWR)
            else:
                door.__exit__()
                with clients(listener, 3):
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.05)
            assert door.come == 1

    uvloop.run(enter())


@pytest.mark.parametrize("room", [1, 3, 20, BURST + 1])
def test_a_newcomer_takes_the_place_of_the_one_that_was_idle_for_longest(
    listener: socket.socket, room: int
) -> None:
    async def enter() -> None:
        come = room + 2 * BURST
        with clients(listener, come), Door(listener, room) as door:
            await door.until(come)
            await asyncio.sleep(0)
            assert sorted(since for since in door.numbers() if since is not None) == [
                float(number) for number in range(come - room, come)
            ]

    uvloop.run(enter())


def test_one_that_was_used_meanwhile_is_not_closed(listener: socket.socket) -> None:
    async def enter() -> None:
        with clients(listener, 4) as opened, Door(listener, 4) as door:
            await door.until(4)
            opened.enter_context(socket.create_connection(listener.getsockname()))
            await door.until(5)  # the first has left, and the next ones are known
            second = next(client for client in door.clients if client.idle_since == 1.0)
            second.idle_since = 4.5
            third = next(client for client in door.clients if client.idle_since == 2.0)
            third.idle_since = None
            opened.enter_context(socket.create_connection(listener.getsockname()))
            await door.until(6)
            await asyncio.sleep(0)
            assert door.numbers() == [4.0, 4.5, 5.0, None]

    uvloop.run(enter())


class Counting(socket.socket):
    """A listening socket that counts what is asked of it."""

    asked = 0
    errors: tuple[int, ...] = ()
    """What it answers first."""

    def accept(self) -> tuple[socket.socket, object]:
        self.asked += 1
        if self.asked <= len(self.errors):
            raise OSError(self.errors[self.asked - 1], "not this one")
        return super().accept()


@pytest.mark.parametrize("freed", ["ends", "rests"])
def test_while_all_are_busy_newcomers_wait_in_the_kernel_and_come_in_when_one_is_not(
    listener: socket.socket, freed: str
) -> None:
    async def enter() -> None:
        with Counting(fileno=listener.detach()) as counting, clients(counting, 8), Door(counting, 4) as door:
            door.idle = False
            await door.until(5)  # the one in whose coming it showed is served
            asked = counting.asked
            await asyncio.sleep(5 * RETRY)
            assert counting.asked == asked
            assert door.come == 5
            while door.come < 8:
                one = next(iter(door.clients), None)
                if one is None:
                    pass  # the next ones are on their way
                elif freed == "ends":
                    one.end()
                elif one.idle_since is None:
                    one.idle_since = 0.0
                await asyncio.sleep(0.01)
            assert door.warnings.count("clients.waiting") == 1

    uvloop.run(enter())


@pytest.mark.parametrize(
    "errors",
    [
        (errno.EMFILE, errno.EMFILE),
        (errno.ENFILE,),
        (errno.ENOBUFS,),
        (errno.ECONNABORTED, errno.EPROTO),
        (errno.ENETUNREACH,),
    ],
)
def test_an_error_of_the_moment_keeps_nobody_out(listener: socket.socket, errors: tuple[int, ...]) -> None:
    async def enter() -> None:
        with Counting(fileno=listener.detach()) as counting, clients(counting, 3), Door(counting) as door:
            counting.errors = errors
            await door.until(3)

    uvloop.run(enter())


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
