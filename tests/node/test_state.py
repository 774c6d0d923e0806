"""What the processes of a node know of each other."""

import pytest

from coregateway.node.state import MAIN, Node, State
from coregateway.shared_memory import Board


def node_of(*states: State, main: State = State.READY) -> Node:
    node = Node(Board(len(states)))
    for number, state in enumerate(states):
        node.enter(number, state, 100 + number)
    node.enter(MAIN, main, 99)
    return node


@pytest.mark.parametrize(
    ("states", "main", "ready"),
    [
        ([State.READY], State.READY, True),
        ([State.READY, State.READY], State.READY, True),
        ([State.READY, State.STARTING], State.READY, False),
        ([State.READY, State.DOWN], State.READY, False),
        ([State.DRAINING, State.READY], State.READY, False),
        ([State.READY, State.RETIRED], State.READY, True),
        ([State.RETIRED, State.STARTING], State.READY, False),
        ([State.READY, State.READY], State.DRAINING, False),
        ([State.READY, State.READY], State.STARTING, False),
    ],
)
def test_a_node_is_ready_when_every_worker_is_and_nothing_stops(
    states: list[State], main: State, *, ready: bool
) -> None:
    assert node_of(*states, main=main).ready() is ready


def test_nothing_has_started_on_a_new_board() -> None:
    node = Node(Board(2))
    assert not node.ready()
    assert [(worker.pid, worker.state) for worker in node.workers()] == [(0, "down"), (0, "down")]


def test_a_replaced_process_does_not_speak_for_its_worker() -> None:
    node = node_of(State.READY, State.READY)
    node.enter(0, State.READY, 200)
    node.leave(0, State.DRAINING, 100)
    node.leave(1, State.DRAINING, 101)
    assert [(worker.pid, worker.state) for worker in node.workers()] == [(200, "ready"), (101, "draining")]


def test_a_worker_without_a_row_disturbs_nobody() -> None:
    node = node_of(State.READY)
    node.enter(1, State.DRAINING, 300)
    assert node.count_restart(1) == 1
    assert node.pid(1) == 0
    assert node.ready()


def test_a_status_tells_since_when_and_how_often() -> None:
    node = node_of(State.READY)
    (before,) = node.workers()
    assert node.count_restart(0) == 1
    assert node.count_restart(0) == 2
    node.enter(0, State.DRAINING, 100)
    (after,) = node.workers()
    assert (before.restarts, after.restarts) == (0, 2)
    assert after.since > before.since > 1.7e9


def test_a_worker_that_was_taken_away_is_not_listed() -> None:
    node = node_of(State.READY, State.RETIRED, State.READY)
    assert [worker.number for worker in node.workers()] == [0, 2]
