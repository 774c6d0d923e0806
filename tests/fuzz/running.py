"""Many generated inputs, in batches that play at the same time; of a failing one, its minimal form."""

import asyncio
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky, HypothesisWarning

from tests.fuzz.answering import Answering, answerings
from tests.fuzz.asking import Asking, askings
from tests.fuzz.guarded import Guarded, GuardedStage
from tests.fuzz.guarded_oracles import about_guarded, verdict_on_guarded
from tests.fuzz.guarding import Guarding, guardings
from tests.fuzz.oracles import about_answered, about_asked, about_backends, verdict_on
from tests.fuzz.playing import Answerer, Asker, Stage

type Side = Literal["requests", "responses", "services"]

BATCH = 48
"""Inputs that play at the same time; below the connections that a backend may have."""

_STRATEGIES: dict[Side, st.SearchStrategy[Any]] = {
    "requests": askings(),
    "responses": answerings(),
    "services": guardings(),
}
_BATCHES = 25  # in a round, after which the clock is looked at and the seed changes
_SHRINKING = 60.0  # s for making a failing input smaller


@dataclass
class Run:
    """What came of a run. `failure` tells of the first inputs that failed, in their smallest form."""

    side: Side
    verdicts: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0
    failure: str | None = None

    @property
    def inputs(self) -> int:
        return self.verdicts.total()


class _Failed(Exception):
    """A batch in which something was wrong."""


class _Enough(BaseException):  # as an Exception it would be taken for another failure
    """The time for making a failing input smaller is over; the last one that failed is the smallest."""


def run(side: Side, inputs: int, *, first_seed: int, seconds: float) -> Run:
    """Play at least so many inputs, unless the time is over before or one of them fails."""
    done = Run(side)
    start = time.monotonic()
    with asyncio.Runner() as runner:
        stage = runner.run((GuardedStage() if side == "services" else Stage()).__aenter__())
        try:
            number = first_seed
            while done.inputs < inputs and done.failure is None and time.monotonic() - start < seconds:
                batches = min(_BATCHES, -(-(inputs - done.inputs) // BATCH))
                _round(done, batches, number, lambda batch: runner.run(_complaints(stage, batch, done)))
                number += 1
        finally:
            runner.run(stage.__aexit__(None, None, None))
    done.seconds = time.monotonic() - start
    return done


def _round(done: Run, batches: int, number: int, complaints: Callable[[list[Any]], list[str]]) -> None:
    """So many batches from one seed; hypothesis makes a failing one smaller."""
    one = _STRATEGIES[done.side]
    late = 0.0

    @seed(number)
    @settings(
        max_examples=batches,
        phases=[Phase.generate, Phase.shrink],
        database=None,
        deadline=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
        verbosity=Verbosity.quiet,
    )
    @given(st.lists(one, min_size=BATCH, max_size=BATCH))
    def batch_is_sound(batch: list[Any]) -> None:
        nonlocal late
        if late and time.monotonic() > late:
            raise _Enough
        if found := complaints(batch):
            late = late or time.monotonic() + _SHRINKING
            done.failure = f"seed {number}\n" + "\n".join(found)
            raise _Failed

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HypothesisWarning)  # a batch is long to print, and is not printed
            batch_is_sound()
    except (_Failed, _Enough):
        pass
    except Flaky:
        done.failure = f"not every time: {done.failure}"


async def _complaints(stage: Stage, batch: list[Any], done: Run) -> list[str]:
    found: list[str] = []
    players: list[Asker] | list[Answerer] | list[Guarded]
    if isinstance(stage, GuardedStage):
        players = await stage.guard(batch)
        for player in players:
            found += _told(player, about_guarded(player, stage.forwarded))
        found += [f"a question about no request: {question.raw_head!r}" for question in stage.strays]
    elif done.side == "requests":
        players = await stage.ask(batch)
        for player in players:
            found += _told(player, about_asked(player, stage.forwarded))
    else:
        players = await stage.answer(batch)
        for player in players:
            found += _told(player, about_answered(player, stage.forwarded))
    apart = [
        *about_backends(stage.forwarded, stage.backends),
        *await stage.unlogged([player.client for player in players]),
    ]
    if apart and not found:
        found = [_shown(player.input) for player in players]
    if done.failure is None:
        done.verdicts.update(
            verdict_on_guarded(player) if isinstance(player, Guarded) else verdict_on(player)
            for player in players
        )
    return found + apart


def _told(player: Asker | Answerer | Guarded, complaints: Iterable[str]) -> list[str]:
    return [f"{complaint}\n{_shown(player.input)}" for complaint in complaints]


def _shown(given: Asking | Answering | Guarding) -> str:
    shown = repr(given)
    return f"    {shown if len(shown) < 3000 else f'{shown[:2000]} ... {shown[-500:]}'}"
