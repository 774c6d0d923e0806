"""What `python -m tests.endurance.soak` would fail on, and some seconds of it."""

from collections.abc import Callable
from math import inf

import pytest

from tests.endurance.soak import run
from tests.endurance.soak_samples import Allowed, Held, Sample, broken
from tests.endurance.soak_traffic import KINDS
from tests.endurance.trend import growth, slope

MINUTE = 60.0


def an_hour(
    *,
    private: Callable[[int], float] = lambda minute: 60.0 + 0.3 * (minute % 3),
    descriptors: Callable[[int], int] = lambda minute: 60 + minute % 8,
    p50: Callable[[int], float] = lambda _: 0.004,
    name: Callable[[int], str] = lambda _: "worker 0 (7)",
) -> list[Sample]:
    """The samples of each minute."""
    return [
        Sample(
            minute * MINUTE,
            {name(minute): Held(private(minute), 80.0, 70.0, descriptors(minute), 5)},
            *(12_000, 0, p50(minute), 0.02),
        )
        for minute in range(60)
    ]


def test_an_hour_in_which_nothing_grows_holds() -> None:
    assert broken(an_hour(), Allowed(), busy=False) == ([], [])


@pytest.mark.parametrize(
    ("samples", "what"),
    [
        (an_hour(private=lambda minute: 60.0 + minute * 1.2 / 60), "grows by 1.20 MiB an hour"),
        (an_hour(descriptors=lambda minute: 60 + minute), "descriptors more"),
        (an_hour(name=lambda minute: f"worker 0 ({7 + minute // 30})"), "has come or gone"),
        (an_hour(p50=lambda minute: 0.004 + minute * 0.0002), "the median latency went"),
    ],
    ids=["memory", "descriptors", "a worker that was replaced", "latency"],
)
def test_what_grows_breaks_a_promise(samples: list[Sample], what: str) -> None:
    wrong, told = broken(samples, Allowed(), busy=False)
    assert any(what in each for each in wrong), wrong
    assert told == []


def test_on_a_busy_machine_latency_is_told_and_not_judged() -> None:
    wrong, told = broken(an_hour(p50=lambda minute: 0.004 + minute * 0.0002), Allowed(), busy=True)
    assert wrong == []
    assert len(told) == 1


def test_a_run_that_is_too_short_tells_of_memory_and_does_not_judge_it() -> None:
    wrong, told = broken(an_hour(private=lambda minute: 60.0 + minute)[:15], Allowed(), busy=False)
    assert wrong == []
    assert len(told) == 1
    assert broken([], Allowed(), busy=False)[0] != []


def test_a_step_and_points_far_off_are_no_slope() -> None:
    times = [float(number) for number in range(60)]
    values = [60.0 if number < 5 else 61.0 for number in range(60)]
    values[17] = values[40] = 200.0
    assert slope(times, values) == 0.0
    assert slope(times, [3.0 * number for number in times]) == pytest.approx(3.0)
    assert growth([1.0, 1.0, 1.0, 5.0, 2.0, 2.0]) == 2.0


async def test_seconds_of_all_kinds_of_traffic_leave_nothing_behind() -> None:
    """Memory, descriptors and latency are not judged here: this is all warm-up."""
    soak = await run(
        8.0, rate=30.0, every=2.0, busy=True, allowed=Allowed(memory=inf, descriptors=inf, latency=inf)
    )
    assert soak.broken == [], "\n".join([*soak.broken, *soak.lines])
    assert {outcome.partition(":")[0] for outcome in soak.outcomes} == KINDS.keys()
