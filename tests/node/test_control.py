"""Questions of workers to the main process."""

import asyncio
from collections.abc import Callable, Iterator
from threading import Thread

import pytest

from coregateway.node.control import Control, NoAnswer, Told


@pytest.fixture(name="control")
def fixture_control() -> Iterator[Control]:
    control = Control()
    yield control
    control.close()


def twice(told: Told) -> Told:
    return {"twice": 2 * told["n"]}


def nothing(_: Told) -> Told:
    return {}


async def answered(control: Control, answer: Callable[[Told], Told]) -> None:
    """Answer the next question."""
    while True:
        for question in control.questions():
            question.answer(answer(question.told))
            return
        await asyncio.sleep(0.001)


async def test_every_asker_gets_its_own_answer(control: Control) -> None:
    asked = [asyncio.create_task(control.ask({"n": number}, 10.0)) for number in range(20)]
    for _ in asked:
        await answered(control, twice)
    assert await asyncio.gather(*asked) == [{"twice": 2 * number} for number in range(20)]


async def test_an_answer_may_be_large(control: Control) -> None:
    large: Told = {"mistakes": ["x" * 100] * 10_000}
    asked = asyncio.create_task(control.ask({}, 10.0))
    await asyncio.sleep(0)
    [question] = [*control.questions()]
    answering = Thread(target=question.answer, args=(large,))
    answering.start()
    assert await asked == large
    answering.join()


async def test_without_an_answer_the_asker_learns_so(control: Control) -> None:
    with pytest.raises(NoAnswer):
        await control.ask({}, 0.01)


async def test_an_asker_that_has_left_disturbs_nothing(control: Control) -> None:
    with pytest.raises(NoAnswer):
        await control.ask({}, 0.01)
    await answered(control, nothing)
    asked = asyncio.create_task(control.ask({"n": 1}, 10.0))
    await answered(control, twice)
    assert await asked == {"twice": 2}


async def test_when_the_main_process_ends_its_askers_learn_so() -> None:
    control = Control()
    asked = asyncio.create_task(control.ask({}, 60.0))
    await asyncio.sleep(0)
    control.close()
    with pytest.raises(NoAnswer):
        await asked
