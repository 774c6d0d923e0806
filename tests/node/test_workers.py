"""Several workers are one node: real processes, real signals, real sockets."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from threading import Event

import pytest

from coregateway.testing.queues import has_taken
from tests.node.running_node import ROOT, TARGET, WAIT, RunningNode, until


def spread(node: RunningNode, connections: int) -> Counter[str]:
    """How many of so many open connections each process has."""
    opened = [node.connect() for _ in range(connections)]
    try:
        for connection in opened:
            connection.request("GET", "/")
        return Counter(connection.getresponse().read().decode() for connection in opened)
    finally:
        for connection in opened:
            connection.close()


def test_connections_spread_over_the_workers() -> None:
    with RunningNode("--workers", "4") as node:
        node.ready()
        counts = [spread(node, 64) for _ in range(3)]
        assert max(min(count.values()) if len(count) == 4 else 0 for count in counts) >= 8, counts


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_is_replaced_and_meanwhile_nobody_is_refused(workers: int) -> None:
    with RunningNode("--workers", str(workers)) as node:
        before = node.ready().pids()
        os.kill(before[0], signal.SIGKILL)
        # Those whose connection waits for the replacement are answered, too.
        answers = [node.get("/")[1] for _ in range(16)]
        after = node.ready().pids()
        assert after[0] != before[0]
        assert after[1:] == before[1:]
        assert set(answers) <= {str(pid) for pid in after}
        assert node.event("worker.died")["status"] == -signal.SIGKILL
        assert node.event("worker.restarted")["died_pid"] == before[0]

        os.kill(after[0], signal.SIGKILL)
        until(lambda: len(node.events("worker.restarted")) == 2, "second restart")
        assert [line["pause_s"] for line in node.events("worker.died")] == [0, 1]
        assert node.stderr == ""


def arrives(connection: HTTPConnection) -> None:
    """Wait until a worker has read what was sent."""
    sock: socket.socket = connection.sock
    until(lambda: has_taken(sock.getsockname(), sock.getpeername()), "a worker reads")


def to_main(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def to_group(pid: int) -> None:
    os.killpg(pid, signal.SIGTERM)


def ctrl_c(pid: int) -> None:
    os.killpg(pid, signal.SIGINT)


def to_main_and_group(pid: int) -> None:
    """As `timeout` does."""
    os.kill(pid, signal.SIGTERM)
    os.killpg(pid, signal.SIGTERM)


@pytest.mark.parametrize(
    ("mode", "stop"),
    [
        ("--workers=2", to_main),
        ("--workers=2", to_group),
        ("--workers=2", ctrl_c),
        ("--workers=2", to_main_and_group),
        ("--single-process", to_main_and_group),
    ],
)
def test_a_stop_signal_drains(mode: str, stop: Callable[[int], None]) -> None:
    with RunningNode(mode) as node:
        node.ready()
        with closing(node.connect()) as idle, closing(node.connect()) as slow:
            idle.request("GET", "/")
            idle.getresponse().read()
            slow.putrequest("GET", "/")
            slow.putheader("Content-Length", "1")
            slow.endheaders()
            arrives(slow)
            stop(node.process.pid)
            node.event("worker.draining")
            idle.request("GET", "/readyz")
            assert idle.getresponse().status == 503
            until(node.refuses, "refused")
            slow.send(b"!")
            assert slow.getresponse().status == 200
            assert idle.sock.recv(1) == b""
        assert node.status() == 0
        assert node.stderr == ""


def test_who_waits_in_the_backlog_at_the_end_is_served() -> None:
    with RunningNode("--workers", "1", delay=0.0) as node, ExitStack() as opened:
        connections = [opened.enter_context(closing(node.connect())) for _ in range(17)]
        node.ready()
        connections[0].request("GET", "/busy")
        time.sleep(0.2)  # now its loop stands still for a second
        for connection in connections[1:]:
            connection.request("GET", "/")
        node.process.terminate()
        assert {connection.getresponse().status for connection in connections} == {200}
        assert node.status() == 0


@pytest.mark.parametrize("group", [False, True])
def test_a_stop_signal_during_the_start_ends_the_node(group: bool) -> None:
    with RunningNode("--workers", "2", start=0.5) as node:
        until(lambda: "Starting" in str(node.events("sanic.server")), "starting")
        (os.killpg if group else os.kill)(node.process.pid, signal.SIGINT)
        assert node.status() == 0
        assert node.stderr == ""


def test_a_worker_that_still_starts_is_waited_for_when_others_have_ended_already() -> None:
    with RunningNode("--workers", "2", start=0.5, stagger=2) as node:
        until(lambda: "Starting" in str(node.events("sanic.server")), "starting")
        node.process.terminate()
        assert node.status() == 0
        assert len(node.events("worker.draining")) == 2
        assert node.stderr == ""


def test_a_second_interrupt_ends_at_once() -> None:
    with RunningNode("--workers", "1") as node, closing(node.ready().connect()) as stuck:
        stuck.request("GET", "/endless")
        arrives(stuck)
        os.killpg(node.process.pid, signal.SIGINT)
        node.event("node.stopping")
        time.sleep(1.1)  # sooner it would count as the same signal
        os.killpg(node.process.pid, signal.SIGINT)
        node.event("node.killed")
        node.status()
        assert node.stderr == ""


def test_a_node_that_was_stopped_and_goes_on_is_as_before() -> None:
    with RunningNode("--workers", "1") as node:
        before = node.ready().pids()
        for _ in range(3):
            os.killpg(node.process.pid, signal.SIGSTOP)
            time.sleep(0.2)
            os.killpg(node.process.pid, signal.SIGCONT)
            time.sleep(0.1)
        assert node.ready().pids() == before
        os.kill(before[0], signal.SIGKILL)
        assert node.event("worker.restarted")["died_pid"] == before[0]
        assert node.events("exception.uncaught") == []
        assert node.events("node.stopping") == []


def test_grace_is_all_that_an_endless_exchange_gets() -> None:
    with RunningNode("--workers", "1", grace=0.5) as node, closing(node.ready().connect()) as stuck:
        stuck.request("GET", "/endless")
        arrives(stuck)
        node.process.terminate()
        assert node.status() == 0
        with pytest.raises(ConnectionError):
            stuck.getresponse()
        assert node.stderr == ""


@pytest.mark.parametrize("how", ["", "?gently"])
def test_a_reload_refuses_and_cuts_off_nobody(how: str) -> None:
    # In this order: when an assertion fails, nobody waits for answers of a node that may give none.
    with ThreadPoolExecutor(1) as pool, RunningNode("--workers", "2") as node, ExitStack() as asked:
        before = node.ready().pids()
        done = Event()
        asked.callback(done.set)

        def ask() -> list[int]:
            statuses: list[int] = []
            while not done.is_set():
                statuses.append(node.get("/")[0])
            return statuses

        asking = pool.submit(ask)
        assert node.get("/slow")[0] == 200
        assert node.get(f"/reload{how}")[0] == 200
        until(lambda: not set(node.pids()) & set(before), "all replaced")
        node.ready()
        for pid in before:
            until(lambda pid=pid: not is_alive(pid), "old worker gone")
        done.set()
        assert set(asking.result(WAIT)) == {200}
        assert node.events("worker.restarted") == []
        assert node.stderr == ""


def is_alive(pid: int) -> bool:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_nothing_outlives_the_main_process() -> None:
    with RunningNode("--workers", "2") as node:
        group = node.ready().group()
        assert len(group) >= 4
        node.process.kill()
        for pid in group:
            until(lambda pid=pid: not is_alive(pid), f"{pid} gone")
        assert node.refuses()


def test_the_next_gateway_starts_on_the_port_of_the_last_one() -> None:
    with RunningNode("--workers", "2") as first:
        port = first.ready().port
        with closing(first.connect()) as idle:
            idle.request("GET", "/")
            idle.getresponse().read()
            first.process.terminate()
            assert first.status() == 0  # it closed the idle connection, which is in TIME_WAIT now
    with RunningNode("--workers", "2", port=port) as second:
        assert second.ready().port == port


@pytest.mark.parametrize("by", ["listener", "gateway"])
def test_a_taken_port_is_told_in_a_line(by: str) -> None:
    with RunningNode("--single-process") as first, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1] if by == "listener" else first.port
        command = [sys.executable, "-m", "sanic", TARGET, "--port", str(port)]
        command += ["--workers", "2"]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT, check=False)
        assert ended.returncode == 1
        assert ended.stderr == f"cannot listen on 127.0.0.1:{port}: address already in use\n"
        assert ended.stdout == ""
