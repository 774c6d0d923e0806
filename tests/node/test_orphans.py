"""PID 1 of a container collects what nobody else does."""

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from coregateway.node.orphans import LOOK, PATIENCE, Orphans
from tests.node.running_node import RunningNode, until

CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def can_unshare() -> bool:
    with suppress(OSError):
        return subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode == 0
    return False


def zombies(node: RunningNode) -> list[int]:
    """The ids of the group's zombies, as seen from outside of its container."""
    found: list[int] = []
    for pid in node.group():
        with suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                found.append(pid)
    return found


@pytest.mark.skipif(not can_unshare(), reason="no namespace of process ids may be made here")
@pytest.mark.parametrize("mode", ["--workers=2", "--single-process"])
def test_as_pid_1_a_gateway_collects_orphans_and_leaves_others_their_children(mode: str) -> None:
    with RunningNode(mode, command=CONTAINER) as node:
        pids = node.ready().pids()
        for _ in range(3):
            status, answer = node.get("/orphan")
            assert status == 200
            assert json.loads(answer)[1] == 0, "the status of a child is its starter's"
        until(lambda: zombies(node), "orphans have ended")
        until(lambda: not zombies(node), "and are collected")
        assert node.ready().pids() == pids
        os.kill(main_process(node), signal.SIGTERM)
        assert node.status() == 0
        assert node.stderr == ""


def main_process(node: RunningNode) -> int:
    """The child of `unshare`, by its id outside."""
    path = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children")
    return int(path.read_text().split()[0])


def test_another_process_than_pid_1_collects_nothing() -> None:
    ended = subprocess.Popen(["true"])
    until(lambda: Path(f"/proc/{ended.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z", "ended")
    orphans = Orphans()
    assert not orphans.is_init
    assert orphans.look(0.0, ()) == orphans.look(1000.0, ()) == []
    assert ended.wait() == 0


@pytest.mark.parametrize("own", [True, False])
def test_what_is_not_ones_own_is_collected_after_some_patience(
    monkeypatch: pytest.MonkeyPatch, *, own: bool
) -> None:
    ended = subprocess.Popen(["false"])
    until(lambda: Path(f"/proc/{ended.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z", "ended")
    orphans = Orphans()
    monkeypatch.setattr(orphans, "is_init", True)
    children = {ended.pid} if own else set[int]()
    start = monotonic()
    assert orphans.look(start, children) == []
    assert orphans.look(start + PATIENCE - LOOK / 2, children) == []
    collected = orphans.look(start + PATIENCE + LOOK, children)
    assert (ended.pid in collected) is not own
    assert ended.wait() == (1 if own else 0)  # its status is lost with it, as subprocess has it
