"""Made-up measurements: their windows of time, and values that stay near their level."""

import pytest

from coregateway.demo.series import MAX_ROWS, METRICS, RETENTION, Series, TooManyRowsError, rows, window

NOW = 1_000_000.75
NEWEST = 1_000_000


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        (None, None, NEWEST, NEWEST),
        (NEWEST - 2, None, NEWEST, NEWEST - 2),
        (NEWEST - 2.5, NEWEST - 0.5, NEWEST - 1, NEWEST - 2),  # only whole seconds that lie within
        (NEWEST - 2, NEWEST + 50, NEWEST, NEWEST - 2),  # nothing of the future
        (NEWEST - 10**7, NEWEST - RETENTION + 3, NEWEST - RETENTION + 3, NEWEST - RETENTION + 1),
        (None, NEWEST - RETENTION + 3, NEWEST - RETENTION + 3, NEWEST - RETENTION + 1),
    ],
)
def test_a_window_goes_from_the_newest_row_to_the_oldest(
    start: float | None, end: float | None, first: int, last: int
) -> None:
    seconds = list(window(start, end, NOW))
    assert seconds == list(range(first, last - 1, -1))


@pytest.mark.parametrize(
    ("start", "end"), [(NEWEST, NEWEST - 1), (NEWEST + 1, None), (None, NEWEST - 2 * RETENTION), (0.1, 0.9)]
)
def test_a_window_may_hold_nothing(start: float | None, end: float | None) -> None:
    assert not window(start, end, NOW)


def test_a_window_has_a_limit() -> None:
    assert len(window(NEWEST - MAX_ROWS + 1, None, NOW)) == MAX_ROWS
    with pytest.raises(TooManyRowsError) as error:
        window(NEWEST - MAX_ROWS, None, NOW)
    assert error.value.rows == MAX_ROWS + 1


@pytest.mark.parametrize("metric", METRICS)
def test_values_move_about_their_level_and_do_not_stand_still(metric: str) -> None:
    shape = METRICS[metric]
    values = [value for _, value in rows(Series.of("pump", metric), range(0, 4000, 7))]
    reach = shape.swing + shape.noise
    assert all(shape.level - reach <= value <= shape.level + reach for value in values)
    assert max(values) - min(values) > shape.swing
    assert len(set(values)) > len(values) / 2


def test_a_metric_that_nobody_measures_is_unknown() -> None:
    with pytest.raises(KeyError):
        Series.of("pump", "mood")
