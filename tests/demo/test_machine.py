"""What /proc says, as numbers."""

import pytest

from coregateway.demo.machine import CPUTimes, Usage, cpu_times, memory

STAT = """cpu  100 10 20 800 30 4 5 6 7 8
cpu0 60 5 10 400 15 2 3 3 7 8
cpu1 40 5 10 400 15 2 2 3 0 0
intr 12345 0 1
"""


def test_waiting_for_a_disk_is_idle_and_guests_are_not_counted_twice() -> None:
    assert cpu_times(STAT) == [CPUTimes(145, 975), CPUTimes(83, 498), CPUTimes(62, 477)]


@pytest.mark.parametrize(
    ("before", "after", "percent"),
    [
        (CPUTimes(0, 0), CPUTimes(25, 100), 25.0),
        (CPUTimes(10, 100), CPUTimes(10, 100), 0.0),
        (CPUTimes(10, 100), CPUTimes(9, 110), 0.0),  # the kernel's counters may go back a little
    ],
)
def test_load_is_the_busy_share_of_the_time_between(
    before: CPUTimes, after: CPUTimes, percent: float
) -> None:
    assert after.percent_since(before) == percent


def test_memory_that_is_not_available_is_used() -> None:
    usage = memory("MemTotal:  8388608 kB\nMemFree:  1 kB\nMemAvailable:  6291456 kB\n")
    assert usage == Usage(used=2 * 2**30, total=8 * 2**30)
    assert usage.described() == {"percent": 25.0, "used_gb": 2.0, "total_gb": 8.0}
