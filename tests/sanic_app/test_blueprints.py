"""The routes of backends in Sanic's router, which observed requests pass through, over reloads."""

import json
import sys
from http.client import HTTPConnection
from pathlib import Path

from coregateway.testing import free_port
from tests.node.running_node import ROOT, until
from tests.running_command import RunningCommand

OBSERVED = """
from coregateway.app import create_app

app = create_app()


@app.signal("http.lifecycle.handle")
async def observe(request, **_):
    pass
"""

ROW = '[backends.{name}]\nprefix = "/{prefix}"\nurls = ["{url}"]\nhealth.path = ""\n'


def status(port: int, path: str, method: str = "GET") -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers={"X-CoreGateway-Admin": "1"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def listens(port: int) -> bool:
    try:
        return status(port, "/readyz") == 200
    except OSError:
        return False


def test_observed_requests_find_backends_that_come_and_move_and_go(tmp_path: Path, down: str) -> None:
    port, admin = free_port(), free_port()
    (tmp_path / "observed.py").write_text(OBSERVED)

    def write(*backends: tuple[str, str]) -> None:
        rows = [ROW.format(name=name, prefix=prefix, url=down) for name, prefix in backends]
        rows += [f"[backends.{name}]\nenabled = false\n" for name in ("coredinator", "coretelemetry")]
        address = f"[admin]\naddress = {json.dumps(f'127.0.0.1:{admin}')}\n"
        (tmp_path / "coregateway.toml").write_text("".join([*rows, address]))

    def found(*paths: str) -> list[int]:
        return [status(port, path) for path in paths]

    write(("a", "a"))
    command = [sys.executable, "-m", "sanic", "observed:app", "--host", "127.0.0.1", "--port", str(port)]
    env = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "COREGATEWAY_ADMIN__ADDRESS": f"127.0.0.1:{admin}"}
    with RunningCommand(command, cwd=tmp_path, env=env):
        until(lambda: listens(port), "the gateway listens")
        assert found("/a/x", "/b/x") == [502, 404]
        write(("a", "a"), ("b", "b"))
        assert status(admin, "/reload", "POST") == 200
        assert found("/a/x", "/b/x") == [502, 502]
        write(("a", "moved"))
        assert status(admin, "/reload", "POST") == 200
        assert found("/a/x", "/b/x", "/moved/x", "/livez") == [404, 404, 502, 200]
        write(("a", "a"))
        assert status(admin, "/reload", "POST") == 200
        assert found("/a/x", "/moved/x") == [502, 404]
