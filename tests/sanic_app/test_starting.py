"""Every way in which a Sanic application is started gives a gateway, or is refused with one line."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from coregateway.app import create_app
from coregateway.sanic_app.gateway import ASGI_REFUSED
from coregateway.settings import Settings
from coregateway.testing import RawClient, ScriptedBackend, respond
from tests.sanic_app.serving import Served
from tests.stage import PREFIX, request

ROOT = Path(__file__).parents[2]
WITHIN = 60.0


@pytest.mark.parametrize(
    "program", ["create_server", "create_server_without_listeners", "reusable_client", "test_client"]
)
async def test_a_program_serves_own_and_forwarded_requests(program: str) -> None:
    async with ScriptedBackend() as backend:
        backend.on("/x", *[respond(200, b"proxied")])
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.sanic_app.programs", program, backend.url),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(WITHIN):
            output, _ = await running.communicate()
    said = output.decode()
    told = [line.removeprefix("told ") for line in said.splitlines() if line.startswith("told ")]
    assert running.returncode == 0, said
    own = [200, "own True", True]
    assert json.loads(told[0]) == [own, [200, "proxied", True], own], said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("application", "arguments", "status"),
    [
        pytest.param("coregateway.app:create_app", ["--factory"], 404, id="the gateway's own"),
        pytest.param("coregateway.app:create_app", [], 404, id="without the flag"),
        pytest.param("tests.sanic_app.factory:make", ["--factory"], 200, id="without arguments"),
        pytest.param("tests.sanic_app.factory:make_by_options", ["--factory"], 200, id="with options"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_factory_gives_a_gateway(
    application: str, arguments: list[str], status: int, workers: int
) -> None:
    async with ScriptedBackend() as backend:
        backends = {"coredinator": backend.url}
        async with Served(application, *arguments, backends=backends, workers=workers) as gateway:
            async with RawClient(gateway.address) as client:
                await client.send(request("/own") + request(PREFIX + "/x"))
                statuses = [(await client.read_response()).status for _ in range(2)]
            assert statuses == [status, 200]
            assert await gateway.stop() == 0
        assert len(backend.requests) == 1


async def test_wrong_settings_end_a_factorys_start_with_words(tmp_path: Path) -> None:
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sanic", "coregateway.app:create_app", "--factory"),
        cwd=ROOT,
        env={"COREGATEWAY_TIMEOUTS__READ": "soon", "HOME": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WITHIN):
        output, errors = await running.communicate()
    assert (running.returncode, output) == (2, b"")
    assert b"timeouts" in errors.lower()
    assert b"Traceback" not in errors


async def test_an_asgi_server_is_refused_at_its_start() -> None:
    app = create_app(Settings(), "under-asgi")
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.startup.failed", "message": ASGI_REFUSED}]
    assert "\n" not in ASGI_REFUSED
    for kind in ("http", "websocket"):
        with pytest.raises(RuntimeError, match="ASGI"):
            await app({"type": kind}, receive, send)
    assert len(sent) == 1
