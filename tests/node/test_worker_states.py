"""A node outlives the process in which Sanic keeps its notes."""

import os
import signal
from multiprocessing import Manager
from pathlib import Path

from coregateway.node.worker_states import WorkerStates
from tests.node.running_node import RunningNode, until


def keeper_of(node: RunningNode, workers: list[int]) -> int:
    """The only other child of the main process that is no resource tracker."""
    others = {pid for pid in node.group() if pid not in workers and pid != node.process.pid}
    return next(pid for pid in others if "resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_text())


def test_the_loss_of_the_notes_is_told_and_workers_are_replaced_all_the_same() -> None:
    with RunningNode("--workers", "2") as node:
        before = node.ready().pids()
        os.kill(keeper_of(node, before), signal.SIGKILL)
        assert node.event("keeper.died")["level"] == "ERROR"
        os.kill(before[0], signal.SIGKILL)
        until(lambda: node.pids()[0] != before[0], "replaced")
        assert node.ready().pids()[1] == before[1]
        os.kill(node.process.pid, signal.SIGTERM)
        assert node.status() == 0
        assert node.stderr == ""
        assert node.events("exception.uncaught") == []


def test_notes_are_kept_until_their_process_ends_and_then_empty() -> None:
    with Manager() as manager:
        states = WorkerStates(manager.dict())
        states["a"] = {"starts": 2}
        assert dict(states) == {"a": {"starts": 2}}
        assert states.get("b") is None
        del states["a"]
        assert len(states) == 0
        states["a"] = {"starts": 3}
    states["a"] = {"starts": 4}
    assert states["a"] == {"starts": 0}
    assert list(states) == []
    del states["a"]
