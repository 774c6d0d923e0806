"""Caddy and nginx in front of a gateway, by the configurations of `docs/tls.md`, and real clients."""

import asyncio
import base64
import hashlib
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from websockets.asyncio.client import connect

from coregateway.testing import (
    PATIENCE,
    Exchange,
    GatewayProcess,
    ScriptedBackend,
    chunk,
    free_port,
    render_head,
    respond,
    send,
)
from tests import certificates
from tests.documents import PAGES
from tests.markdown import blocks
from tests.running_command import RunningCommand
from tests.waiting import eventually

PREFIX = "/api/v1/coredinator"
CLIENT = "127.0.0.9"
"""The address of clients, so that it is not the front's."""

NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.err;
events {{}}
http {{
  access_log off;
{server}
}}
"""
CADDY = """{{
	admin off
	auto_https off
}}
{server}
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Scene(NamedTuple):
    backend: ScriptedBackend
    gateway: GatewayProcess
    port: int
    """Of the front."""

    @property
    def origin(self) -> str:
        return f"https://localhost:{self.port}"

    def client(self) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(local_address=CLIENT, verify=certificates.trusting())
        return httpx.AsyncClient(transport=transport, base_url=self.origin, timeout=PATIENCE)


def shown(language: str) -> str:
    """The configuration of the page."""
    [found] = [block.text for block in blocks(PAGES["tls"]) if block.language == language]
    return found


def nginx(port: int, gateway: int, pair: str, folder: Path) -> list[str]:
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("needs nginx")
    server = (
        shown("nginx").replace("443", f"127.0.0.1:{port}").replace("127.0.0.1:8001", f"127.0.0.1:{gateway}")
    )
    server = server.replace("/etc/ssl/gateway.pem", pair).replace("/etc/ssl/gateway.key", pair)
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, server=server))
    return [program, "-c", str(file)]


def caddy(port: int, gateway: int, pair: str, folder: Path) -> list[str]:
    program = shutil.which("caddy") or shutil.which("caddyserver", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("needs Caddy")
    server = shown("caddyfile").replace("127.0.0.1:8001", f"127.0.0.1:{gateway}")
    # in the place of what it would fetch
    server = server.replace("gateway.example {", f"https://localhost:{port} {{\n\ttls {pair} {pair}")
    file = folder / "Caddyfile"
    file.write_text(CADDY.format(server=server))
    return [program, "run", "--adapter", "caddyfile", "--config", str(file)]


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[nginx, caddy])
async def scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    toml = next(block.text for block in blocks(PAGES["tls"]) if "trusted_proxies" in block.text)
    pair, port = certificates.pair_file("localhost"), free_port()
    async with AsyncExitStack() as running:
        backend = await running.enter_async_context(ScriptedBackend())
        gateway = GatewayProcess(toml=toml, backends={"coredinator": backend.url})
        command = request.param(port, gateway.port, pair, tmp_path_factory.mktemp("front"))
        await running.enter_async_context(gateway)
        running.enter_context(RunningCommand(command))
        await eventually(lambda: listens(port), within=30.0)
        yield Scene(backend, gateway, port)


async def test_backends_and_the_log_learn_of_the_client(scene: Scene) -> None:
    scene.backend.on("/moved", respond(302, headers=[("Location", f"{scene.backend.url}/there")]))
    async with scene.client() as client:
        assert (await client.get(f"{PREFIX}/a")).status_code == 200
        moved = await client.get(f"{PREFIX}/moved")
    request = next(each for each in scene.backend.requests if each.path == b"/a")
    assert request.header("x-forwarded-proto") == b"https"
    assert request.header("x-forwarded-host") == f"localhost:{scene.port}".encode()
    chain = request.header("x-forwarded-for")
    assert chain is not None
    assert chain.startswith(CLIENT.encode())
    line = await scene.gateway.wait_for_line(event="request", path=f"{PREFIX}/a")
    assert line["client"] == CLIENT
    assert moved.headers["location"].removeprefix(scene.origin) == f"{PREFIX}/there"


async def test_large_bodies_pass(scene: Scene) -> None:
    body = bytes(range(256)) * 20_000
    scene.backend.on("/large", respond(200, body))
    async with scene.client() as client:
        assert (await client.post(f"{PREFIX}/large", content=body)).content == body
    [request] = [each for each in scene.backend.requests if each.path == b"/large"]
    assert request.content.sha256 == hashlib.sha256(body).hexdigest()


async def test_each_event_passes_as_it_comes(scene: Scene) -> None:
    go_on = asyncio.Event()

    async def serve(exchange: Exchange) -> None:
        await exchange.send(
            render_head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
        )
        await exchange.send(chunk(b"data: 1\n\n"))
        await go_on.wait()
        await exchange.send(chunk(b"data: 2\n\n") + b"0\r\n\r\n")

    scene.backend.on("/live", serve)
    async with scene.client() as client, client.stream("GET", f"{PREFIX}/live") as stream:
        events = stream.aiter_text()
        assert await anext(events) == "data: 1\n\n"
        go_on.set()
        assert await anext(events) == "data: 2\n\n"


async def test_a_websocket_passes(scene: Scene) -> None:
    accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # of the key of RFC 6455 §1.3
    head = render_head(
        101, [("Connection", "upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Accept", accept)]
    )
    scene.backend.on("/ws", send(head + b"\x81\x02hi"), early=True)
    uri = f"wss://localhost:{scene.port}{PREFIX}/ws"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("websockets.client.generate_key", lambda: "dGhlIHNhbXBsZSBub25jZQ==")
        talk = connect(uri, ssl=certificates.trusting(), proxy=None, compression=None, close_timeout=0.1)
        async with talk as websocket:
            assert await asyncio.wait_for(websocket.recv(), PATIENCE) == "hi"


def digest_of_key(pair: str) -> str:
    """Of the public key of a certificate, as Chromium writes it."""
    key = x509.load_pem_x509_certificate(Path(pair).read_bytes()).public_key()
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


CHROMIUM = shutil.which("chromium")
PAGE = b"""<!doctype html><title>asking</title><script>
Promise.all([1, 2, 3].map((n) => fetch("data" + n).then((answer) => answer.text()))).then((all) => {
  document.title = all.join(" ") + " over " + location.protocol;
});
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian's package)")
async def test_a_browser_is_served_over_tls(tmp_path: Path) -> None:
    """It takes the certificate by its key, as the tests' authority is none of its own."""
    pair = certificates.pair_file("localhost")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    flags += [f"--user-data-dir={tmp_path}", f"--ignore-certificate-errors-spki-list={digest_of_key(pair)}"]
    async with (
        ScriptedBackend() as backend,
        GatewayProcess(
            toml=f'tls.cert = "{pair}"',
            backends={"coredinator": backend.url},
            tls=certificates.trusting(),
        ) as gateway,
    ):
        backend.on("/page", respond(200, PAGE, headers=[("Content-Type", "text/html")]))
        for number in (1, 2, 3):
            backend.on(f"/data{number}", respond(200, b"%d" % number))
        url = f"https://localhost:{gateway.port}{PREFIX}/page"
        browser = await asyncio.create_subprocess_exec(
            *(CHROMIUM or "", *flags, "--virtual-time-budget=10000", "--dump-dom", url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(60):
                shown, _ = await browser.communicate()
        finally:
            if browser.returncode is None:
                browser.kill()
                await browser.wait()
        assert b"<title>1 2 3 over https:</title>" in shown
