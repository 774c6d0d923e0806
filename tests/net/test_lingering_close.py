"""A connection that is about to be closed lasts until its peer has left or had its time, or too many do."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from coregateway.net import lingering_close as module
from coregateway.net.lingering_close import DRAIN, MOST, LingeringClose, LingeringConnections

SECONDS = 30.0


class Timer:
    def __init__(self, due: float, call: Callable[[], object]) -> None:
        self.due = due
        self.call = call
        self.over = False

    def cancel(self) -> None:
        self.over = True


class Clock:
    """Stands for the loop as far as it keeps time."""

    def __init__(self) -> None:
        self._now = 0.0
        self._timers: list[Timer] = []

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        timer = Timer(self._now + seconds, call)
        self._timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        self._now += seconds
        for timer in self._timers:
            if timer.due <= self._now and not timer.over:
                timer.over = True
                timer.call()


class One:
    """A connection that lingers, and how often it was closed."""

    def __init__(self, others: LingeringConnections, clock: Clock) -> None:
        self.closed = 0
        self.lingering = LingeringClose(cast(Any, clock), others, self._close, SECONDS)

    def _close(self) -> None:
        self.closed += 1


def test_it_ends_when_the_peer_has_left() -> None:
    others, clock = LingeringConnections(), Clock()
    one, another = One(others, clock), One(others, clock)
    assert others.count == 2
    one.lingering.cancel()
    one.lingering.cancel()
    assert others.count == 1
    another.lingering.cancel()
    clock.advance(2 * SECONDS)
    assert (one.closed, another.closed, others.count) == (0, 0, 0)


@pytest.mark.parametrize(
    ("drain_at", "lasts"),
    [
        (None, SECONDS),
        (0.0, DRAIN),
        (10.0, 10.0 + DRAIN),
        (SECONDS - 1.0, SECONDS),
    ],
)
def test_it_ends_when_the_peer_has_had_its_time_or_that_of_a_drain(
    drain_at: float | None, lasts: float
) -> None:
    clock = Clock()
    one = One(LingeringConnections(), clock)
    before = lasts - 0.5
    if drain_at is not None:
        clock.advance(drain_at)
        before -= drain_at
        one.lingering.hurry()
    clock.advance(before)
    assert one.closed == 0
    clock.advance(0.5)
    assert one.closed == 1


@pytest.mark.parametrize("most", [1, 3, 10])
def test_one_too_many_ends_the_one_that_has_lingered_longest(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    if module.__file__.endswith(".so"):
        most = MOST  # a constant of machine code
    else:
        monkeypatch.setattr(module, "MOST", most)
    others, clock = LingeringConnections(), Clock()
    some = [One(others, clock) for _ in range(most)]
    assert not any(one.closed for one in some)
    newcomers = [One(others, clock) for _ in range(3)]
    ended = [one.closed for one in some + newcomers]
    assert ended == [1] * 3 + [0] * most
    assert others.count == most
