"""Sockets are told of in their order, a few at a time, and never when nobody asked for it."""

import asyncio
import os
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, override

from coregateway.net.epoll import IN, MOST, OUT, Epoll, Watched


class Pair(Watched):
    """One end of a socket pair, which reads what the other has sent."""

    def __init__(self, epoll: Epoll, log: list[tuple["Pair", int]]) -> None:
        self.sock, self.peer = socket.socketpair()
        self.sock.setblocking(False)
        self.watched = self.sock.fileno()
        self.events = 0
        self.epoll = epoll
        self.log = log
        self.failure: Exception | None = None
        self.aborted = False
        self.on_failure: Callable[[], None] = lambda: None

    @override
    def ready(self, events: int) -> None:
        self.log.append((self, events))
        if events & IN and not self.sock.recv(1):
            raise EOFError

    @override
    def fail(self, error: Exception) -> None:
        self.failure = error
        self.epoll.watch(self, 0)
        self.on_failure()

    @override
    def abort(self) -> None:
        self.aborted = True
        self.epoll.watch(self, 0)

    def close(self) -> None:
        self.sock.close()
        self.peer.close()


class Scene:
    def __init__(self) -> None:
        self.epoll = Epoll(asyncio.get_running_loop())
        self.log: list[tuple[Pair, int]] = []
        self.pairs: list[Pair] = []

    def pair(self, events: int = IN) -> Pair:
        pair = Pair(self.epoll, self.log)
        self.pairs.append(pair)
        self.epoll.watch(pair, events)
        return pair

    async def turn(self) -> list[Any]:
        """What a turn or two of the loop tell."""
        self.log.clear()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return list(self.log)


@contextmanager
def scene() -> Generator[Scene]:
    scene = Scene()
    try:
        yield scene
    finally:
        scene.epoll.close()
        for pair in scene.pairs:
            pair.close()


async def told(scene: Scene) -> list[Pair]:
    """All that are told of until nothing is left to tell."""
    pairs: list[Pair] = []
    for _ in range(20):
        pairs += [pair for pair, _ in await scene.turn()]
    return pairs


async def test_a_turn_tells_of_a_few_in_the_order_in_which_they_came() -> None:
    with scene() as there:
        pairs = [there.pair() for _ in range(3 * MOST)]
        for pair in reversed(pairs):
            pair.peer.send(b"x")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(there.log) == MOST
        first = [pair for pair, _ in there.log]
        assert first + await told(there) == pairs[::-1]


async def test_who_sends_without_end_keeps_nobody_waiting() -> None:
    with scene() as there:
        greedy = [there.pair() for _ in range(2 * MOST)]
        for pair in greedy:
            pair.peer.send(b"x" * 100)
        await there.turn()
        modest = there.pair()
        modest.peer.send(b"x")
        turns = [await there.turn() for _ in range(4)]
        assert modest in [pair for turn in turns for pair, _ in turn]


async def test_events_are_told_as_they_are_asked_for() -> None:
    with scene() as there:
        pair = there.pair(0)
        pair.peer.send(b"xxx")
        assert await there.turn() == []
        there.epoll.watch(pair, IN)
        assert (pair, IN) in await there.turn()
        there.epoll.watch(pair, OUT)
        assert (pair, OUT) in await there.turn()
        there.epoll.watch(pair, IN | OUT)
        assert (pair, IN | OUT) in await there.turn()
        there.epoll.watch(pair, 0)
        await there.turn()
        assert await there.turn() == []


async def test_nothing_is_told_of_a_socket_that_is_open_by_another_descriptor_still() -> None:
    with scene() as there:
        pair = there.pair()
        other = os.dup(pair.watched)
        try:
            there.epoll.watch(pair, 0)
            pair.sock.close()
            pair.peer.send(b"x")
            assert await there.turn() == []
        finally:
            os.close(other)


async def test_one_that_ends_another_in_its_turn_is_the_last_that_is_told_of_it() -> None:
    with scene() as there:
        one, other = there.pair(), there.pair()
        one.on_failure = lambda: there.epoll.watch(other, 0)
        one.peer.close()
        other.peer.send(b"x")
        await there.turn()
        assert all(pair is one for pair, _ in there.log)


async def test_a_defect_in_one_is_its_own() -> None:
    with scene() as there:
        broken, sound = there.pair(), there.pair()
        broken.peer.close()
        sound.peer.send(b"x")
        assert sound in await told(there)
        assert isinstance(broken.failure, EOFError)
        assert sound.failure is None


async def test_its_end_ends_all_that_it_watches() -> None:
    with scene() as there:
        watched, unwatched = there.pair(), there.pair(0)
    assert (watched.aborted, unwatched.aborted) == (True, False)
