"""Which of the keys with requests in flight are nearest to their limits, by what workers have written."""

import os
from collections.abc import Sequence
from time import time
from typing import Any

import orjson

from coregateway.observability.status.nearest import FRESH, MOST, FlightRow, fullest_of
from coregateway.shared_memory import Board


def held(board: Board, mark: int, *counts: int) -> None:
    """So many requests of a key are in flight, of the worker in each place."""
    for part, count in enumerate(counts):
        for _ in range(count):
            assert board.flights.take(mark, part, 1000) >= 0


def told(board: Board, *written: Sequence[FlightRow], age: float = 0.0) -> list[dict[str, Any]]:
    """By what each worker has written."""
    for part, rows in zip(board.parts, written, strict=False):
        part.enter(os.getpid(), part.number)
        text = orjson.dumps({"time": time() - age, "rates": [], "flights": rows})
        assert part.nearest.write(text, news=True)
    return fullest_of(board, board.parts)


def test_those_with_the_most_of_what_may_be_come_first_with_what_is_in_flight_now() -> None:
    board = Board(2)
    held(board, 1, 1, 2)
    held(board, 2, 0, 4)
    first = [("few", "consumer:a", 1, 4, 1), ("gone", "192.0.2.1", 9, 9, 3)]
    second = [("few", "consumer:a", 3, 4, 1), ("few", "consumer:b", 1, 4, 2)]
    assert told(board, first, second) == [
        {"policy": "few", "key": "consumer:b", "in_flight": 4, "max": 4},
        {"policy": "few", "key": "consumer:a", "in_flight": 3, "max": 4},
    ]


def test_what_is_old_does_not_count() -> None:
    board = Board(1)
    held(board, 1, 1)
    rows = [("few", "consumer:a", 1, 4, 1)]
    assert told(board, rows)
    assert told(board, rows, age=FRESH + 5.0) == []


def test_they_are_few() -> None:
    board = Board(1)
    rows = [("few", f"consumer:{number}", 1, 100 + number, number) for number in range(1, 20)]
    for *_, mark in rows:
        held(board, mark, 1)
    assert [row["max"] for row in told(board, rows)] == [101 + number for number in range(MOST)]
