"""What a request is told that asks what becomes of it: whom, on which answers, and what not."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from coregateway.proxy.explanation import FIELD, HIDDEN, LONGEST
from coregateway.testing import (
    PATIENCE,
    GatewayProcess,
    RawClient,
    RecordedRequest,
    Response,
    ScriptedBackend,
    respond,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASKS = f"{FIELD}: 1"

TOML = """
[explain]
header = true
allow = ["127.0.0.0/8", "10.0.0.0/8"]
[forwarding]
trusted_proxies = ["127.0.0.1/32"]
[retries]
attempts = 2
backoff = 0.0
[backends.coredinator]
request.set = { X-Token = "of-the-gateway" }
response.set = { X-Frame-Options = "DENY" }
[backends.down]
prefix = "/down"
[routes.inside]
path = "/inside/*"
backend = "coredinator"
allow = ["10.0.0.0/8"]
[routes.shared]
path = "/shared/*"
backend = { coredinator = 1, down = 0 }
timeouts.read = 7.0
mirror = { backend = "down", share = 0.25 }
[routes.closed]
path = "/closed"
respond = { status = 503, body = "closed" }
"""


class Stage:
    def __init__(self, gateway: GatewayProcess, backend: ScriptedBackend) -> None:
        self.gateway = gateway
        self.backend = backend

    async def ask(self, start: str, *fields: str) -> Response:
        async with RawClient(self.gateway.address) as client:
            await client.send("\r\n".join([f"{start} HTTP/1.1", "Host: a", *fields, "", ""]).encode())
            return await client.read_response(to_head=start.startswith("HEAD"))

    async def told(self, start: str, *fields: str) -> dict[str, Any]:
        """What the one field says."""
        [value] = (await self.ask(start, ASKS, *fields)).values(FIELD.lower())
        assert len(value) <= LONGEST
        found: dict[str, Any] = json.loads(value)
        return found

    async def seen(self, start: str, *fields: str) -> RecordedRequest:
        before = len(self.backend.requests)
        assert (await self.ask(start, *fields)).status == 200
        return await self.backend.wait_for_request(before + 1)


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="backend")
async def fixture_backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(respond(200, b"ok", [(FIELD, "forged")])) as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage(backend: ScriptedBackend, down: str) -> AsyncIterator[Stage]:
    urls = {"coredinator": backend.url, "down": down}
    async with AsyncExitStack() as running:
        yield Stage(await running.enter_async_context(GatewayProcess(backends=urls, toml=TOML)), backend)


def verdict(told: dict[str, Any], policy: str) -> str:
    [found] = [each for each in told["policies"] if each["policy"] == policy]
    return " ".join([found["verdict"], found.get("why", "")]).rstrip()


async def test_a_forwarded_request_is_told_all_of_it(stage: Stage) -> None:
    told = await stage.told("GET /shared/x?a=b", "Accept: a/b")
    assert (told["route"], told["backend"]) == ("shared", "coredinator")
    assert verdict(told, "share") == "chooses coredinator, by weight"
    assert verdict(told, "mirror") == "copies 0.25 of such requests to down"
    assert verdict(told, "record") == "records as shared"
    assert told["upstreams"] == [
        {"url": stage.backend.url, "at": stage.backend.url.removeprefix("http://"), "state": "up"}
    ]
    assert told["timeouts"]["read"] == 7.0
    assert told["retry"] == {
        "attempts": 2,
        "repeats": True,
        "when": ["a connect failed, after a pause", "a used connection ended before an answer"],
    }
    assert "client networks" in told["off"]


async def test_a_post_is_told_that_nothing_is_sent_twice(stage: Stage) -> None:
    told = await stage.told("POST /shared/x", "Content-Length: 0")
    assert told["retry"]["repeats"] is False
    assert verdict(told, "mirror").startswith("copies nothing")


@pytest.mark.parametrize(
    ("start", "status", "policy", "words"),
    [
        ("GET /inside/x", 403, "client networks", "refuses 403 ip_denied"),
        ("PURGE /inside/x", 405, "method", "refuses 405 method_not_allowed"),
        ("GET /closed", 503, "fixed answer", "answers 503"),
        ("GET /nowhere", 404, "route", "chooses no route: the gateway answers itself"),
        ("GET /livez", 200, "route", "chooses no route: the gateway answers itself"),
        ("GET /down/x", 502, "route", "chooses down"),
    ],
)
async def test_whoever_answers_it_is_told(
    stage: Stage, start: str, status: int, policy: str, words: str
) -> None:
    assert verdict(await stage.told(start), policy) == words
    assert (await stage.ask(start, ASKS)).status == status


async def test_what_refuses_a_request_is_the_last_policy_that_is_told(stage: Stage) -> None:
    told = await stage.told("GET /inside/x")
    assert told["policies"][-1]["policy"] == "client networks"
    assert told["answer"] == {"status": 403, "error": "ip_denied"}
    assert "upstreams" not in told


@pytest.mark.parametrize(
    "fields",
    [
        (f"{FIELD}: 0",),
        (),
        (ASKS, ASKS),
        (ASKS, "X-Forwarded-For: 192.0.2.1"),
        (ASKS, "X-Forwarded-For: 10.0.0.1, 192.0.2.1"),
    ],
    ids=["another value", "not asked", "asked twice", "another network", "a forged address"],
)
async def test_nobody_else_is_told_anything(stage: Stage, fields: tuple[str, ...]) -> None:
    for start in ("GET /shared/x", "GET /closed", "GET /nowhere", "GET /inside/x", "PURGE /inside/x"):
        answer = await stage.ask(start, *fields)
        assert answer.values(FIELD.lower()) in ([], [b"forged"])
        assert b"127.0.0.1" not in b"".join(b"".join(pair) for pair in answer.headers)


async def test_a_client_of_a_network_that_may_is_told_through_a_trusted_proxy(stage: Stage) -> None:
    told = await stage.told("GET /inside/x", "X-Forwarded-For: 10.0.0.1")
    assert told["request"]["client"] == "10.0.0.1"
    assert verdict(told, "client networks") == "passes 10.0.0.1"


async def test_the_question_goes_no_further(stage: Stage) -> None:
    for fields in ((ASKS,), (ASKS, "X-Forwarded-For: 192.0.2.1"), (f"{FIELD.lower()}: 0",)):
        assert (await stage.seen("GET /shared/x", *fields)).header(FIELD.lower()) is None


async def test_no_secret_is_told(stage: Stage) -> None:
    secrets = ("Authorization: Bearer s3cret-1", "Cookie: a=s3cret-2", "X-API-Key: cg_s3cret-3")
    told = await stage.told("GET /api/v1/coredinator/x?token=s3cret-4", *secrets)
    text = json.dumps(told)
    assert "s3cret" not in text  # ids are hexadecimal: none holds it by chance
    assert "of-the-gateway" not in text
    assert f"Authorization: {HIDDEN}" in told["sends"]
    assert f"X-Token: {HIDDEN}" in told["sends"]
    assert told["sends"][0] == f"GET /x?{HIDDEN} HTTP/1.1"
    assert verdict(told, "request fields") == f"changes sets X-Token, removes {FIELD}"


async def test_what_is_told_is_bounded(stage: Stage) -> None:
    told = await stage.told(
        f"GET /shared/{'x' * 3000}", *(f"X-Field-{number}: {'y' * 90}" for number in range(90))
    )
    assert told["cut"] == ["lost", "off", "sends", "upstreams", "policies", "request"]
    assert told["backend"] == "coredinator"


async def test_behind_a_proxy_that_is_not_trusted_nobody_is_told(stage: Stage) -> None:
    async def asked_from_elsewhere(*fields: str) -> bytes:
        """The head of the answer to a peer that is no trusted proxy."""
        reader, writer = await asyncio.open_connection(*stage.gateway.address, local_addr=("127.0.0.2", 0))
        lines = ["GET /livez HTTP/1.1", "Host: a", "Connection: close", ASKS, *fields, "", ""]
        writer.write("\r\n".join(lines).encode())
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        return answer

    assert FIELD.encode() in await asked_from_elsewhere()
    for field in ("X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1"):
        assert FIELD.encode() not in await asked_from_elsewhere(field)
