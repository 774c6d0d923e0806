"""Which clients are too slow for those that wait: a rule, with a clock of its own."""

from collections.abc import Sequence

import pytest

from coregateway.upstream.slow_clients import CALM, WINDOW, SlowClients, Transfer

RATE = 1000
TICK = 0.05
"""Seconds between two looks."""


class Body(Transfer):
    """One that moves as it is told."""

    def __init__(self, rate: float, *, held: bool = True, burst: int = 0, upload: bool = False) -> None:
        super().__init__()
        self._rate = rate
        self._held = held
        self._burst = burst
        self._upload = upload
        self.passed = 0.0
        self.ended = False

    def turn(self) -> None:
        self.passed += self._rate * TICK

    def moved(self) -> int:
        return int(self.passed) + self._burst

    def is_held_up(self) -> bool:
        return self._held and not self.ended

    def is_upload(self) -> bool:
        return self._upload

    def end(self) -> None:
        self.ended = True


def looks(
    clients: SlowClients, bodies: Sequence[Body], seconds: float, *, waiting: int, start: float = 0.0
) -> float:
    """Look for so many seconds; returns the clock."""
    now = start
    for _ in range(round(seconds / TICK)):
        now += TICK
        for body in bodies:
            body.turn()
        clients.look(waiting, now)
    return now


def watched(*bodies: Body, rate: int = RATE) -> SlowClients:
    clients = SlowClients(rate)
    clients.transfers.update(bodies)
    return clients


@pytest.mark.parametrize(
    ("body", "ends"),
    [
        pytest.param(Body(0), True, id="nothing moves"),
        pytest.param(Body(RATE * 0.9), True, id="a little slower than the limit"),
        pytest.param(Body(RATE * 1.1), False, id="a little quicker"),
        pytest.param(Body(0, burst=10**6), True, id="what has moved before counts for nothing"),
        pytest.param(Body(0, held=False), False, id="it waits for its upstream"),
    ],
)
def test_a_client_that_is_too_slow_for_three_seconds_is_ended(body: Body, ends: bool) -> None:
    clients = watched(body)
    now = looks(clients, [body], WINDOW - TICK, waiting=1)
    assert not body.ended
    looks(clients, [body], 3 * TICK, waiting=1, start=now)
    assert body.ended is ends
    assert clients.ended == int(ends)


def test_a_limit_of_0_ends_none() -> None:
    body = Body(0)
    looks(watched(body, rate=0), [body], 2 * WINDOW, waiting=1)
    assert not body.ended


def test_the_slowest_go_first_and_no_more_than_wait() -> None:
    bodies = [Body(300), Body(0), Body(900), Body(100)]
    clients = watched(*bodies)
    looks(clients, bodies, WINDOW + 1.5 * TICK, waiting=2)
    assert [body.ended for body in bodies] == [False, True, False, True]


def test_where_only_uploads_wait_only_uploads_are_ended() -> None:
    bodies = [Body(0), Body(300, upload=True)]
    clients = watched(*bodies)
    for tick in range(round(WINDOW / TICK) + 3):
        for body in bodies:
            body.turn()
        clients.look(2, tick * TICK, only_uploads=True)
    assert [body.ended for body in bodies] == [False, True]


def test_time_in_which_none_waits_does_not_count() -> None:
    body = Body(0)
    clients = watched(body)
    now = looks(clients, [body], WINDOW - TICK, waiting=1)
    now = looks(clients, [body], WINDOW - TICK, waiting=1, start=now + CALM + TICK)
    assert not body.ended
    looks(clients, [body], 3 * TICK, waiting=1, start=now)
    assert body.ended


def test_one_that_has_just_begun_has_its_time() -> None:
    old, young = Body(0), Body(0)
    clients = watched(old)
    now = looks(clients, [old], WINDOW - TICK, waiting=1)
    clients.transfers.add(young)
    looks(clients, [old, young], 4 * TICK, waiting=2, start=now)
    assert (old.ended, young.ended) == (True, False)
