"""The application as it is started: its addresses, and what it says when one cannot be had."""

import asyncio
import json
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from coregateway.testing import GatewayProcess, RawClient, free_port

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
DEFAULT_ADMIN = ("127.0.0.1", 9001)


async def ask_admin(port: int, path: str) -> tuple[int, dict[bytes, bytes], bytes]:
    async with RawClient(("127.0.0.1", port)) as client:
        await client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        response = await client.read_response()
    return response.status, {name.lower(): value for name, value in response.headers}, response.body


@pytest.mark.parametrize(
    "command",
    [
        [str(BIN / "sanic"), "coregateway.app"],
        [str(BIN / "sanic"), "coregateway.app", "--single-process"],
        [sys.executable, "-m", "coregateway", "run"],
        [str(BIN / "coregateway"), "run", "--workers", "3"],
        [sys.executable, "coregateway/app.py"],
    ],
    ids=["sanic", "single process", "module", "console script", "script"],
)
def test_a_port_in_use_is_told_in_one_line_and_nothing_starts(command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    line = f"cannot listen on 127.0.0.1:{port}: address already in use\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", line)


def test_an_admin_address_that_was_set_and_is_taken_is_a_reason_not_to_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "coregateway", "run", "--port", "0"],
            env={"COREGATEWAY_ADMIN__ADDRESS": f"127.0.0.1:{port}"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    line = f"cannot listen on 127.0.0.1:{port}: address already in use\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", line)


async def test_without_the_default_admin_address_the_gateway_starts_with_a_warning() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # whoever has it: it is taken
            taken.bind(DEFAULT_ADMIN)
            taken.listen()
        async with GatewayProcess(toml="[admin]") as gateway:
            (warning,) = gateway.log_lines(event="admin.unavailable")
    assert warning["level"] == "WARNING"
    assert warning["reason"] == "cannot listen on 127.0.0.1:9001: address already in use"


async def test_whichever_worker_answers_the_admin_address_speaks_for_the_node() -> None:
    port = free_port()
    toml = f'[admin]\naddress = "127.0.0.1:{port}"\n[backends.billing]\nprefix = "/billing"\nurls = ["http://b:1"]'
    async with GatewayProcess(toml=toml, workers=2) as gateway:
        answers = await asyncio.gather(*(ask_admin(port, "/status") for _ in range(20)))
        states = [json.loads(body) for _, _, body in answers]
        for worker in (worker for state in states for worker in state["workers"]):
            del worker["loop_lag_ms"]  # of the last half second
        status = states[0]
        assert states == [status] * len(states)
        assert status["ready"] is True
        assert [(worker["name"], worker["state"]) for worker in status["workers"]] == [
            ("Sanic-Server-0-0", "ready"),
            ("Sanic-Server-1-0", "ready"),
        ]
        assert {worker["pid"] for worker in status["workers"]} <= set(gateway.processes())
        (upstream,) = status["backends"]["billing"]["upstreams"]
        assert (upstream["url"], upstream["state"]) == ("http://b:1", "unknown")
        code, headers, _ = await ask_admin(port, "/nowhere")
        assert (code, headers[b"x-coregateway-error"]) == (404, b"no_route")
        assert (await ask_admin(port, "/api/v1/coredinator/x"))[0] == 404
        assert not gateway.log_lines(event="request", path="/status")
        assert await gateway.stop() == 0
