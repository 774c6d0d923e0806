"""Tokens on a gateway that runs, with an issuer whose keys come, go and fail."""

import json
from asyncio import sleep
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import monotonic, time
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from coregateway.policy.keys import hash_of
from coregateway.testing import PATIENCE, ScriptedBackend, respond
from tests.stage import PREFIX, Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST, SECOND, STRANGE = (rsa.generate_private_key(65537, 2048) for _ in range(3))
KEY = "cg_" + "k" * 43
COOLDOWN = 1.0
"""Seconds between two fetches for keys that are unknown."""

TOML = """
[metrics]
on_main_port = true
[auth.consumers.robot]
keys = ["{hash}"]
[auth.jwt.corp]
issuer = "https://idp.test/"
audiences = ["gw"]
jwks = "{jwks}"
cooldown = {cooldown}
refresh = 3600.0
headers = { X-User = "name" }
[auth.jwt.dead]
issuer = "https://dead.test/"
audiences = ["gw"]
jwks = "{dead}"
[auth.jwt.private]
issuer = "https://private.test/"
audiences = ["gw"]
jwks = "{jwks}"
forward = false
[rates.tenant]
key = "claim:tenant"
rate = "1/h"
burst = 2
missing = "deny"
[routes.tenants]
path = "/tenants"
backend = "coredinator"
rates = ["tenant"]
[routes.dead]
path = "/dead"
backend = "coredinator"
auth.require = ["jwt.dead"]
[backends.coredinator]
auth.require = ["keys", "jwt.corp", "jwt.dead", "jwt.private"]
[backends.coretelemetry]
urls = ["{backend}"]
auth.require = ["keys"]
"""


def key_set(**keys: rsa.RSAPrivateKey) -> bytes:
    rows = [{**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": kid} for kid, key in keys.items()]
    return json.dumps({"keys": rows}).encode()


def token(key: rsa.RSAPrivateKey = FIRST, kid: str = "first", **changed: Any) -> str:
    claims = {"iss": "https://idp.test/", "aud": "gw", "exp": time() + 3600, "sub": "alice", "name": "Alice"}
    return "Authorization: Bearer " + jwt.encode({**claims, **changed}, key, "RS256", headers={"kid": kid})


class Issuing(Stage):
    issuer: ScriptedBackend


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Issuing]:
    async with AsyncExitStack() as running:
        issuer = await running.enter_async_context(ScriptedBackend())
        issuer.on("/keys", respond(body=key_set(first=FIRST)))
        issuer.on("/dead", respond(500, b"no"))
        toml = TOML.replace("{hash}", hash_of(KEY)).replace("{jwks}", f"{issuer.url}/keys")
        toml = toml.replace("{cooldown}", str(COOLDOWN))
        stage = Issuing(toml=toml.replace("{dead}", f"{issuer.url}/dead"), workers=2)
        stage.issuer = issuer
        await running.enter_async_context(stage)
        await stage.gateway.wait_for_line(event="keys.changed", provider="corp")
        end = monotonic() + PATIENCE
        while (await stage.ask("/ready", token())).status != 200:
            assert monotonic() < end
            await sleep(0.02)
        yield stage


async def test_a_token_passes_with_what_it_says_and_goes_on(stage: Issuing) -> None:
    path = stage.path()
    for _ in range(3):  # by its signature, then as one that is known
        assert (await stage.ask(path, token(), "X-User: admin", "Connection: X-User")).status == 200
    for seen in stage.seen(path):
        assert seen.values("x-consumer") == [b"alice"]
        assert seen.values("x-auth-method") == [b"jwt.corp"]
        assert seen.values("x-user") == [b"Alice"]
        assert seen.values("authorization")[0].startswith(b"Bearer ey")
    await stage.gateway.wait_for_line(event="request", path=PREFIX + path)
    lines = [each for each in stage.gateway.log_lines(event="request") if each["path"].endswith(path)]
    assert {(line["consumer"], line["auth"]) for line in lines} == {("alice", "jwt.corp")}


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ((token(STRANGE),), 401, "signature"),
        ((token(exp=1),), 401, "expired"),
        ((token(aud="x"),), 401, "audience"),
        ((token(iss="https://evil.test/"),), 401, "issuer"),
        (("Authorization: Bearer x.y.z",), 401, "malformed"),
        (("Authorization: Bearer",), 401, "malformed"),
        ((token(iss="https://dead.test/"),), 503, None),
        ((), 401, None),
        ((token(), f"X-API-Key: {KEY}"), 400, None),
    ],
)
async def test_a_bad_one_is_refused(
    stage: Issuing, fields: tuple[str, ...], status: int, error: str | None
) -> None:
    path = stage.path()
    response = await stage.ask(path, *fields)
    assert response.status == status
    assert (response.header("retry-after") == b"1") is (status == 503)
    if status != 503:
        assert any(
            value.startswith(b'Bearer realm="coregateway"') for value in response.values("www-authenticate")
        )
    assert stage.seen(path) == []
    assert (await stage.line(path)).get("auth_error") == error


async def test_while_no_key_was_ever_fetched_a_token_cannot_be_judged_and_none_is_missing(
    stage: Issuing,
) -> None:
    answers = [
        await stage.ask_gateway("/dead", *fields) for fields in ((), (token(iss="https://dead.test/"),))
    ]
    causes = [(answer.status, answer.header("x-coregateway-error")) for answer in answers]
    assert causes == [(401, b"auth_missing"), (503, b"auth_unavailable")]
    assert answers[1].header("retry-after") == b"1"


async def test_a_token_stays_here_where_the_settings_say_so(stage: Issuing) -> None:
    path = stage.path()
    assert (await stage.ask(path, token(iss="https://private.test/"))).status == 200
    seen = await stage.wait_seen(path)
    assert seen.values("authorization") == []
    assert seen.values("x-auth-method") == [b"jwt.private"]


async def test_a_rate_counts_by_a_claim_over_the_wire(stage: Issuing) -> None:
    async def statuses(times: int, **claims: Any) -> list[int]:
        asked = [await stage.ask_gateway("/tenants", token(**claims)) for _ in range(times)]
        return [answer.status for answer in asked]

    assert await statuses(3, tenant="a") == [200, 200, 429]
    assert await statuses(1, tenant="a", sub="another") == [429]
    assert await statuses(1, tenant="b") == [200]
    assert await statuses(2) == [429, 429]  # without the claim
    key = await stage.ask_gateway("/tenants", f"X-API-Key: {KEY}", "X-Tenant: a")
    assert (key.status, key.header("x-coregateway-error")) == (429, b"rate_limited")


async def test_a_token_is_none_where_only_keys_are_accepted(stage: Issuing) -> None:
    response = await stage.ask_gateway("/api/v1/coretelemetry/x", token())
    assert response.header("x-coregateway-error") == b"auth_missing"


async def test_a_new_key_is_fetched_for_its_first_token_and_others_cause_no_fetches(stage: Issuing) -> None:
    fetches, began = len([each for each in stage.issuer.requests if each.path == b"/keys"]), monotonic()
    stage.issuer.on("/keys", respond(body=key_set(first=FIRST, second=SECOND)))
    end = monotonic() + PATIENCE
    while (await stage.ask(stage.path(), token(SECOND, "second"))).status != 200:
        assert monotonic() < end
    for number in range(20):
        assert (await stage.ask(stage.path(), token(STRANGE, f"unknown{number}"))).status == 401
    assert (await stage.ask(stage.path(), token())).status == 200
    fetched = len([each for each in stage.issuer.requests if each.path == b"/keys"]) - fetches
    assert 1 <= fetched <= 2 + (monotonic() - began) / COOLDOWN  # however many ask


async def test_keys_stay_over_failed_fetches_and_their_age_is_told(stage: Issuing) -> None:
    stage.issuer.on("/keys", respond(404, b"gone"))
    await stage.ask(stage.path(), token(STRANGE, "another"))
    end = monotonic() + PATIENCE
    while not stage.gateway.log_lines(event="keys.failed", provider="corp"):
        await stage.ask(stage.path(), token(STRANGE, "another"))
        assert monotonic() < end
        await sleep(0.05)
    assert (await stage.ask(stage.path(), token())).status == 200
    told = (await stage.ask_gateway("/metrics")).body.decode()
    assert 'coregateway_jwks_age_seconds{provider="corp"} ' in told
    assert 'coregateway_jwks_age_seconds{provider="dead"}' not in told
    assert 'coregateway_jwks_fetches_total{outcome="fetched",provider="corp"} ' in told


async def test_no_line_has_a_token(stage: Issuing) -> None:
    for number, field in enumerate((token(), token(STRANGE), token(exp=1))):
        await stage.ask_gateway(f"/api/v1/coredinator/secret{number}", field)
        await stage.gateway_line(f"/api/v1/coredinator/secret{number}")
    assert "eyJ" not in stage.gateway.stdout
