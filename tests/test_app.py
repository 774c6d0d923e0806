"""The application as it is started: its addresses, and what it says when one cannot be had."""

import asyncio
import json
import re
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from coregateway.endpoints.admin import answers_for
from coregateway.settings import AdminSettings
from coregateway.testing import GatewayProcess, RawClient, Response, ScriptedBackend, free_port

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
DEFAULT_ADMIN = ("127.0.0.1", 9001)


async def ask_admin(
    port: int, path: str, host: str = "Host: localhost\r\n", minor: int = 1
) -> tuple[int, dict[bytes, bytes], bytes]:
    async with RawClient(("127.0.0.1", port)) as client:
        await client.send(f"GET {path} HTTP/1.{minor}\r\n{host}\r\n".encode())
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
            timeout=60,
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
            timeout=60,
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
    toml = f'[admin]\naddress = "127.0.0.1:{port}"\n[backends.billing]\nprefix = "/billing"\nurls = ["http://127.0.0.1:1"]'
    async with GatewayProcess(toml=toml, workers=2) as gateway:
        answers = await asyncio.gather(*(ask_admin(port, "/status") for _ in range(20)))
        states = [json.loads(body) for _, _, body in answers]
        for worker in (worker for state in states for worker in state["workers"]):
            # Told every half second, which may be between two answers.
            del worker["loop_lag_ms"], worker["connections"]
        status = states[0]
        assert states == [status] * len(states)
        assert status["ready"] is True
        assert [(worker["name"], worker["state"]) for worker in status["workers"]] == [
            ("Sanic-Server-0-0", "ready"),
            ("Sanic-Server-1-0", "ready"),
        ]
        assert {worker["pid"] for worker in status["workers"]} <= set(gateway.processes())
        (upstream,) = status["backends"]["billing"]["upstreams"]
        assert (upstream["url"], upstream["state"]) == ("http://127.0.0.1:1", "up")
        code, headers, body = await ask_admin(port, "/")
        assert (code, headers[b"content-type"]) == (200, b"text/html; charset=utf-8")
        assert b"access-control-allow-origin" not in headers
        links = re.findall(rb'href="(/\w+)"', body)
        assert links == [b"/status", b"/metrics", b"/dashboard"]
        for link in links:
            assert (await ask_admin(port, link.decode()))[0] == 200
        code, headers, _ = await ask_admin(port, "/nowhere")
        assert (code, headers[b"x-coregateway-error"]) == (404, b"no_route")
        assert (await ask_admin(port, "/api/v1/coredinator/x"))[0] == 404
        assert not gateway.log_lines(event="request", path="/status")
        assert await gateway.stop() == 0


@pytest.mark.parametrize(
    ("toml", "links"),
    [
        ("[metrics]\nenabled = false", [b"/status", b"/dashboard"]),
        ("[dashboard]\nenabled = false", [b"/status", b"/metrics"]),
    ],
)
async def test_the_admin_address_links_to_what_it_has(toml: str, links: list[bytes]) -> None:
    port = free_port()
    async with GatewayProcess(toml=f'{toml}\n[admin]\naddress = "127.0.0.1:{port}"'):
        assert re.findall(rb'href="(/\w+)"', (await ask_admin(port, "/"))[2]) == links


@pytest.mark.parametrize(
    "off", [["coretelemetry"], ["coredinator", "coretelemetry"], ["billing", "coredinator"]]
)
async def test_a_backend_that_is_off_is_nowhere(off: list[str]) -> None:
    port = free_port()
    toml = f'[admin]\naddress = "127.0.0.1:{port}"\n' + "".join(
        f"[backends.{name}]\nenabled = false\n" for name in off
    )
    if "billing" not in off:
        toml += '[backends.billing]\nurls = ["http://b:1"]\n'
    toml = toml.replace("[backends.billing]", '[backends.billing]\nprefix = "/api/v1/billing"')
    left = {"coredinator", "coretelemetry", "billing"} - {*off}
    async with (
        ScriptedBackend() as backend,
        GatewayProcess(
            toml=toml, env={f"COREGATEWAY_BACKENDS__{name.upper()}__URLS": backend.url for name in left}
        ) as gateway,
        RawClient(gateway.address) as client,
    ):

        async def ask(path: str) -> Response:
            await client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            return await client.read_response()

        for name in ("coredinator", "coretelemetry", "billing"):
            assert (await ask(f"/api/v1/{name}/x")).status == (404 if name in off else 200)
        health = await ask("/health")
        assert (health.status, json.loads(health.body)["services"]) == (200, dict.fromkeys(left, "healthy"))
        document = json.loads((await ask("/openapi.json")).body)
        assert not [path for path in document["paths"] for name in off if path.startswith(f"/api/v1/{name}")]
        assert json.loads((await ask_admin(port, "/status"))[2])["backends"].keys() == left
        assert (await ask_admin(port, "/metrics"))[0] == 200
        assert gateway.log_lines(level="ERROR") == []


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("127.0.0.1:9001", True),
        ("10.1.2.3", True),
        ("[::1]:9001", True),
        ("[2001:db8::1]", True),
        ("localhost:9001", True),
        ("LocalHost", True),
        ("gateway.internal:9001", True),
        ("Gateway.Internal", True),
        ("", False),
        ("evil.example:9001", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("gateway.internal.evil.example", False),
        ("::1", False),
        ("0x7f.1", False),
    ],
)
def test_the_admin_address_answers_for_its_own_names_and_for_addresses(host: str, answered: bool) -> None:
    assert answers_for(host, AdminSettings(address="Gateway.internal:9001")) is answered
    assert answers_for(host, AdminSettings()) is (answered and "internal" not in host.lower())


@pytest.mark.parametrize("address", ["0.0.0.0:9001", "[::]:9001", "[::0]:9001", "[::ffff:0.0.0.0]:9001"])
def test_an_admin_address_on_every_interface_answers_for_every_name(address: str) -> None:
    assert answers_for("gateway.monitoring:9001", AdminSettings(address=address))
    assert not answers_for("no name", AdminSettings(address=address))


async def test_whom_a_strangers_name_leads_to_the_admin_address_is_shown_nothing() -> None:
    port = free_port()
    toml = f'[admin]\naddress = "127.0.0.1:{port}"'
    async with GatewayProcess(toml=toml) as gateway:
        for path in ("/", "/status", "/metrics", "/dashboard", "/dashboard/events", "/nowhere"):
            code, headers, body = await ask_admin(port, path, f"Host: evil.example:{port}\r\n")
            assert (code, headers[b"x-coregateway-error"]) == (421, b"misdirected"), path
            assert headers[b"content-type"] == b"application/problem+json"
            assert json.loads(body)["title"] == "Misdirected Request"
        assert (await ask_admin(port, "/status", f"Host: 127.0.0.1:{port}\r\n"))[0] == 200
        assert (await ask_admin(port, "/status", "", minor=0))[0] == 200
        # Clients know the gateway itself by names of which it knows nothing.
        assert (await ask_admin(gateway.address[1], "/livez", "Host: api.example\r\n"))[0] == 200
        assert gateway.stderr == ""
