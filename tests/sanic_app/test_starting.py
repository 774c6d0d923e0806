"""Every way in which a Sanic application is started gives a gateway, or is refused with one line."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from coregateway.app import create_app
from coregateway.sanic_app.unsupported import ASGI_REFUSED
from coregateway.settings import Settings
from coregateway.testing import RawClient, ScriptedBackend, respond
from tests import certificates
from tests.sanic_app.asking import holds
from tests.sanic_app.serving import Served
from tests.stage import PREFIX, request
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
WITHIN = 60.0


@pytest.mark.parametrize(
    "program",
    [
        "create_server",
        "create_server_without_listeners",
        "create_server_over_tls",
        "reusable_client",
        "test_client",
        "test_client_with_checks",
    ],
)
async def test_a_program_serves_own_and_forwarded_requests(program: str) -> None:
    async with ScriptedBackend() as backend:
        backend.on("/x", *[respond(200, b"proxied")])
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.sanic_app.programs", program, backend.url),
            *(certificates.pair_file("localhost"), certificates.ca_file()),
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
    ("application", "arguments", "status", "workers"),
    [
        pytest.param("coregateway.app:create_app", ["--factory"], 404, 1, id="the gateway's own"),
        pytest.param("coregateway.app:create_app", [], 404, 2, id="without the flag"),
        pytest.param("tests.sanic_app.factory:make", ["--factory"], 200, 1, id="without arguments"),
        pytest.param("tests.sanic_app.factory:make_by_options", ["--factory"], 200, 2, id="with options"),
    ],
)
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


def test_the_asgi_client_is_refused_with_what_to_use() -> None:
    with pytest.raises(RuntimeError, match="ReusableClient of sanic_testing"):
        _ = create_app(Settings(), "no-asgi-client").asgi_client


class Started(Served):
    """By Sanic's command with these arguments alone."""

    def __init__(
        self, application: str, *arguments: str, backend: str = "", path: Path | None = None
    ) -> None:
        env = {"PYTHONPATH": f"{ROOT}:{path}"} if path is not None else {}
        super().__init__(application, env=env, backends={"coredinator": backend} if backend else {})
        self._command = [sys.executable, "-m", "sanic", application, "--host", "127.0.0.1"]
        self._command += ["--port", str(self.port), *arguments]


@pytest.mark.parametrize(
    ("arguments", "processes"),
    [
        pytest.param(["--single-process"], 1, id="single process"),
        pytest.param(["--fast"], len(os.sched_getaffinity(0)), id="fast"),
        pytest.param(["--dev"], 1, id="dev"),
    ],
)
async def test_sanics_command_serves_own_and_forwarded_requests(arguments: list[str], processes: int) -> None:
    async with ScriptedBackend() as backend:
        async with Started("tests.sanic_app.factory:make", *arguments, backend=backend.url) as gateway:
            async with RawClient(gateway.address) as client:
                await client.send(request("/own") + request(PREFIX + "/x"))
                assert [(await client.read_response()).status for _ in range(2)] == [200, 200]
            await eventually(lambda: len(gateway.log_lines(event="sanic.server")) >= 2 * processes)
            told = gateway.log_lines(event="sanic.server")
            assert len({line["worker"] for line in told}) == processes
            assert await gateway.stop() == 0
            assert gateway.stderr == ""
        assert len(backend.requests) == 1


async def test_a_changed_source_is_served_with_reload(tmp_path: Path) -> None:
    def source(answer: str) -> str:
        lines = ["from sanic import text", "from coregateway.app import app"]
        lines += ["@app.get('/version')", "async def version(request):", f"    return text({answer!r})"]
        return "\n".join(lines)

    async def version(gateway: Served) -> bytes:
        async with RawClient(gateway.address) as client:
            await client.send(request("/version"))
            return (await client.read_response()).body

    module = tmp_path / "reloaded_app.py"
    module.write_text(source("first"))
    async with Started("reloaded_app:app", "--reload", path=tmp_path) as gateway:
        assert await version(gateway) == b"first"
        written = 0.0

        async def is_served() -> bool:
            nonlocal written
            if monotonic() > written + 10:  # again, for Sanic takes what its first look finds as unchanged
                module.write_text(source("second"))
                written = monotonic()
            return await version(gateway) == b"second"

        await holds(is_served)
        assert await gateway.stop() == 0
        assert gateway.stderr == ""
        assert gateway.log_lines(level="ERROR") == []


class ByUnixSocket(Started):
    """Behind a path that is short, for Sanic makes a longer one of it first (unix(7): 108 bytes)."""

    def __init__(self, application: str, *arguments: str, backend: str) -> None:
        super().__init__(application, *arguments, backend=backend)
        self._place = tempfile.mkdtemp(prefix="s-")
        self.path = Path(self._place, "s")
        self._command += ["--unix", str(self.path)]
        transport = httpx.AsyncHTTPTransport(uds=str(self.path))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://gateway")

    async def _is_ready(self) -> bool:
        try:
            return (await self.client.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    def _end(self) -> None:
        super()._end()
        shutil.rmtree(self._place)


async def test_a_unix_socket_serves_own_and_forwarded_requests() -> None:
    async with ScriptedBackend() as backend:
        application = "tests.sanic_app.factory:make"
        async with ByUnixSocket(application, "--workers", "2", backend=backend.url) as gateway:
            assert (await gateway.client.get("/own")).text == "own"
            assert (await gateway.client.get(PREFIX + "/x")).status_code == 200
            await gateway.client.aclose()
            assert await gateway.stop() == 0
            assert (gateway.stderr, gateway.path.exists()) == ("", False)
            assert gateway.log_lines(level="ERROR") == []
