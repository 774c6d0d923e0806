"""What tells a backend who a client is, middleware sees and cannot change."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from coregateway.policy.keys import hash_of
from coregateway.testing import Response, ScriptedBackend
from tests.sanic_app.serving import Served
from tests.sanic_app.test_middleware import Gateway, own_fields
from tests.stage import PREFIX

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = f"cg_{'k' * 43}"
TOML = f"""
[auth.consumers.dashboard]
keys = ["{hash_of(KEY)}"]
roles = ["reader"]
[backends.coredinator]
auth = {{ require = ["keys"], anonymous = true }}
"""


class Authenticating(Gateway):
    def __init__(self, backend: ScriptedBackend) -> None:
        application = "tests.sanic_app.middleware_app:app"
        Served.__init__(self, application, backends={"coredinator": backend.url}, toml=TOML)
        self.backend = backend


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Authenticating]:
    async with ScriptedBackend() as backend, Authenticating(backend) as gateway:
        yield gateway
        assert gateway.stderr == ""


async def ask(gateway: Gateway, path: str, *fields: str) -> Response:
    return await gateway.ask(path, f"X-API-Key: {KEY}", "X-Consumer: evil", "x_consumer: evil", *fields)


@pytest.mark.parametrize(
    "action", ["touch-X-Consumer", "touch-x_consumer", "touch-X-Auth-Roles", "pop-consumer"]
)
async def test_to_change_it_raises(gateway: Authenticating, action: str) -> None:
    answer = await ask(gateway, f"/{action}")
    assert (answer.status, answer.header("x-coregateway-error")) == (500, b"middleware_failed")
    assert gateway.seen(f"/{action}") == []


async def test_it_is_seen_as_the_gateway_says_it(gateway: Authenticating) -> None:
    await ask(gateway, "/known/consumer")
    told = await gateway.told(action="consumer", path=f"{PREFIX}/known/consumer")
    assert told["names"] == ["dashboard"]
    await gateway.ask("/unknown/consumer", "X-Consumer: evil")
    told = await gateway.told(action="consumer", path=f"{PREFIX}/unknown/consumer")
    assert told["names"] == []


async def test_the_backend_gets_it_once_beside_what_middleware_sets(gateway: Authenticating) -> None:
    await ask(gateway, "/set-field", "X-Tenant: old")
    (seen,) = gateway.seen("/set-field")
    fields = own_fields(seen)
    assert [value for name, value in fields if name.replace("_", "-") == "x-consumer"] == ["dashboard"]
    assert ("x-tenant", "acme") in fields
    assert "x-api-key" not in dict(fields)
