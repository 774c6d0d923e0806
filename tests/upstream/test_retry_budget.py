"""Repetitions are a share of what the node has in flight, and as many in any case."""

import pytest

from coregateway.upstream.retry_budget import RetryBudget


class Counts:
    """Two workers of a node."""

    def __init__(self, in_flight: int, elsewhere: int = 0) -> None:
        self._in_flight = in_flight
        self._elsewhere = elsewhere
        self.own = 0

    def in_flight(self) -> int:
        return self._in_flight

    def repetitions(self) -> int:
        return self.own + self._elsewhere

    def note_repetitions(self, count: int) -> None:
        self.own = count


@pytest.mark.parametrize(
    ("in_flight", "elsewhere", "share", "minimum", "allowed"),
    [
        (0, 0, 0.2, 3, 3),
        (10, 0, 0.2, 3, 3),
        (100, 0, 0.2, 3, 20),
        (100, 15, 0.2, 3, 5),
        (100, 25, 0.2, 3, 0),
        (100, 0, 0.0, 0, 0),
        (100, 0, 0.0, 2, 2),
        (19, 0, 0.2, 0, 3),
    ],
)
def test_so_many_may_be_under_way(
    in_flight: int, elsewhere: int, share: float, minimum: int, allowed: int
) -> None:
    budget = RetryBudget(Counts(in_flight, elsewhere), share, minimum)
    assert [budget.take() for _ in range(allowed + 2)] == [True] * allowed + [False] * 2


def test_what_has_ended_makes_room() -> None:
    counts = Counts(0)
    budget = RetryBudget(counts, 0.2, 1)
    assert budget.take()
    assert not budget.take()
    budget.give_back()
    assert counts.own == 0
    assert budget.take()
