"""The chain that tells a request what becomes of it: whichever step decides, and whenever it does."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from coregateway.cli.inspection import inspected
from coregateway.http1.request import RequestHead
from coregateway.model.refusals import IPDenied
from coregateway.policy.access import access_of
from coregateway.proxy.admission import ANSWERED, Refusal, Step, Verdict, Waiting
from coregateway.proxy.client import Client
from coregateway.proxy.explained import ExplainedAdmission
from coregateway.proxy.step_verdicts import policy_of
from coregateway.proxy.verdicts import POLICIES
from coregateway.settings import Settings

RAW = b"GET /api/v1/coredinator/x HTTP/1.1\r\nHost: a\r\nX-CoreGateway-Explain: 1\r\n\r\n"


def says(policy: str, verdict: Callable[[], Verdict]) -> Step:
    """A step of a policy with this name."""

    class Policy:
        def __init__(self) -> None:
            self.policy = policy

        def step(self, client: Client, head: RequestHead) -> Verdict:  # noqa: ARG002 -- a `Step`
            return verdict()

    return Policy().step


async def later(refusal: Refusal | None) -> Refusal | None:
    return refusal


def refusal() -> Refusal:
    return Refusal(error=IPDenied())


def waits(refusal: Refusal | None) -> Callable[[], Awaitable[Refusal | None]]:
    return lambda: later(refusal)


async def told(*steps: Step, answering: int = -1) -> dict[str, Any]:
    """What a request is told whose route has these steps."""
    async with inspected(Settings()) as inspection:
        head = RequestHead(RAW)
        client, route = inspection.opened(head, "127.0.0.1")
        access = access_of(Settings().explain.allow, ())
        assert access is not None
        route.admission = chain = ExplainedAdmission(access, steps, answering)
        decided = chain.decide(client, head)
        if isinstance(decided, Waiting):
            await chain.complete(client, head, decided)
        client.abort()
        assert client.exchange is not None
        name, _, value = client.exchange.explanation.partition(b": ")
        assert name == b"X-CoreGateway-Explain"
        found: dict[str, Any] = json.loads(value)
        return found


NETWORKS, SHARE, MIDDLEWARE = "client networks", "maintenance", "request middleware"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("steps", "answering", "expected", "forwarded"),
    [
        ([], -1, {}, True),
        ([says(NETWORKS, lambda: None)], -1, {NETWORKS: "passes"}, True),
        ([says(NETWORKS, refusal), says(SHARE, refusal)], -1, {NETWORKS: "refuses"}, False),
        (
            [says(NETWORKS, lambda: None), says(SHARE, refusal)],
            -1,
            {NETWORKS: "passes", SHARE: "refuses"},
            False,
        ),
        (
            [says(NETWORKS, waits(None)), says(SHARE, waits(None))],
            -1,
            {NETWORKS: "passes", SHARE: "passes"},
            True,
        ),
        (
            [says(NETWORKS, waits(None)), says(SHARE, waits(Refusal(error=IPDenied())))],
            -1,
            {NETWORKS: "passes", SHARE: "refuses"},
            False,
        ),
        ([says(NETWORKS, waits(Refusal(error=IPDenied())))], -1, {NETWORKS: "refuses"}, False),
        ([says("rates a", lambda: None)], -1, {"rates": "passes"}, True),
        ([says("rates a", lambda: None), says("rates b, c", refusal)], -1, {"rates": "refuses"}, False),
        (
            [says("acme", lambda: None), says("door", refusal)],
            -1,
            {"acme": "passes", "door": "refuses"},
            False,
        ),
        ([says(MIDDLEWARE, lambda: ANSWERED)], 0, {MIDDLEWARE: "answers"}, False),
    ],
)
async def test_each_step_is_told_with_what_it_has_said(
    steps: list[Step], answering: int, expected: dict[str, str], forwarded: bool
) -> None:
    found = await told(*steps, answering=answering)
    named = {each["policy"]: each["verdict"] for each in found["policies"]}
    asked = (NETWORKS, SHARE, MIDDLEWARE, "rates", "acme", "door")
    assert {name: named[name] for name in asked if name in named} == expected
    assert ("backend" in found) is forwarded


EVERYTHING: dict[str, Any] = {
    "backends": {
        "a": {"prefix": "/a", "urls": ["http://a:1"], "allow": ["10.0.0.0/8"], "breaker": {"enabled": True}},
        "b": {"prefix": "/b", "urls": ["http://b:1"], "maintenance": True, "deny": ["10.0.0.0/8"]},
    },
    "routes": {
        "shared": {"path": "/s", "backend": {"a": 1, "b": 1}, "deny": ["10.0.0.0/8"]},
        "moved": {"path": "/m", "redirect": {"to": "/x"}, "deny": ["10.0.0.0/8"]},
        "closed": {"path": "/c", "respond": {"status": 200}, "deny": ["10.0.0.0/8"]},
    },
}


@pytest.mark.asyncio
async def test_policies_are_told_in_the_order_in_which_they_act() -> None:
    order = [name for name, _ in POLICIES]
    assert len(set(order)) == len(order)
    seen: set[str] = set()
    async with inspected(Settings.model_validate(EVERYTHING, strict=False)) as inspection:
        for candidate in inspection.worker.plan.routes.candidates:
            chain = candidate.route.admission
            steps = [] if chain is None else [policy_of(step) for step in chain.steps]
            assert steps == sorted(steps, key=order.index), candidate.route.name
            seen |= {*steps}
    assert seen == {"client networks", "redirect", "fixed answer", "maintenance", "share", "breaker"}


@pytest.mark.asyncio
async def test_a_step_that_answers_itself_is_told_before_it_does() -> None:
    seen: list[dict[str, Any]] = []

    class Answers:
        policy = MIDDLEWARE

        def step(self, client: Client, head: RequestHead) -> Verdict:  # noqa: ARG002 -- a `Step`
            assert client.exchange is not None
            seen.append(json.loads(client.exchange.explanation.partition(b": ")[2]))
            return ANSWERED

    await told(says(NETWORKS, lambda: None), Answers().step, answering=1)
    [found] = seen
    assert found["policies"][-1]["policy"] == "record"
    assert {"policy": MIDDLEWARE, "verdict": "decides when it runs"} in found["policies"]
