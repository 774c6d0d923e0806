"""The hour of a node is what its workers have counted, whichever of them writes it down."""

import pytest

from coregateway.observability.history import ALL, EVERY, Historian
from coregateway.observability.metrics.families import DURATION, REQUEST_BYTES, REQUESTS, RESPONSE_BYTES, key
from coregateway.shared_memory import Board, Part
from coregateway.shared_memory.history import KINDS, Row

NOON = 1_764_417_600.0


@pytest.fixture(name="board")
def fixture_board() -> Board:
    return Board(2, 2)


def count(part: Part, backend: str, code: str, number: int = 1) -> None:
    added = {
        key(REQUESTS, backend, "/", "GET", code): number,
        key(REQUEST_BYTES, backend): 10 * number,
        key(RESPONSE_BYTES, backend): 100 * number,
    }
    for name, amount in added.items():
        at = part.series.slot(name)
        assert at is not None
        part.series.numbers[at] += amount
    at = part.series.slot(key(DURATION, backend))
    assert at is not None
    part.series.numbers[at + 1] += number
    part.series.numbers[at + len(DURATION.buckets) + 1] += 0.008 * number


def look(historian: Historian, now: float) -> None:
    for _ in historian.look(now):
        pass


def row(board: Board, name: str, now: float) -> Row:
    *_, last = board.history.minutes.read(name, now)
    return last


def test_a_row_has_what_all_workers_have_counted(board: Board) -> None:
    historian = Historian(board)
    look(historian, NOON)
    one, other = board.parts[:2]
    for code, number in (("200", 3), ("101", 1), ("404", 2), ("502", 1), ("499", 5)):
        count(one, "a", code, number)
    count(other, "a", "200")
    count(other, "", "404", 9)
    look(historian, NOON + 1)
    of_a = row(board, "a", NOON + 1).amounts
    assert of_a[:KINDS] == [5, 2, 1, 5]
    assert of_a[KINDS + 1] == 13
    assert of_a[-3] == pytest.approx(0.104)
    assert of_a[-2:] == [130, 1300]
    assert row(board, ALL, NOON + 1).amounts[:KINDS] == [5, 11, 1, 5]
    look(historian, NOON + 2)
    assert row(board, "a", NOON + 2).amounts == of_a
    assert [each.amounts[0] for each in board.history.seconds.read(ALL, NOON + 2)] == [0, 5, 0]


def test_the_next_writer_counts_nothing_twice_and_forgets_nothing(board: Board) -> None:
    part = board.parts[0]
    count(part, "a", "200", 3)
    look(Historian(board), NOON)
    count(part, "a", "200", 2)  # its worker dies before the next look
    look(Historian(board), NOON + 5)
    seconds = board.history.seconds.read("a", NOON + 5)
    assert [(each.when - NOON, each.amounts[0]) for each in seconds] == [(0, 3), (5, 2)]
    assert [each.span for each in board.history.seconds.read(ALL, NOON + 5)] == [EVERY, 5]


def test_a_clock_that_is_put_back_stops_nothing(board: Board) -> None:
    historian = Historian(board)
    look(historian, NOON)
    count(board.parts[0], "a", "200")
    look(historian, NOON - 100)
    assert row(board, "a", NOON - 100).amounts[0] == 1
