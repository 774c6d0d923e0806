"""The page about Sanic's own words tells the truth: its examples run, its tables have what there is."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from sanic.signals import RESERVED_NAMESPACES

from coregateway.sanic_app.signals import OF_CONNECTIONS
from coregateway.testing import RawClient, ScriptedBackend
from tests.documents import PAGES, ROOT
from tests.markdown import blocks, code, table
from tests.sanic_app.serving import Served
from tests.seeing_all import seeing_all
from tests.stage import PREFIX, request

WAITING, TESTING = (block.text for block in blocks(PAGES["sanic"]) if block.language == "python")

SEEN = """

@app.get("/seen")
async def tell(request):
    return json(seen)
"""
"""What the test adds to the example, to see what the subscribers were told."""


async def test_the_example_of_conditions_and_waiting_runs(tmp_path: Path) -> None:
    (tmp_path / "waiting_page.py").write_text(WAITING + SEEN)
    async with ScriptedBackend() as backend:
        env = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
        backends = {"coredinator": backend.url}
        async with Served("waiting_page:app", env=env, backends=backends) as gateway:

            async def ask(path: str) -> bytes:
                async with RawClient(gateway.address) as client:
                    await client.send(request(path))
                    return (await client.read_response()).body

            waiting = asyncio.ensure_future(ask("/next"))
            while not waiting.done():
                await ask(f"{PREFIX}/a")
            assert json.loads(await waiting) == {"path": f"{PREFIX}/a", "status": 200}
            seen = json.loads(await ask("/seen"))
            for name in ("started", "coredinator", "finished"):
                assert [name, f"{PREFIX}/a"] in seen
            assert ["coredinator", "/readyz"] not in seen


def test_the_example_of_a_test_passes(tmp_path: Path) -> None:
    (tmp_path / "test_page.py").write_text(TESTING)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=seeing_all(), capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stdout


def test_the_table_of_events_has_every_one_that_sanic_has() -> None:
    shown = {code(row[0])[0]: row[3] for row in table(PAGES["sanic"], "event")}
    assert shown.keys() == {*RESERVED_NAMESPACES["http"]}
    assert {event for event, passes in shown.items() if passes == "no"} == OF_CONNECTIONS
