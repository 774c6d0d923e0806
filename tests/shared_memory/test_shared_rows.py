"""Rows by key that all processes share."""

import os

from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.series import WIDTH
from coregateway.shared_memory.shared_rows import HOLD, ROWS, SIZE, SharedRows


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


def full(now: float) -> SharedRows:
    rows = SharedRows(SharedMemory(SIZE), 0)
    for number in range(ROWS):
        row = rows.row(str(number), now)
        assert row is not None
        row[5] = number + 1.0
    return rows


def test_a_row_that_none_holds_any_more_becomes_another_key_s_with_none_of_its_numbers() -> None:
    rows = full(1000.0)
    for number in range(ROWS):
        if number != 7:
            assert rows.hold(str(number), 1000.0 + HOLD - 1.0)
    assert rows.row("early", 1000.0 + HOLD - 1.0) is None
    made = rows.row("new", 1000.0 + HOLD)
    assert made is not None
    assert list(made) == [0.0] * WIDTH
    assert rows.find("7") is None
    assert not rows.hold("7", 1000.0 + HOLD)
    assert rows.row("one more", 1000.0 + HOLD) is None
    kept = rows.find("8")
    assert kept is not None
    assert kept[5] == 9.0


def test_another_process_sees_that_a_row_is_another_key_s() -> None:
    memory = SharedMemory(SIZE)
    one, other = SharedRows(memory, 0), SharedRows(memory, 0)
    for number in range(ROWS):
        assert one.row(str(number), 1000.0) is not None
    assert other.find("0") is not None  # it knows where that is
    made = one.row("new", 1000.0 + HOLD)
    assert made is not None
    made[0] = 5.0
    assert other.find("0") is None
    assert not other.hold("0", 1000.0 + HOLD)
    found = other.find("new")
    assert found is not None
    assert found[0] == 5.0
    assert "0" not in [key for key, _ in other.beginning_with("")]
    again = other.row("0", 1000.0 + HOLD)  # in the place of another that none holds
    assert again is not None
    assert again[0] == 0.0
    assert found[0] == 5.0


def test_names_that_come_and_go_find_room_for_ever() -> None:
    rows = SharedRows(SharedMemory(SIZE), 0)
    now = 0.0
    for number in range(5 * ROWS):
        now += HOLD / (ROWS - 1)
        row = rows.row(f"name {number}", now)
        assert row is not None, number
        assert row[0] == 0.0
        row[0] = 1.0
