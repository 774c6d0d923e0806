"""Whatever comes as credentials: clients get 400, 401 or 403, and no line tells of it."""

from collections.abc import AsyncIterator
from random import Random

import pytest
import pytest_asyncio

from coregateway.policy.keys import hash_of
from coregateway.testing import RawClient
from tests.stage import PREFIX, Stage, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "cg_" + "f" * 43
REQUESTS = 400

TOML = f"""
[auth.consumers.robot]
keys = ["{hash_of(KEY)}"]
roles = ["reader"]
[auth.jwt.corp]
issuer = "https://idp.test/"
audiences = ["gw"]
jwks = "no-such-file.json"
[backends.coredinator]
auth.require = ["keys", "jwt.corp"]
auth.roles = ["writer"]
"""

HEADER = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ"
PIECES = (
    *(KEY, KEY[:-1], "cg_", "Bearer", "bearer ", "Basic YTpi", "ApiKey", HEADER, "eyJhbGciOiJub25lIn0"),
    *(
        "e30",
        ".",
        "..",
        ",",
        ", ",
        " ",
        "\t",
        "=",
        '"',
        "'",
        "%00",
        "\x80",
        "\xff",
        "\x7f",
        "\0",
        "\x0b",
        "a" * 3000,
    ),
    *("Bearer cg_", "Bearer eyJ", "null", "-1", "{}", "sha256:" + "0" * 64),
)
NAMES = (
    *("Authorization", "authorization", "X-API-Key", "x-api-key", "X_API_KEY", "X-Consumer", "X-Auth-Roles"),
    *("Proxy-Authorization", "Connection", "Cookie", "X-Auth-Method", "x-consumer", "AUTHORIZATION"),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage(toml=TOML) as stage:
        yield stage


def some_field(chance: Random) -> bytes:
    value = "".join(chance.choice(PIECES) for _ in range(chance.randrange(5)))
    return f"{chance.choice(NAMES)}: {value}".encode("latin-1")


async def test_nothing_but_refusals_comes_of_it_and_nothing_is_told(stage: Stage) -> None:
    chance = Random(19)
    client = RawClient(stage.gateway.address)
    await client.__aenter__()
    seen: set[int] = set()
    try:
        for _ in range(REQUESTS):
            fields = [some_field(chance) for _ in range(chance.randrange(4))]
            head = request(f"{PREFIX}/fuzzed").removesuffix(b"\r\n\r\n")
            await client.send(b"\r\n".join([head, *fields, b"", b""]))
            response = await client.read_response()
            seen.add(response.status)
            if response.header("connection") == b"close":
                await client.__aexit__(None, None, None)
                client = RawClient(stage.gateway.address)
                await client.__aenter__()
    finally:
        await client.__aexit__(None, None, None)
    assert seen == {400, 401, 403}
    assert stage.seen("/fuzzed") == []
    await stage.ask("/last")
    await stage.line("/last")  # behind all others
    for secret in (KEY, hash_of(KEY).removeprefix("sha256:"), HEADER):
        assert secret not in stage.gateway.stdout
