"""Who stands still, by a watcher that may have stood still itself."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from http.client import HTTPConnection

import pytest

from coregateway.node.watchdog import LONGEST_STEP, Watchdog
from tests.node.running_node import RunningNode, until

type Look = tuple[float, dict[int, int]]


def steady(until: float, numbers: Callable[[int], dict[int, int]]) -> list[Look]:
    """A look each half second."""
    return [(look / 2, numbers(look)) for look in range(int(until * 2) + 1)]


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        pytest.param(steady(60, lambda look: {7: look}), [], id="a loop that turns"),
        pytest.param(steady(60, lambda look: {7: look // 50}), [], id="a loop that turns every 25 s"),
        pytest.param(steady(45, lambda _: {7: 3}), [(30.5, 7)], id="one that stands"),
        pytest.param(steady(45, lambda look: {7: min(look, 10)}), [(35.5, 7)], id="one that stops at 5 s"),
        pytest.param(steady(45, lambda _: {7: 0}), [(30.5, 7)], id="one that never comes up"),
        pytest.param(steady(45, lambda look: {7: 0, 8: look}), [(30.5, 7)], id="one of two"),
        pytest.param(steady(45, lambda _: {7: 0, 8: 9}), [(30.5, 7), (30.5, 8)], id="both"),
        pytest.param(
            steady(45, lambda look: {7: 0} if look < 60 else {8: 0}),
            [],
            id="a successor has all the time again",
        ),
        pytest.param(steady(62, lambda _: {7: 3}), [(30.5, 7), (61.0, 7)], id="one that cannot be killed"),
        pytest.param([(0.0, {7: 3}), (3600.0, {7: 3}), (3600.5, {7: 4})], [], id="an hour asleep"),
        pytest.param(
            [(0.0, {7: 3}), *((3600.0 + look, {7: 3}) for look, _ in steady(40, lambda _: {}))],
            [(3629.5, 7)],
            id="an hour asleep, and only the watcher wakes up",
        ),
    ],
)
def test_a_process_is_told_of_when_its_number_stays_the_same(
    looks: Sequence[Look], told: list[tuple[float, int]]
) -> None:
    watchdog = Watchdog(30.0)
    assert [(now, pid) for now, numbers in looks for pid in watchdog.look(now, numbers)] == told


def test_without_a_limit_nothing_is_told() -> None:
    watchdog = Watchdog(0.0)
    assert [pid for now in range(0, 100_000, 10) for pid in watchdog.look(float(now), {7: 0})] == []


def test_a_slow_watcher_gives_more_time_never_less() -> None:
    watchdog = Watchdog(10.0)
    times = [now for now in range(0, 200, 5) if watchdog.look(float(now), {7: 0})]
    assert times[0] >= 10.0 / LONGEST_STEP * 5


def test_workers_that_do_not_come_up_or_hang_are_replaced_and_nobody_else_is_hurt() -> None:
    with RunningNode("--workers", "4", watchdog=15, stumbles=("stop", "block", "wait")) as node:
        # Where others take the processor, one that would come up may be late as well.
        until(lambda: len(node.events("worker.late")) >= 3, "three that do not come up")
        before = node.ready().pids()
        late = {line["pid"] for line in node.events("worker.late")}
        assert not late & set(before)
        assert {line["pid"] for line in node.events("worker.died")} == late
        assert node.event("worker.late")["level"] == "ERROR"

        with ExitStack() as opened:
            by_pid: dict[int, HTTPConnection] = {}
            while len(by_pid) < len(before):  # the kernel chooses the worker
                connection = opened.enter_context(closing(node.connect()))
                connection.request("GET", "/")
                by_pid[int(connection.getresponse().read())] = connection
            *hung, well = before
            os.kill(hung[0], signal.SIGSTOP)
            by_pid[hung[1]].request("GET", "/block")
            by_pid[hung[2]].request("GET", "/deadlock")
            # The node counts a hung worker as serving until it has collected the worker's end.
            until(lambda: {line["pid"] for line in node.events("worker.died")} >= {*hung}, "three that end")
        assert {line["pid"] for line in node.events("worker.hung")} >= {*hung}
        after = node.ready().pids()
        assert well in after
        assert not {*hung} & {*after}
        assert {line["status"] for line in node.events("worker.died")} == {-signal.SIGKILL}
        assert node.stderr == ""


def stop_all(pid: int) -> None:
    os.killpg(pid, signal.SIGSTOP)


def stop_main(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


@pytest.mark.parametrize("stop", [stop_all, stop_main])
def test_a_node_that_was_stopped_for_longer_than_the_limit_takes_no_worker_for_hung(
    stop: Callable[[int], None],
) -> None:
    limit = 15.0  # a worker that comes up beside others that compute takes a good part of it
    with RunningNode("--workers", "2", watchdog=limit) as node:
        before = node.ready().pids()
        stop(node.process.pid)
        time.sleep(limit + 1)
        os.killpg(node.process.pid, signal.SIGCONT)
        time.sleep(1)  # several looks
        assert node.ready().pids() == before
        taken = {line["pid"] for event in ("worker.hung", "worker.late") for line in node.events(event)}
        assert not taken & {*before}
