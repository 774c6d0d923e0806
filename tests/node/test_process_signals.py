"""What signals to the processes of a node do, in each part of its life."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from threading import Event, Thread

import pytest

from coregateway.node.process_signals import SIGNALS, SignalQueue
from tests.node.running_node import RunningNode, until

HARMLESS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)


def to_main(node: RunningNode, number: int) -> None:
    os.kill(node.process.pid, number)


def to_all(node: RunningNode, number: int) -> None:
    os.killpg(node.process.pid, number)


def to_the_others(node: RunningNode, number: int) -> None:
    for pid in node.group():
        if pid != node.process.pid:
            os.kill(pid, number)


@pytest.mark.parametrize(
    ("mode", "send", "warnings"),
    [
        ("--workers=2", to_main, 3),
        ("--workers=2", to_all, 3),
        ("--workers=2", to_the_others, 0),
        ("--single-process", to_all, 1),
    ],
)
def test_a_signal_without_meaning_changes_nothing_and_a_hangup_is_told(
    mode: str, send: Callable[[RunningNode, int], None], warnings: int
) -> None:
    with RunningNode(mode, start=1.0) as node:
        assert node.port
        if mode != "--single-process":  # which is not prepared before it serves
            for number in HARMLESS:  # its workers start
                send(node, number)
        before = node.ready().pids()
        for number in HARMLESS:
            send(node, number)
        with closing(node.connect()) as slow:
            slow.request("GET", "/slow")
            os.kill(node.process.pid, signal.SIGTERM)
            node.event("worker.draining")
            for number in HARMLESS:
                send(node, number)
            assert slow.getresponse().read() == b"complete"
        assert node.status() == 0
        assert {line["number"] for line in node.events("worker.draining")} == set(range(len(before)))
        assert node.events("worker.died") == []
        told = node.events("node.reload_unavailable")
        assert len(told) == warnings
        assert {line["level"] for line in told} <= {"WARNING"}
        assert node.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])  # SIGTERM: `test_workers`
@pytest.mark.parametrize("mode", ["--workers=2", "--single-process"])
def test_each_signal_to_stop_drains(mode: str, number: int) -> None:
    with RunningNode(mode) as node:
        node.ready()
        with closing(node.connect()) as slow:
            slow.request("GET", "/slow")
            until(lambda: node.get("/")[0] == 200, "it has arrived")
            os.kill(node.process.pid, number)
            assert slow.getresponse().read() == b"complete"
        assert node.status() == 0
        assert node.stderr == ""


def test_a_stop_signal_to_a_worker_drains_that_one_and_another_takes_its_place() -> None:
    with RunningNode("--workers", "2") as node:
        before = node.ready().pids()
        os.kill(before[0], signal.SIGQUIT)
        assert node.event("worker.died")["status"] == 0
        until(lambda: node.ready().pids()[0] not in (0, before[0]), "replaced")
        assert node.pids()[1] == before[1]


@pytest.fixture
def open_thread() -> Iterator[Thread]:
    """One that is older than the blocking, as that of a plugin; afterwards signals are as before."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ended = Event()
    thread = Thread(target=ended.wait)
    thread.start()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    yield thread
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    ended.set()
    thread.join()


@pytest.mark.parametrize("number", sorted(SIGNALS))
def test_a_signal_that_another_thread_was_handed_waits_for_its_turn(
    open_thread: Thread, number: signal.Signals
) -> None:
    queue = SignalQueue()
    assert open_thread.ident is not None
    for _ in range(2):
        signal.pthread_kill(open_thread.ident, number)
    signal.raise_signal(number)  # of this thread itself
    taken = [until(lambda: queue.next(0.0), "a signal")]
    taken += iter(lambda: queue.next(0.1), None)
    assert set(taken) == {number}
    assert len(taken) >= 2


def test_no_signal_is_no_number(open_thread: Thread) -> None:
    assert open_thread.is_alive()
    assert SignalQueue().next(0.0) is None
