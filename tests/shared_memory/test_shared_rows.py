"""Rows by key that all processes share."""

import os

from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.shared_rows import ROWS, SIZE, SharedRows


def test_two_processes_find_the_same_row_by_its_key() -> None:
    memory = SharedMemory(SIZE)
    rows = SharedRows(memory, 0)
    assert rows.find("a") is None
    child = os.fork()
    if not child:  # what happens here is seen from outside alone
        own = SharedRows(memory, 0)
        for number in range(50):
            row = own.row(f"key {number}")
            if row is not None:
                row[3] = number
        own.tell(7.5)
        os._exit(0)
    for number in range(50):
        row = rows.row(f"key {number}")
        assert row is not None
        row[4] = number
    os.waitpid(child, 0)
    for number in range(50):
        row = rows.find(f"key {number}")
        assert row is not None
        assert (row[3], row[4]) == (number, number)
    assert rows.news == 7.5


def test_a_long_key_is_another_than_its_like() -> None:
    rows = SharedRows(SharedMemory(SIZE), 0)
    one, other = rows.row("x" * 200 + "1"), rows.row("x" * 200 + "2")
    assert one is not None
    assert other is not None
    one[0] = 1.0
    assert other[0] == 0.0
    found = rows.find("x" * 200 + "1")
    assert found is not None
    assert found[0] == 1.0


def test_a_table_that_is_full_says_so() -> None:
    rows = SharedRows(SharedMemory(SIZE), 0)
    assert all(rows.row(str(number)) is not None for number in range(ROWS))
    assert rows.row("one more") is None
    assert rows.row("0") is not None
