"""A node that starts is watched as one that runs is, and dead workers' last words are written."""

import os
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import RemoteDisconnected
from pathlib import Path

import pytest

from coregateway.logs.writer import LogWriter
from coregateway.node import children
from coregateway.node.supervisor import write_last_lines
from coregateway.shared_memory import Board
from tests.node.running_node import WAIT, RunningNode, until


class Recorder:
    """A destination that keeps what arrives."""

    piece = 4096

    def __init__(self) -> None:
        self.data = b""

    def send(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def settled(self) -> bool:
        return True


def test_the_end_of_the_node_writes_what_dead_workers_left_and_nothing_of_the_living(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder()
    log = LogWriter(recorder, lambda _: b"")
    monkeypatch.setattr(children, "writer", lambda: log)
    ended = subprocess.Popen(["true"])
    ended.wait(10)
    board = Board(2)
    for owner, line in ((ended.pid, b"of the dead\n"), (os.getpid(), b"of the living\n"), (0, b"left\n")):
        part = board.claim(owner, 0)
        assert part is not None
        part.pending.add(line)
    write_last_lines(board)
    write_last_lines(board)
    assert recorder.data == b"of the dead\nleft\n"


NEIGHBOUR = ("sh", "-c", 'sleep 300 & exec "$@"', "sh")
"""Starts a process in the group of the node, as a script does."""


def neighbours(node: RunningNode) -> list[int]:
    found: list[int] = []
    for pid in node.group():
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
                found.append(pid)
    return found


@pytest.mark.parametrize("stumbles", [("raise",), ("exit",), ("die",), ("settings", "raise")])
def test_a_worker_that_fails_while_others_start_is_replaced_and_nobody_else_is_hurt(
    stumbles: Sequence[str],
) -> None:
    # A worker refuses the settings before another has come up: that ends the node, so one is up before.
    stumbles = ("none", *stumbles) if "settings" in stumbles else stumbles
    with RunningNode("--workers", "2", command=NEIGHBOUR, stumbles=stumbles, stagger=1.0) as node:
        pids = node.ready().pids()
        died = node.events("worker.died")
        assert len(died) == len([word for word in stumbles if word != "none"])
        assert not {line["pid"] for line in died} & set(pids)
        assert len(neighbours(node)) == 1
        os.kill(node.process.pid, signal.SIGTERM)
        assert node.status() == 0
        assert len(neighbours(node)) == 1


@pytest.mark.parametrize(
    ("stumbles", "status", "deaths"),
    [(("raise",), 1, 3), (("exit",), 1, 3), (("die", "raise"), 1, 3), (("settings",), 2, 1)],
)
def test_a_node_that_never_comes_up_ends_and_tells_why(
    stumbles: Sequence[str], status: int, deaths: int
) -> None:
    with RunningNode("--workers", "1", command=NEIGHBOUR, stumbles=[*stumbles] * 10) as node:
        assert node.status() == status
        failed = node.event("node.failed")
        assert failed["level"] == "ERROR"
        assert failed["status"] == status
        assert len(node.events("worker.died")) == deaths
        assert len(neighbours(node)) == 1


def test_a_node_of_which_one_worker_serves_does_not_end() -> None:
    stumbles = ("none", *["raise"] * 4)
    with RunningNode("--workers", "2", stagger=0.5, longest_pause=0.2, stumbles=stumbles) as node:
        until(lambda: len(node.events("worker.died")) == 4, "four failures")
        assert [line["pause_s"] for line in node.events("worker.died")] == [0, 0.2, 0.2, 0.2]
        node.ready()
        assert node.events("node.failed") == []


def test_a_stop_signal_drains_while_one_worker_is_stuck_in_its_start() -> None:
    stuck = RunningNode("--workers", "2", start_limit=3.0, stumbles=("block",))
    with stuck as node, ThreadPoolExecutor(16) as pool:
        until(lambda: any("Worker ready" in line["message"] for line in node.events("sanic.server")), "one")
        asked = [pool.submit(node.get, "/slow") for _ in range(16)]
        done = until(lambda: [answer for answer in asked if answer.done()], "the one that serves answers")
        os.kill(node.process.pid, signal.SIGTERM)
        # Those that wait at the one that is stuck are told when it is given up.
        ends = [answer.exception(WAIT) for answer in asked]
        assert len(done) < len(asked)
        assert sum(end is None for end in ends) >= len(done)
        assert {type(end) for end in ends if end} <= {ConnectionResetError, RemoteDisconnected}
        assert node.status() == 0
        assert node.event("worker.killed")["level"] == "ERROR"
        assert node.stderr == ""


@pytest.mark.parametrize("stumbles", [("raise", "raise"), ("die", "die")])
def test_a_stop_signal_between_two_starts_ends_the_node(stumbles: Sequence[str]) -> None:
    with RunningNode("--workers", "1", stumbles=stumbles) as node:
        until(lambda: len(node.events("worker.died")) == 2, "two failures")
        os.kill(node.process.pid, signal.SIGTERM)
        assert node.status() == 0
        assert node.events("node.failed") == []


def test_a_stop_signal_before_the_first_worker_starts_none() -> None:
    with RunningNode("--workers", "2") as node:
        assert node.port  # signals are held from before this line on
        os.kill(node.process.pid, signal.SIGTERM)
        assert node.status() == 0
        assert node.events("sanic.server") == []
