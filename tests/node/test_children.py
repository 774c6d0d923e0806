"""Which of the workers' processes are up, and which are killed because they stand still."""

import asyncio
import os
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, cast

import pytest

from coregateway.node.children import Children, is_worker
from coregateway.node.supervisor import TICK
from coregateway.shared_memory import Board
from coregateway.upstream.in_flight_limit import IN_FLIGHT, POLL
from coregateway.upstream.node_link import NodeLink, in_flight_key


@dataclass
class Fake:
    """A process as multiprocessing has it."""

    name: str
    pid: int
    killed: int = 0

    def kill(self) -> None:
        self.killed += 1


def look(children: Children, processes: list[Fake], now: float) -> None:
    children.look({fake.pid: cast(BaseProcess, fake) for fake in processes}, now)


@pytest.mark.parametrize(
    ("has_part", "beats", "note", "up", "killed"),
    [
        pytest.param(True, "turns", None, True, 0, id="serves"),
        pytest.param(True, "stands", None, True, 1, id="hangs"),
        pytest.param(True, "none", None, False, 1, id="starts for too long"),
        pytest.param(True, "none", "ACKED", False, 1, id="says that it serves, and does not"),
        pytest.param(False, "none", None, False, 1, id="does not even begin"),
        pytest.param(False, "none", "STARTED", False, 1, id="was started only"),
        pytest.param(False, "none", "ACKED", True, 0, id="came when all parts were taken"),
    ],
)
def test_a_worker_is_judged_by_its_part_and_without_one_by_its_word(
    has_part: bool,
    beats: str,
    note: str | None,
    up: bool,
    killed: int,
) -> None:
    board = Board(2)
    worker = Fake("Sanic-Server-1-0", 71)
    notes: dict[str, Any] = {worker.name: {"state": note}}
    children = Children(board, notes, 30.0)
    part = board.claim(71, 1) if has_part else None
    for now in range(32):
        if part is not None and (beats == "turns" or (beats == "stands" and now == 0)):
            part.beat()
        look(children, [worker], float(now))
    assert children.is_up(71) is up
    assert children.has_come_up is up
    assert worker.killed == killed


def test_one_that_has_left_its_part_and_does_not_end_is_killed() -> None:
    board = Board(1)
    worker = Fake("Sanic-Server-0-0", 71)
    children = Children(board, {}, 30.0)
    part = board.claim(71, 0)
    assert part is not None
    for now in range(64):
        if now < 32:
            part.beat()
        if now == 32:
            part.leave()
        look(children, [worker], float(now))
    assert children.is_up(71)
    assert worker.killed == 1


def test_only_workers_are_watched_and_a_successor_beside_its_predecessor() -> None:
    children = Children(Board(1), {}, 30.0)
    predecessor, successor = Fake("Sanic-Server-0-0", 71), Fake("Sanic-Server-0-0", 72)
    others = [Fake("SyncManager-1", 73), Fake("Sanic-Inspector-0", 74), Fake("Sanic-Mine-0", 75)]
    look(children, [predecessor, successor, *others], 0.0)
    assert {child.process.pid for child in children} == {71, 72}
    assert {child.number for child in children} == {0}
    for now in range(1, 40):
        look(children, [successor, *others], float(now))
    assert (predecessor.killed, successor.killed) == (0, 1)
    assert not any(other.killed for other in others)
    children.kill()
    assert successor.killed == 2


async def test_what_a_worker_held_is_free_once_it_is_missed_which_is_long_before_two_seconds() -> None:
    board = Board(2)
    children = Children(board, {}, 30.0)
    worker = Fake("Sanic-Server-0-0", 71)
    dying, living = board.claim(71, 0), board.claim(os.getpid(), 1)
    assert dying is not None
    loop = asyncio.get_running_loop()
    others, own = (NodeLink(loop, board.upstreams, part, board.parts) for part in (dying, living))
    others.note_repetitions(1)
    key = in_flight_key("backend")
    others.own_numbers(key)[IN_FLIGHT] = 1.0
    board.flights.take(7, dying.number, 1)

    def held() -> list[float]:
        places = sum(numbers[IN_FLIGHT] for numbers in own.numbers_of_others(key))
        return [own.repetitions(), places, board.flights.in_flight(7)]

    look(children, [worker], 0.0)
    assert held() == [1, 1, 1]
    look(children, [], TICK)
    assert held() == [0, 0, 0]
    # The main process looks so often, and a worker in which a request waits for a place.
    assert TICK + POLL < 2.0


@pytest.mark.parametrize(
    ("name", "answer"),
    [("Sanic-Server-0-0", True), ("Sanic-Server-12-0", True), ("Sanic-Reloader-0", False), ("Server", False)],
)
def test_workers_are_known_by_their_names(name: str, *, answer: bool) -> None:
    assert is_worker(name) is answer
