"""Backends over TLS, as clients, operators and monitoring see them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from coregateway.testing import (
    PATIENCE,
    GatewayProcess,
    RawClient,
    Response,
    ResponseCut,
    ScriptedBackend,
    TlsFront,
    close,
    free_port,
    render_head,
    respond,
    send,
)
from tests import certificates
from tests.waiting import eventually

TOML = """
[admin]
address = "127.0.0.1:{admin}"

[backends.coredinator]
enabled = false

[backends.coretelemetry]
enabled = false

[backends.good]
prefix = "/good"
urls = ["{good}"]
health = {{ path = "/well", interval = 0.2 }}
tls = {{ ca = "{ca}" }}

[backends.ragged]
prefix = "/ragged"
urls = ["{ragged}"]
tls = {{ ca = "{ca}" }}

[backends.named]
prefix = "/named"
urls = ["{good}"]
tls = {{ ca = "{ca}", server_name = "other.example" }}
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Scene(NamedTuple):
    gateway: GatewayProcess
    good: ScriptedBackend
    ragged: ScriptedBackend
    admin: tuple[str, int]
    ca: Path


async def get(address: tuple[str, int], path: str) -> Response:
    async with RawClient(address) as client:
        await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return await client.read_response()


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="scene")
async def fixture_scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    ca = tmp_path_factory.mktemp("tls") / "ca.pem"
    ca.write_bytes(certificates.CA.cert_pem.bytes())
    context = certificates.serving(certificates.issued("127.0.0.1"))
    async with AsyncExitStack() as stack:
        good = await stack.enter_async_context(ScriptedBackend())
        ragged = await stack.enter_async_context(ScriptedBackend())
        fronts = [
            await stack.enter_async_context(TlsFront(good.address, context)),
            await stack.enter_async_context(TlsFront(ragged.address, context, ragged=True)),
        ]
        admin = free_port()
        toml = TOML.format(good=fronts[0].url, ragged=fronts[1].url, admin=admin, ca=ca)
        gateway = await stack.enter_async_context(GatewayProcess(toml=toml))
        yield Scene(gateway, good, ragged, ("127.0.0.1", admin), ca)


async def test_requests_and_large_answers_pass(scene: Scene) -> None:
    scene.good.on("/large", respond(200, b"x" * 1_000_000))
    assert (await get(scene.gateway.address, "/good/a")).body == b"ok"
    assert (await get(scene.gateway.address, "/good/large")).body == b"x" * 1_000_000
    request = next(each for each in scene.good.requests if each.path == b"/a")
    assert request.header("x-forwarded-proto") == b"http"  # of the client, who came in the clear


async def test_checks_and_health_ask_over_tls(scene: Scene) -> None:
    response = await get(scene.gateway.address, "/health")
    assert b'"good":"healthy"' in response.body
    assert b'"named":"unhealthy"' in response.body
    await eventually(
        lambda: any(each.path == b"/well" and each.header("connection") for each in scene.good.requests)
    )


async def test_a_body_that_ends_without_close_notify_is_cut_for_the_client_too(scene: Scene) -> None:
    scene.ragged.default(send(render_head(200) + b"some"), close())
    with pytest.raises(ResponseCut):
        await get(scene.gateway.address, "/ragged/x")
    line = await scene.gateway.wait_for_line(event="request", path="/ragged/x")
    assert line["error"] == "upstream_closed"


async def test_why_there_is_no_connection_is_for_operators_alone(scene: Scene) -> None:
    response = await get(scene.gateway.address, "/named/x")
    assert response.status == 502
    assert response.header("x-coregateway-error") == b"connect_failed"
    assert b"certificate" not in response.body
    line = await scene.gateway.wait_for_line(event="request", path="/named/x")
    assert line["reason"] == "the backend's certificate is for another name"
    finding = await scene.gateway.wait_for_line(event="diagnosis.not_secured", backend="named", within=30.0)
    assert finding["cause"] == "tls_name"
    status = await get(scene.admin, "/status")
    assert b"its certificate is for another name (tls_name)" in status.body
    metrics = await get(scene.admin, "/metrics")
    assert b'coregateway_upstream_tls_failures_total{backend="named",reason="name"} ' in metrics.body


async def test_a_reload_takes_renewed_files(scene: Scene) -> None:
    gateway = scene.gateway
    scene.ca.write_bytes(certificates.OTHER_CA.cert_pem.bytes())
    gateway.signal(signal.SIGHUP)
    await answered(scene, 502)
    scene.ca.write_bytes(b"")
    gateway.signal(signal.SIGHUP)
    line = await gateway.wait_for_line(event="settings.rejected")
    assert "backends.good.tls.ca" in line["message"]
    scene.ca.write_bytes(certificates.CA.cert_pem.bytes())
    gateway.signal(signal.SIGHUP)
    await answered(scene, 200)


async def answered(scene: Scene, status: int) -> None:
    """Wait until the worker runs with what was reloaded."""
    async with asyncio.timeout(PATIENCE):
        while (await get(scene.gateway.address, "/good/b")).status != status:
            pass
