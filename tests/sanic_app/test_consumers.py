"""Middleware and handlers know the caller as `request.ctx.consumer`."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from coregateway.policy.keys import hash_of
from tests.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "cg_" + "m" * 43

TOML = f"""
plugins = ["tests.sanic_app.consumer_plugin"]
[auth.consumers.robot]
keys = ["{hash_of(KEY)}"]
roles = ["reader"]
[backends.coredinator]
auth = {{ require = ["keys"], anonymous = true }}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage(toml=TOML) as stage:
        yield stage


async def test_middleware_sees_the_caller_and_cannot_be_lied_to(stage: Stage) -> None:
    path = stage.path()
    await stage.ask(path, f"X-API-Key: {KEY}", "X-Consumer: admin")
    seen = await stage.wait_seen(path)
    assert seen.values("x-seen") == [b"robot reader {}"]
    assert seen.values("x-consumer") == [b"robot"]
    path = stage.path()
    await stage.ask(path, "X-Consumer: admin")
    seen = await stage.wait_seen(path)
    assert seen.values("x-seen") == seen.values("x-consumer") == []


async def test_a_handler_finds_the_caller_where_its_credentials_are_good(stage: Stage) -> None:
    assert (await stage.ask_gateway("/who", f"X-API-Key: {KEY}")).body == b"robot"
    assert (await stage.ask_gateway("/who", f"Authorization: Bearer {KEY}")).body == b"robot"
    for fields in ((), ("X-API-Key: cg_x",), ("X-Consumer: admin", "x_consumer: admin")):
        assert (await stage.ask_gateway("/who", *fields)).body == b"nobody"
