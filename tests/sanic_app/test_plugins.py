"""Plugins of the settings are attached in every way of starting, and in each process."""

import asyncio
import json
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from coregateway.app import create_app
from coregateway.settings import Settings
from coregateway.testing import GatewayFailed, GatewayProcess, PluggedGateway, RawClient
from tests.sanic_app import plugged
from tests.sanic_app.serving import Served
from tests.stage import request
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
PLUGIN = "tests.sanic_app.plugged"
TOML = f'plugins = ["{PLUGIN}"]\n[plugin."{PLUGIN}"]\nword = "here"\n'


class Single(Served):
    """Sanic's own way of one process."""

    def __init__(self, toml: str) -> None:
        super().__init__("coregateway.app:app", toml=toml)
        at = self._command.index("--workers")
        self._command[at : at + 2] = ["--single-process"]


class Script(GatewayProcess):
    """`python coregateway/app.py`."""

    def __init__(self, toml: str) -> None:
        super().__init__(toml=toml)
        script = str(ROOT / "coregateway/app.py")
        self._command = [sys.executable, script, "--host", "127.0.0.1", "--port", str(self.port)]


STARTS = {
    "coregateway run": lambda: GatewayProcess(toml=TOML, workers=2),
    "coregateway/app.py": lambda: Script(TOML),
    "sanic": lambda: Served("coregateway.app:app", toml=TOML, workers=2),
    "sanic, one process": lambda: Single(TOML),
    "a factory": lambda: Served("coregateway.app:create_app", "--factory", toml=TOML),
}


@pytest.mark.parametrize("way", STARTS)
async def test_a_plugin_is_attached_in_every_way_of_starting(way: str) -> None:
    async with STARTS[way]() as gateway:
        for _ in range(4):  # of several workers, more than one
            async with RawClient(gateway.address) as client:
                await client.send(request("/told"))
                told = json.loads((await client.read_response()).body)
                assert told == {"word": "here", "attached": True}
        assert gateway.stderr == ""


async def test_settings_in_code_attach_their_plugins_too() -> None:
    settings = Settings(plugins=(PLUGIN,), plugin={PLUGIN: {"word": "code"}})
    app = create_app(settings, f"plugged-{uuid4().hex}")
    assert "told" in {route.name.rpartition(".")[2] for route in app.router.routes}


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        (f"{PLUGIN}:fail", f'found "{PLUGIN}:fail" (ValueError: it cannot be attached, at '),
        (f"{PLUGIN}:wait", f'"{PLUGIN}:wait" (it returns a coroutine'),
        ("tests.no_such_plugin", '"tests.no_such_plugin" (no module named tests.no_such_plugin)'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", [["coregateway", "run"], ["sanic", "coregateway.app:app"]])
async def test_a_plugin_that_cannot_be_attached_ends_the_start(
    command: list[str], plugin: str, words: str, tmp_path: Path
) -> None:
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command),
        cwd=ROOT,
        env={"COREGATEWAY_PLUGINS": plugin, "HOME": str(tmp_path), "COREGATEWAY_PORT": "0"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60.0):
        output, errors = await running.communicate()
    assert (running.returncode, output) == (2, b"")
    assert words in errors.decode()
    assert b"Traceback" not in errors


async def test_the_state_of_the_node_names_the_plugins() -> None:
    async with PluggedGateway(plugged, toml='[admin]\naddress = "127.0.0.1:0"\n') as gateway:
        (line,) = gateway.gateway.log_lines(event="gateway.starting")
        state = await gateway.client.get(f"http://{line['admin']}/status")
        assert state.json()["plugins"] == [PLUGIN]


async def test_a_changed_plugin_is_loaded_anew_where_sources_are_watched(tmp_path: Path) -> None:
    text = (
        "from sanic import text\n"
        "def attach(app):\n"
        "    async def told(_):\n"
        "        return text('WORD')\n"
        "    app.add_route(told, '/told')\n"
    )
    file = tmp_path / "watched_plugin.py"
    file.write_text(text.replace("WORD", "before"))
    toml = 'plugins = ["watched_plugin"]\n'
    env = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1"}

    async def word(gateway: GatewayProcess) -> bytes:
        try:
            async with RawClient(gateway.address) as client:
                await client.send(request("/told", "Connection: close"))
                return (await client.read_response()).body
        except OSError:
            return b""

    async with GatewayProcess("--reload", toml=toml, env=env) as gateway:
        assert await word(gateway) == b"before"
        async with asyncio.timeout(60.0):
            while await word(gateway) != b"after":
                # Again, until the reloader has seen it once and looks for changes.
                file.write_text(text.replace("WORD", "after"))
                await asyncio.sleep(0.2)


async def test_a_gateway_for_the_tests_of_a_plugin_tells_why_it_does_not_start() -> None:
    with pytest.raises(GatewayFailed, match="it cannot be attached"):
        async with PluggedGateway(f"{PLUGIN}:fail"):
            pass


async def test_its_settings_are_written_as_toml() -> None:
    word = 'a "quoted" \\ word\n{}'
    async with PluggedGateway(PLUGIN, settings={"word": word}) as gateway:
        assert (await gateway.client.get("/told")).json()["word"] == word
        assert (await gateway.client.get("/api/v1/coredinator/x")).text == "ok"
        await eventually(lambda: len(gateway.backend.requests) == 1)
