"""What is kept of a key is found again, and a full table forgets those that would be free next."""

import random

from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.rate_table import CELLS, SIZE, WAYS, RateTable


def table() -> RateTable:
    return RateTable(SharedMemory(SIZE), 0, fresh=True)


def keep(rates: RateTable, mark: int, time: int, now: int) -> None:
    held = rates.hold(mark)
    rates.write(rates.find(mark, now), mark, time, now)
    rates.let_go(held)


def kept(rates: RateTable, mark: int, now: int) -> int:
    return rates.time(rates.find(mark, now), mark)


def test_a_key_is_found_again() -> None:
    rates = table()
    marks = [rates.mark(b"key %d" % number) for number in range(2000)]
    assert len({*marks}) == 2000
    assert 0 not in marks
    for number, mark in enumerate(marks):
        keep(rates, mark, 100 + number, 0)
    assert [kept(rates, mark, 0) for mark in marks] == [100 + number for number in range(2000)]
    assert rates.evictions == 0
    assert kept(rates, rates.mark(b"another"), 0) == 0


def test_a_cell_whose_time_has_passed_is_free() -> None:
    rates = table()
    sets = CELLS // WAYS
    marks = [1 + number * sets for number in range(WAYS + 1)]
    for mark in marks[:WAYS]:
        keep(rates, mark, 100, 0)
    keep(rates, marks[WAYS], 200, 100)
    assert rates.evictions == 0
    assert kept(rates, marks[WAYS], 100) == 200


def test_a_full_set_forgets_the_key_that_would_be_free_next() -> None:
    rates = table()
    sets = CELLS // WAYS
    marks = [1 + number * sets for number in range(WAYS + 1)]
    for number, mark in enumerate(marks[:WAYS]):
        keep(rates, mark, 100 + number, 0)
    keep(rates, marks[WAYS], 500, 0)
    assert rates.evictions == 1
    assert [kept(rates, mark, 0) for mark in marks] == [0, *range(101, 100 + WAYS), 500]


def test_many_keys_leave_a_hot_one_alone() -> None:
    rates = table()
    hot = rates.mark(b"hot")
    chance = random.Random(1)
    keep(rates, hot, 10_000, 0)
    for _ in range(50_000):
        keep(rates, chance.getrandbits(61) or 1, 1000, 0)
    assert kept(rates, hot, 0) == 10_000


def test_two_nodes_have_other_marks_and_the_processes_of_one_the_same() -> None:
    assert table().mark(b"a") != table().mark(b"a")
    memory = SharedMemory(SIZE)
    one, other = RateTable(memory, 0, fresh=True), RateTable(memory, 0, fresh=False)
    assert one.mark(b"a") == other.mark(b"a")
    keep(one, 7, 9, 0)
    assert kept(other, 7, 0) == 9


def test_locks_are_taken_in_one_order_and_once() -> None:
    rates = table()
    held = rates.hold_all([3, 1, 65, 2])
    assert held == [1, 2, 3]
    for number in held:
        rates.let_go(number)
