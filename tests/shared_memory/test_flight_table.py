"""Requests in flight are counted over all parts, and those of a dead process are forgotten."""

import os

from coregateway.shared_memory import Board
from coregateway.shared_memory.flight_table import CELLS, NOWHERE, REFUSED, WAYS, FlightTable, size_of
from coregateway.shared_memory.memory import SharedMemory


def table(parts: int = 3) -> FlightTable:
    return FlightTable(SharedMemory(size_of(parts)), 0, parts, fresh=True)


def test_all_parts_count_together_up_to_the_limit() -> None:
    flights = table()
    cells = [flights.take(7, part, 4) for part in (0, 1, 2, 0)]
    assert len({*cells}) == 1
    assert flights.in_flight(7) == 4
    assert flights.take(7, 1, 4) == REFUSED
    assert flights.take(8, 1, 4) >= 0
    flights.give_back(7, 0, cells[0])
    assert flights.take(7, 1, 4) == cells[0]
    assert flights.take(7, 1, 5) == cells[0]


def test_a_key_without_requests_leaves_its_cell() -> None:
    flights = table()
    sets = CELLS // WAYS
    marks = [1 + number * sets for number in range(WAYS + 1)]
    cells = [flights.take(mark, 0, 9) for mark in marks]
    assert cells[-1] == NOWHERE
    assert flights.uncounted == 1
    flights.give_back(marks[-1], 0, cells[-1])
    flights.give_back(marks[3], 0, cells[3])
    assert flights.take(marks[-1], 1, 9) == cells[3]
    flights.give_back(marks[3], 0, cells[3])  # the cell is another's by now
    assert flights.in_flight(marks[-1]) == 1


def test_what_a_part_had_is_forgotten_and_the_rest_stays() -> None:
    flights = table()
    for part in (0, 1, 1):
        flights.take(7, part, 9)
    flights.take(8, 1, 9)
    flights.clear(1)
    assert [flights.in_flight(mark) for mark in (7, 8)] == [1, 0]
    flights.clear(2)
    assert flights.in_flight(7) == 1


def test_a_board_forgets_what_a_dead_process_had_in_flight() -> None:
    board = Board(1)
    part = board.claim(1 << 30, 0)
    assert part is not None
    board.flights.take(7, part.number, 9)
    board.bury(1 << 30)
    assert board.flights.in_flight(7) == 0
    other = board.claim(os.getpid(), 0)
    assert other is not None
    board.flights.take(7, other.number, 9)
    assert board.flights.in_flight(7) == 1
