"""Raw requests through a real gateway: what may reach a backend, and in which form."""

import asyncio
from collections import defaultdict

import pytest

from coregateway.testing import GatewayProcess, ScriptedBackend
from tests.corpus.cases import Case, Sending, read_cases, tags
from tests.corpus.judging import judge
from tests.corpus.playing import Outcome, echo, play
from tests.corpus.sweeps import PLACES, sweep

type Outcomes = dict[str, list[Outcome]]
"""By the id of the case: that of the whole request, and that of the request in segments."""

SEGMENTED_UP_TO = 4096  # bytes; larger cases are only sent whole
WHOLE = 10.0
"""Seconds after which the gateway gives up a request that was sent whole and has no end. A busy machine may
take some of them between a connection and its bytes."""
IN_SEGMENTS = 12.0
"""The same for one in segments: not before a busy machine has sent the segments of the longest."""
SETTINGS = "timeouts.client = {}\nlimits.max_connections = 1000\nlimits.request.gather = 1\n"
"""What has no end holds a connection to the backend until it is given up, and nothing may wait for that."""


def sendings_of(cases: list[Case], *, split: bool) -> list[Sending]:
    return [Sending(case, tag, split) for case, tag in zip(cases, tags(), strict=False)]


async def play_all(sendings: list[Sending], limit: float) -> list[Outcome]:
    """Send them through a gateway between two recording backends."""
    async with (
        ScriptedBackend(echo) as backend,
        ScriptedBackend(echo) as other,
        GatewayProcess(
            backends={"coredinator": backend.url, "coretelemetry": other.url}, toml=SETTINGS.format(limit)
        ) as gateway,
    ):
        outcomes = await play(sendings, gateway.address, backend, other)
        assert gateway.stderr == ""
        assert gateway.log_lines(error="internal_error") == []
        return outcomes


def played(*parts: tuple[list[Sending], float]) -> Outcomes:
    """Each part with its limit, all at the same time, for it is mostly waiting."""

    async def run() -> list[list[Outcome]]:
        return await asyncio.gather(*(play_all(sendings, limit) for sendings, limit in parts))

    by_case: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcomes in asyncio.run(run()):
        for outcome in outcomes:
            by_case[outcome.sending.case.id].append(outcome)
    return by_case


def complaints_about(outcomes: list[Outcome]) -> list[str]:
    """What is wrong with a case; how it was sent must make no difference."""
    found = [
        f"{'in segments' if outcome.sending.split else 'whole'}: {complaint}"
        for outcome in outcomes
        for complaint in judge(outcome)
    ]
    if len({outcome.refused for outcome in outcomes}) > 1:
        found.append(f"refused in one way of sending only: {[outcome.statuses for outcome in outcomes]}")
    return found


@pytest.fixture(scope="module")
def cases(request: pytest.FixtureRequest) -> Outcomes:
    """The cases of the files, those that this run has chosen."""
    chosen = {item.name for item in request.session.items}
    every = [case for case in read_cases() if f"test_case[{case.id}]" in chosen]
    small = [case for case in every if len(case.raw) <= SEGMENTED_UP_TO]
    return played((sendings_of(every, split=False), WHOLE), (sendings_of(small, split=True), IN_SEGMENTS))


@pytest.fixture(scope="module")
def sweeps() -> Outcomes:
    """Every byte in every place, whole."""
    every = [case for place in PLACES for case in sweep(place)]
    return played((sendings_of(every, split=False), WHOLE))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in read_cases()])
def test_case(case: Case, cases: Outcomes) -> None:
    wrong = complaints_about(cases[case.id])
    assert not wrong, f"{case.why}: {'; '.join(wrong)}"


@pytest.mark.parametrize("place", PLACES)
def test_every_byte_has_its_verdict(place: str, sweeps: Outcomes) -> None:
    wrong = {case.why: found for case in sweep(place) if (found := complaints_about(sweeps[case.id]))}
    assert not wrong, "\n".join(f"{why}: {found}" for why, found in wrong.items())
