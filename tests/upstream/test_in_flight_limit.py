"""The limit of requests in flight, over several workers: never more, first come, first served."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from coregateway.model.errors import Draining, Overloaded, PoolTimeout
from coregateway.upstream.in_flight_limit import IN_FLIGHT, LOOKED, SILENT, SINCE, InFlightLimit, may_take
from tests.waiting import eventually

type Numbers = memoryview[float]


def numbers(*values: float) -> Numbers:
    made = memoryview(bytearray(24)).cast("d")
    for at, value in enumerate(values):
        made[at] = value
    return made


@pytest.mark.parametrize(
    ("own", "others", "verdict"),
    [
        pytest.param(3, [], True, id="the last one"),
        pytest.param(4, [], False, id="one too many"),
        pytest.param(1, [(2, 0, 0)], True, id="with another worker"),
        pytest.param(1, [(2, 0, 0), (1, 0, 0)], False, id="with two others"),
        pytest.param(1, [(0, 9.0, 10.0)], False, id="another worker waits for longer"),
        pytest.param(1, [(0, 9.9, 10.0)], True, id="another worker waits for less long"),
        pytest.param(1, [(0, 9.0, 10.0 - 2 * SILENT)], True, id="another worker waits and does not run"),
    ],
)
def test_who_may_take_a_place(
    own: float, others: Sequence[tuple[float, float, float]], verdict: bool
) -> None:
    theirs = [numbers(*each) for each in others]
    assert may_take(numbers(own), theirs, 3, 9.5, 10.0) is verdict


class Node:
    """Workers that share a limit in one process; a dead one is left out by the others."""

    def __init__(self, workers: int, limit: int, longest: int = 100) -> None:
        self.numbers = [numbers() for _ in range(workers)]
        self.dead: set[int] = set()
        loop = asyncio.get_running_loop()
        self.limits = [
            InFlightLimit(loop, own, self._others(at), limit=limit, longest=longest)
            for at, own in enumerate(self.numbers)
        ]

    def _others(self, own: int) -> Callable[[], list[Numbers]]:
        return lambda: [each for at, each in enumerate(self.numbers) if at != own and at not in self.dead]

    @property
    def in_flight(self) -> int:
        return int(sum(each[IN_FLIGHT] for each in self.numbers))


async def test_never_more_than_the_limit_are_in_flight_and_all_get_their_turn() -> None:
    node = Node(3, 4)
    most = 0

    async def ask(at: int) -> None:
        nonlocal most
        await node.limits[at % 3].take(20.0)
        most = max(most, node.in_flight)
        await asyncio.sleep(0.001)
        node.limits[at % 3].give_back()

    await asyncio.gather(*(ask(at) for at in range(60)))
    assert most == 4
    assert node.in_flight == 0
    assert [each[SINCE] for each in node.numbers] == [0.0] * 3


async def test_a_place_goes_to_the_worker_whose_request_waits_for_longest() -> None:
    node = Node(2, 1)
    order: list[str] = []

    async def ask(at: int, name: str) -> None:
        await node.limits[at].take(20.0)
        order.append(name)

    await node.limits[0].take(20.0)
    first = asyncio.create_task(ask(1, "other worker"))
    await eventually(lambda: node.limits[1].waiting == 1)
    await asyncio.sleep(0.003)  # the loop's clock counts milliseconds
    second = asyncio.create_task(ask(0, "own worker"))
    await eventually(lambda: node.limits[0].waiting == 1)
    node.limits[0].give_back()
    await first
    node.limits[1].give_back()
    await second
    assert order == ["other worker", "own worker"]


async def test_what_a_dead_worker_held_is_free() -> None:
    node = Node(2, 2)
    for _ in range(2):
        await node.limits[0].take(1.0)
    waiting = asyncio.create_task(node.limits[1].take(20.0))
    await eventually(lambda: node.limits[1].waiting == 1)
    node.dead.add(0)
    await waiting


async def test_patience_and_the_line_have_an_end() -> None:
    node = Node(1, 1, longest=1)
    [limit] = node.limits
    await limit.take(1.0)
    late = asyncio.create_task(limit.take(0.3))
    await eventually(lambda: limit.waiting == 1)
    with pytest.raises(Overloaded):
        await limit.take(1.0)
    with pytest.raises(PoolTimeout):
        await late
    assert (limit.waiting, limit.in_flight) == (0, 1)
    drained = asyncio.create_task(limit.take(5.0))
    await eventually(lambda: limit.waiting == 1)
    limit.close()
    with pytest.raises(Draining):
        await drained
    limit.give_back()
    assert limit.in_flight == 0


async def test_a_waiter_that_is_cancelled_leaves_nothing_behind() -> None:
    node = Node(1, 1)
    [limit] = node.limits
    await limit.take(1.0)
    for turns in range(4):
        gone = asyncio.create_task(limit.take(5.0))
        await eventually(lambda: limit.waiting == 1)
        if turns % 2:
            limit.give_back()  # it is given to the one that leaves in the same turn
            gone.cancel()
            await asyncio.wait([gone])
            await limit.take(1.0)
        else:
            gone.cancel()
            await asyncio.wait([gone])
        assert (limit.waiting, limit.in_flight) == (0, 1)
        assert node.numbers[0][SINCE] == 0.0
    assert node.numbers[0][LOOKED] > 0.0
