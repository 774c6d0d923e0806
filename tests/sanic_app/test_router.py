"""Routes of the settings are the same where Sanic's own events are listened to."""

import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from coregateway.testing import GatewayProcess, RawClient, ScriptedBackend

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
[routes.shop]
path = "/shop/*"
methods = ["GET", "PUT"]
rewrite = "/v2/*"
backend = "coredinator"
[routes.staging]
path = "/api/v1/coretelemetry/*"
hosts = ["staging.test"]
methods = ["POST"]
backend = "coredinator"
[routes.closed]
path = "/closed/*"
deny = ["127.0.0.0/8"]
backend = "coredinator"
[routes.gone]
path = "/gone"
respond = { status = 410 }
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="backend")
async def fixture_backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend() as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="gateway")
async def fixture_gateway(backend: ScriptedBackend) -> AsyncIterator[GatewayProcess]:
    observed = GatewayProcess(
        backends={"coredinator": backend.url}, toml=TOML, env={"OBSERVED_BY_SANIC": "1"}
    )
    observed._command = [sys.executable, "-m", "sanic", "tests.sanic_app.observed_app:app"]  # pyright: ignore[reportPrivateUsage] -- another way of starting
    observed._command += ["--host", "127.0.0.1", "--port", str(observed.port)]  # pyright: ignore[reportPrivateUsage] -- likewise
    async with observed:
        yield observed


@pytest.mark.parametrize(
    ("start", "host", "status", "seen"),
    [
        ("GET /shop/a?b", "gw.test", 200, b"/v2/a?b"),
        ("PUT /shop", "gw.test", 200, b"/v2"),
        ("POST /shop/a", "gw.test", 405, b""),
        ("POST /api/v1/coretelemetry/x", "staging.test", 200, b"/api/v1/coretelemetry/x"),
        ("GET /api/v1/coredinator/x", "gw.test", 200, b"/x"),
        ("GET /closed/x", "gw.test", 403, b""),
        ("GET /gone", "gw.test", 410, b""),
        ("GET /livez", "gw.test", 200, b""),
        ("GET /nowhere", "gw.test", 404, b""),
    ],
)
async def test_a_request_takes_its_route_on_sanic_s_way_too(
    gateway: GatewayProcess, backend: ScriptedBackend, start: str, host: str, status: int, seen: bytes
) -> None:
    before = len(backend.requests)
    async with RawClient(gateway.address) as client:
        await client.send(f"{start} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        response = await client.read_response()
    assert response.status == status
    if status == 405:
        assert response.header("allow") == b"GET, PUT"
    if seen:
        assert (await backend.wait_for_request(before + 1)).target == seen
    else:
        assert len(backend.requests) == before
