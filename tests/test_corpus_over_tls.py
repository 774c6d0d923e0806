"""Raw requests over TLS get the verdicts that they get in the clear."""

import asyncio

import pytest

from coregateway.testing import GatewayProcess, ScriptedBackend, TlsFront
from tests import certificates
from tests.corpus.cases import Case, Sending, read_cases, tags
from tests.corpus.judging import judge
from tests.corpus.playing import Outcome, echo, play

# Handshakes, too, have to end in this time, many at once on a busy machine.
SETTINGS = """
timeouts.client = 8.0
limits.max_connections = 1000
[tls]
cert = "{}"
"""


async def play_all(sendings: list[Sending]) -> list[Outcome]:
    toml = SETTINGS.format(certificates.pair_file("localhost"))
    trusting = certificates.trusting()
    async with (
        ScriptedBackend(echo) as backend,
        ScriptedBackend(echo) as other,
        GatewayProcess(
            backends={"coredinator": backend.url, "coretelemetry": other.url}, toml=toml, tls=trusting
        ) as gateway,
        TlsFront(gateway.address, trusting, reverse=True) as front,
    ):
        outcomes = await play(sendings, front.address, backend, other)
        assert gateway.stderr == ""
        assert gateway.log_lines(error="internal_error") == []
        return outcomes


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    sendings = [Sending(case, tag, False) for case, tag in zip(read_cases(), tags(), strict=False)]
    return {outcome.sending.case.id: outcome for outcome in asyncio.run(play_all(sendings))}


OTHERWISE = {"own-fw-xfproto"}
"""Of which another truth is told: the client has come over TLS."""


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.id) for case in read_cases() if case.id not in OTHERWISE]
)
def test_case(case: Case, outcomes: dict[str, Outcome]) -> None:
    assert list(judge(outcomes[case.id])) == []
