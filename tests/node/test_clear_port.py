"""A port in the clear beside one that speaks TLS: the same gateway, and the truth about how clients came."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import httpx
import pytest
import pytest_asyncio

from coregateway.testing import GatewayProcess, ScriptedBackend, free_port
from tests import certificates

TOML = """
forwarding.trusted_proxies = ["127.0.0.2"]
[tls]
cert = "{pair}"
http_port = {clear}
[routes.to-tls]
path = "/api/v1/coredinator/moved/*"
headers = {{ X-Forwarded-Proto = "http" }}
redirect = {{ to = "https://gateway.example/api/v1/coredinator/moved/*" }}
"""
PREFIX = "/api/v1/coredinator"

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Scene(NamedTuple):
    gateway: GatewayProcess
    backend: ScriptedBackend
    clear: int

    async def get(
        self, scheme: str, path: str, *, source: str = "127.0.0.1", **fields: str
    ) -> httpx.Response:
        port = self.clear if scheme == "http" else self.gateway.port
        transport = httpx.AsyncHTTPTransport(local_address=source, verify=certificates.trusting())
        async with httpx.AsyncClient(transport=transport) as client:
            headers = {name.replace("_", "-"): value for name, value in fields.items()}
            return await client.get(f"{scheme}://localhost:{port}{path}", headers=headers)


@asynccontextmanager
async def served(workers: int) -> AsyncGenerator[Scene]:
    clear = free_port()
    toml = TOML.format(pair=certificates.pair_file("localhost"), clear=clear)
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(ScriptedBackend())
        gateway = GatewayProcess(
            toml=toml, backends={"coredinator": backend.url}, workers=workers, tls=certificates.trusting()
        )
        yield Scene(await stack.enter_async_context(gateway), backend, clear)


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="scene")
async def fixture_scene() -> AsyncIterator[Scene]:
    async with served(workers=2) as scene:
        yield scene


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_backends_are_told_how_clients_have_come(scene: Scene, scheme: str) -> None:
    assert (await scene.get(scheme, f"{PREFIX}/{scheme}")).status_code == 200
    [request] = [each for each in scene.backend.requests if each.path == f"/{scheme}".encode()]
    assert request.header("x-forwarded-proto") == scheme.encode()


async def test_the_start_tells_both_ports(scene: Scene) -> None:
    line = await scene.gateway.wait_for_line(event="gateway.starting")
    assert (line["port"], line["http_port"]) == (scene.gateway.port, scene.clear)


async def test_a_route_sends_those_who_come_in_the_clear_elsewhere(scene: Scene) -> None:
    moved = await scene.get("http", f"{PREFIX}/moved/a?b")
    assert (moved.status_code, moved.headers["location"]) == (
        308,
        f"https://gateway.example{PREFIX}/moved/a?b",
    )
    assert (await scene.get("https", f"{PREFIX}/moved/a?b")).status_code == 200


@pytest.mark.parametrize(("source", "status"), [("127.0.0.2", 200), ("127.0.0.1", 308)])
async def test_only_a_trusted_proxy_may_say_that_its_client_came_over_tls(
    scene: Scene, source: str, status: int
) -> None:
    moved = await scene.get("http", f"{PREFIX}/moved/b", source=source, X_Forwarded_Proto="https")
    assert moved.status_code == status


async def test_the_end_of_the_node_ends_both_ports() -> None:
    async with served(workers=1) as scene:
        assert (await scene.get("http", "/livez")).status_code == 200
        assert await scene.gateway.stop() == 0
        for scheme in ("http", "https"):
            with pytest.raises(httpx.ConnectError):
                await scene.get(scheme, "/livez")
