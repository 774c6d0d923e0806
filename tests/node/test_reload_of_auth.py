"""A reload changes keys, issuers of tokens and services on all workers, and keeps the counts of rates."""

import json
from asyncio import sleep
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import monotonic, time
from typing import Any, NamedTuple

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from coregateway.policy.keys import hash_of
from coregateway.testing import PATIENCE, RawClient, ScriptedBackend, hang, respond
from tests.node.reloadable import Reloadable

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("reload of auth")]

OLD, NEW = "cg_" + "o" * 43, "cg_" + "n" * 43
FIRST, SECOND = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()

BASE = """
[backends.coredinator]
prefix = "/b"
urls = ["{backend}"]
health.path = ""
[backends.coretelemetry]
enabled = false
"""
KEYS = """
[auth.consumers.robot]
keys = [{keys}]
roles = ["{role}"]
[routes.keyed]
path = "/keyed"
backend = "coredinator"
auth.require = ["keys"]
"""
TOKENS = """
[auth.jwt.corp]
issuer = "https://idp.test/"
audiences = ["{audience}"]
jwks = "{service}/{jwks}"
[routes.tokens]
path = "/tokens"
backend = "coredinator"
auth.require = ["jwt.corp"]
"""
FORWARD = """
[auth.forward.sso]
url = "{service}/{check}"
timeout = {timeout}
take = ["{take}"]
on_error = "{on_error}"
[routes.asked]
path = "/asked"
backend = "coredinator"
auth.require = ["forward.sso"]
"""
RATES = """
[rates.few]
key = ""
rate = "{rate}"
burst = {burst}
[routes.rated]
path = "/rated"
backend = "coredinator"
rates = ["few"]
"""


def key_set(key: Ed25519PrivateKey) -> bytes:
    row = json.loads(OKPAlgorithm.to_jwk(key.public_key()))
    return json.dumps({"keys": [{**row, "kid": "k", "alg": "EdDSA"}]}).encode()


def token(key: Ed25519PrivateKey, audience: str = "gw") -> str:
    claims: dict[str, Any] = {"iss": "https://idp.test/", "aud": audience, "exp": time() + 600, "sub": "a"}
    return "Authorization: Bearer " + jwt.encode(claims, key, "EdDSA", headers={"kid": "k"})


class Stage(NamedTuple):
    node: Reloadable
    backend: ScriptedBackend
    service: ScriptedBackend

    async def reload(self, toml: str) -> None:
        await self.node.reload(BASE + toml.replace("{service}", self.service.url))

    async def statuses(self, path: str, *fields: str) -> set[int]:
        """Of answers from every worker."""
        return {answer.status for answer in await self.node.ask_all(path, *fields)}

    async def comes(self, status: int, path: str, *fields: str) -> None:
        """Wait until every worker answers so: keys are fetched beside the reload."""
        end = monotonic() + PATIENCE
        while await self.statuses(path, *fields) != {status}:
            assert monotonic() < end
            await sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as running:
        backend = await running.enter_async_context(ScriptedBackend())
        service = await running.enter_async_context(ScriptedBackend())
        service.on("/first", respond(body=key_set(FIRST)))
        service.on("/second", respond(body=key_set(SECOND)))
        service.on("/yes", respond(200, b"", [("X-User", "alice"), ("X-Who", "bob")]))
        service.on("/no", respond(403, b"no"))
        service.on("/hangs", hang())
        node = await running.enter_async_context(Reloadable(BASE, backend=backend.url))
        yield Stage(node, backend, service)
        assert node.gateway.stderr == ""


async def test_a_key_is_good_from_one_reload_to_another(stage: Stage) -> None:
    old, new = (f"X-API-Key: {key}" for key in (OLD, NEW))

    async def with_keys(*keys: str, role: str = "reader") -> None:
        hashes = ", ".join(f'"{hash_of(key)}"' for key in keys)
        await stage.reload(KEYS.replace("{keys}", hashes).replace("{role}", role))

    await with_keys(OLD)
    assert (await stage.statuses("/keyed", old), await stage.statuses("/keyed", new)) == ({200}, {401})
    await with_keys(OLD, NEW, role="writer")
    assert (await stage.statuses("/keyed", old), await stage.statuses("/keyed", new)) == ({200}, {200})
    assert stage.backend.requests[-1].values("x-auth-roles") == [b"writer"]
    await with_keys(NEW)
    assert (await stage.statuses("/keyed", old), await stage.statuses("/keyed", new)) == ({401}, {200})


async def test_tokens_are_judged_by_the_issuer_that_the_settings_name_now(stage: Stage) -> None:
    toml = TOKENS.replace("{audience}", "gw")
    await stage.reload(toml.replace("{jwks}", "first"))
    await stage.comes(200, "/tokens", token(FIRST))
    await stage.reload(TOKENS.replace("{audience}", "other").replace("{jwks}", "first"))
    assert await stage.statuses("/tokens", token(FIRST)) == {401}  # remembered as good, a moment ago
    assert await stage.statuses("/tokens", token(FIRST, "other")) == {200}
    await stage.reload(toml.replace("{jwks}", "second"))
    await stage.comes(200, "/tokens", token(SECOND))
    assert await stage.statuses("/tokens", token(FIRST)) == {401}


async def test_a_service_is_asked_as_the_settings_say_now(stage: Stage) -> None:
    def toml(check: str = "yes", timeout: str = "30.0", take: str = "X-User", on_error: str = "deny") -> str:
        found = FORWARD
        named = {"{check}": check, "{timeout}": timeout, "{take}": take, "{on_error}": on_error}
        for name, value in named.items():
            found = found.replace(name, value)
        return found

    await stage.reload(toml())
    assert await stage.statuses("/asked") == {200}
    assert stage.backend.requests[-1].values("x-user") == [b"alice"]
    connections = len(stage.service.connections)
    await stage.reload(toml(take="X-Who"))
    assert await stage.statuses("/asked", "X-Who: eve") == {200}
    seen = stage.backend.requests[-1]
    assert (seen.values("x-user"), seen.values("x-who")) == ([], [b"bob"])
    await stage.reload(toml(check="no"))
    assert await stage.statuses("/asked") == {403}
    assert len(stage.service.connections) == connections  # only the path is another
    await stage.reload(toml(check="hangs", timeout="0.1"))
    assert await stage.statuses("/asked") == {503}
    await stage.reload(toml(check="hangs", timeout="0.1", on_error="allow"))
    assert await stage.statuses("/asked") == {200}


async def test_a_request_that_asks_ends_by_the_settings_that_it_has_begun_with(stage: Stage) -> None:
    toml = FORWARD.replace("{take}", "X-User").replace("{on_error}", "deny").replace("{timeout}", "30.0")
    await stage.reload(toml.replace("{check}", "hangs"))
    before = len(stage.service.requests)
    async with RawClient(stage.node.gateway.address) as client:
        await client.send(b"GET /asked HTTP/1.1\r\nHost: a\r\n\r\n")
        await stage.service.wait_for_request(before + 1)
        await stage.reload("")
        assert (await stage.node.ask("/asked")).status == 404
        connection = stage.service.connections[stage.service.requests[before].connection - 1]
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-User: late\r\n\r\n")
        assert (await client.read_response()).status == 200
    assert stage.backend.requests[-1].values("x-user") == [b"late"]


async def test_what_a_rate_has_counted_stays_while_it_stays_the_same(stage: Stage) -> None:
    def toml(rate: str = "1/h", burst: int = 3) -> str:
        return RATES.replace("{rate}", rate).replace("{burst}", str(burst))

    await stage.reload(toml())
    assert [(await stage.node.ask("/rated")).status for _ in range(4)] == [200, 200, 200, 429]
    await stage.reload(toml() + KEYS.replace("{keys}", "").replace("{role}", "a"))
    assert (await stage.node.ask("/rated")).status == 429
    await stage.reload(toml(burst=4))
    assert [(await stage.node.ask("/rated")).status for _ in range(5)] == [200] * 4 + [429]
