"""What operators see of callers on a gateway that runs: who is refused and why, and what nears its limit."""

import json
from asyncio import sleep
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio

from coregateway.policy.keys import hash_of
from coregateway.testing import PATIENCE, RawClient, ScriptedBackend, free_port, hang, respond
from tests.stage import PREFIX, Stage, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "cg_" + "k" * 43

TOML = f"""
[admin]
address = "127.0.0.1:{{port}}"
[auth.consumers.robot]
keys = ["{hash_of(KEY)}"]
[auth.jwt.corp]
issuer = "https://idp.test/"
audiences = ["gw"]
jwks = "{{service}}/none"
cooldown = 1.0
[auth.forward.sso]
url = "{{service}}/check"
timeout = 20.0
[rates.robots]
key = "consumer"
rate = "1/h"
burst = 40
[rates.tenants]
key = ["header:X-Tenant", "route"]
rate = "1/h"
burst = 4
missing = "skip"
[concurrency.few]
key = "client"
max = 100
[backends.coredinator]
auth.require = ["keys"]
rates = ["robots", "tenants"]
concurrency = ["few"]
[routes.held]
path = "/held"
backend = "coredinator"
rates = []
[routes.asked]
path = "/asked"
backend = "coredinator"
auth.require = ["forward.sso"]
rates = []
"""


class Seen(Stage):
    port: int

    async def status(self) -> dict[str, Any]:
        async with RawClient(("127.0.0.1", self.port)) as client:
            await client.send(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return json.loads((await client.read_response()).body)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Seen]:
    async with AsyncExitStack() as running:
        service = await running.enter_async_context(ScriptedBackend())
        service.on("/none", respond(404))
        service.on("/check", respond(500))
        port = free_port()
        stage = Seen(toml=TOML.replace("{service}", service.url).replace("{port}", str(port)), workers=2)
        stage.port = port
        yield await running.enter_async_context(stage)


async def told(stage: Seen, kind: str, again: Callable[[], Any]) -> dict[str, Any]:
    """The first finding of a kind, while requests go on that lead to it."""
    end = monotonic() + PATIENCE
    while not (lines := stage.gateway.log_lines(event=f"diagnosis.{kind}")):
        assert monotonic() < end, kind
        await again()
        await sleep(0.25)
    return lines[0]


async def test_refusals_are_found_counted_and_named(stage: Seen) -> None:
    async def ask() -> None:
        async with stage.client() as client:
            for field in ("X-API-Key: cg_wrong", f"X-API-Key: {KEY}\r\nX-Tenant: secret-tenant"):
                for _ in range(5):
                    await client.send(request(f"{PREFIX}/x", field))
                    await client.read_response()
            await client.send(request("/asked"))
            await client.read_response()

    refused = await told(stage, "credentials_refused", ask)
    assert (refused["method"], refused["reason"]) == ("key", "unknown_key")
    assert (await told(stage, "auth_service_failing", ask))["reason"] == "status"
    assert (await told(stage, "keys_stale", ask))["provider"] == "corp"
    assert (await told(stage, "rate_refuses", ask))["policy"] == "tenants"
    end = monotonic() + PATIENCE
    while len((seen := await stage.status())["rates"]["nearest"]) < 2:
        assert monotonic() < end
        await sleep(0.1)
    assert {"method": "key", "reason": "unknown_key"}.items() <= seen["auth"]["refused"][0].items()
    assert seen["auth"]["outcomes"]["key"]["invalid"] >= 20
    [keys] = seen["auth"]["key_sets"]
    assert (keys["name"], keys["keys"], keys["age_s"], keys["problem"]) == ("corp", 0, None, "status 404")
    [service] = seen["auth"]["services"]
    assert (service["name"], service["answered"]) == ("sso", 0) or service["answered"] > 0
    assert service["failed"]["status"] > 0
    robots, tenants = seen["rates"]["policies"]
    assert robots["allowed"] == 4
    assert tenants["limited"] >= 20
    assert seen["rates"]["concurrency"][0]["rejected"] == 0
    assert seen["rates"]["store"] is None
    first, second = seen["rates"]["nearest"]
    assert (first["policy"], first["remaining"], first["quota"]) == ("tenants", 0, 4)
    assert first["wait_s"] > 0
    assert first["key"].startswith("header:x-tenant #")
    assert first["key"].endswith(", route:coredinator")
    assert (second["policy"], second["key"], second["remaining"]) == ("robots", "consumer:robot", 36)
    assert seen["rates"]["nearest_in_flight"] == []
    text = json.dumps(seen) + stage.gateway.stdout
    for secret in ("secret-tenant", KEY, hash_of(KEY).removeprefix("sha256:"), "cg_wrong"):
        assert secret not in text


async def test_keys_with_requests_in_flight_are_told_while_they_have_them(stage: Seen) -> None:
    async def in_flight() -> list[dict[str, Any]]:
        return (await stage.status())["rates"]["nearest_in_flight"]

    stage.backend.on("/held", hang())
    async with stage.client() as one, stage.client() as other:
        for client in (one, other):
            await client.send(request("/held", f"X-API-Key: {KEY}"))
        await stage.wait_seen("/held", 2)
        end = monotonic() + PATIENCE
        while not (found := await in_flight()):
            assert monotonic() < end
            await sleep(0.1)
        assert found == [{"policy": "few", "key": "127.0.0.1", "in_flight": 2, "max": 100}]
    while await in_flight():
        assert monotonic() < end
        await sleep(0.1)
