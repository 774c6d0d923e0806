"""What `explain` says of authentication, rates and limits, as far as the settings decide it."""

import asyncio
import json
from pathlib import Path
from time import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coregateway.__main__ import main
from coregateway.policy.keys import hash_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "cg_" + "k" * 43

TOML = f"""
admin.address = ""
[auth.consumers.robot]
keys = ["{hash_of(KEY)}"]
[auth.forward.sso]
url = "http://127.0.0.1:9/"
[rates.per-client]
key = "client"
rate = "600/m"
burst = 100
[rates.tenant]
key = ["header:X-Tenant", "route"]
rate = "2/s"
missing = "deny"
enforce = false
[rates.caller]
key = "consumer"
rate = "1/h"
[concurrency.few]
key = ""
max = 7
[backends.coredinator]
rates = ["per-client", "tenant", "caller"]
concurrency = ["few"]
auth.require = ["keys", "forward.sso"]
[auth.jwt.corp]
issuer = "https://idp.test/"
audiences = ["gw"]
jwks = "no-such-file.json"
[routes.tokens]
path = "/tokens"
backend = "coredinator"
rates = []
auth.require = ["jwt.corp"]
[routes.dear]
path = "/dear"
backend = "coredinator"
rates = ["per-client"]
cost = 5
auth.require = []
"""


async def explained(capsys: pytest.CaptureFixture[str], directory: Path, *words: str) -> dict[str, str]:
    """By policy: its verdict, and why."""
    file = directory / "gateway.toml"
    file.write_text(TOML)
    assert await asyncio.to_thread(main, ["explain", *words, "--json", "--config", str(file)]) == 0
    found = json.loads(capsys.readouterr().out)
    return {each["policy"]: f"{each['verdict']}: {each.get('why', '')}" for each in found["policies"]}


async def test_rates_and_limits_are_told_with_what_they_count_and_by_which_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    told = await explained(
        capsys, tmp_path, "GET", "/api/v1/coredinator/a", "-H", f"X-API-Key: {KEY}", "-H", "X-Tenant: a"
    )
    assert told["rates"] == (
        "decides when it runs: per-client (100 at once, then one each 0.1 s, by client); "
        "tenant (2 at once, then one each 0.5 s, by header:x-tenant and route, none without it, not enforced)"
    )
    assert (
        told["rates by consumer"]
        == "decides when it runs: caller (1 at once, then one each 3600 s, by consumer)"
    )
    assert told["concurrency"] == "decides when it runs: few (7 at a time, by all requests together)"
    assert told["authentication"] == "passes: robot by key"


async def test_a_service_is_told_and_not_asked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    told = await explained(capsys, tmp_path, "GET", "/api/v1/coredinator/a")
    assert told["authentication"] == "decides when it runs: auth.forward.sso is asked"
    told = await explained(capsys, tmp_path, "GET", "/dear")
    assert told["rates"].endswith("(100 at once, then one each 0.1 s, by client, each request counts as 5)")


async def test_a_token_is_judged_by_a_node_that_has_its_keys(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    claims = {"iss": "https://idp.test/", "aud": "gw", "exp": time() + 60}
    signed = jwt.encode(claims, Ed25519PrivateKey.generate(), "EdDSA")
    told = await explained(capsys, tmp_path, "GET", "/tokens", "-H", f"Authorization: Bearer {signed}")
    assert told["authentication"] == "decides when it runs: the keys of issuers tell"
    told = await explained(capsys, tmp_path, "GET", "/tokens", "-H", "Authorization: Bearer x.y.z")
    assert told["authentication"] == "refuses: 401 auth_invalid"
