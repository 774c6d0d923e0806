"""When a worker that died is started again."""

import pytest

from coregateway.node.lives import Life, deaths_in_a_row, pause_before_restart


@pytest.mark.parametrize(
    ("deaths", "pause"),
    [(1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 30), (8, 30), (5000, 30)],
)
def test_the_pause_doubles_with_every_death_in_a_row(deaths: int, pause: float) -> None:
    assert pause_before_restart(deaths) == pause


@pytest.mark.parametrize(
    ("before", "lived", "deaths"),
    [(0, 0.1, 1), (1, 0.1, 2), (7, 59.9, 8), (7, 60.0, 1), (0, 3600.0, 1)],
)
def test_a_minute_of_life_makes_up_for_the_deaths_before(before: int, lived: float, deaths: int) -> None:
    assert deaths_in_a_row(before, lived) == deaths


@pytest.mark.parametrize(
    ("served", "pauses"),
    [(None, [0, 1, 2, 4]), (0.5, [0, 1, 2, 4]), (60.0, [0, 0, 0, 0])],
)
def test_only_time_in_service_makes_up_for_deaths(served: float | None, pauses: list[float]) -> None:
    """A worker that takes a minute to fail has not lived for a minute."""
    life = Life()
    told: list[float] = []
    for start in (0.0, 1000.0, 2000.0, 3000.0):
        life.begin(7)
        if served is not None:
            life.up_at = start + 500 - served
        told.append(life.end(start + 500))
    assert told == pauses
