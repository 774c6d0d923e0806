"""`coregateway demo` as a process: what it says, what it shows, and that nothing of it is left behind."""

import os
import re
import shlex
import signal
import socket
import ssl
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from coregateway import __version__
from coregateway.demo import showing
from coregateway.testing import free_port
from tests.demo.running_backend import HEALTH, answers, new_client
from tests.node.running_node import until
from tests.running_command import RunningCommand, alive

FLAGS = ("--port", "--coredinator-port", "--coretelemetry-port")
END = "Ctrl-C ends everything.\n"
"""The last words of the greeting."""


class Demo(RunningCommand):
    """`python -m coregateway demo` on these ports: of the gateway, Coredinator and CoreTelemetry."""

    def __init__(self, ports: list[int] | None = None, *more: str) -> None:
        self.ports = ports or [free_port() for _ in FLAGS]
        flags = [f"{flag}={port}" for flag, port in zip(FLAGS, self.ports, strict=True)]
        super().__init__([sys.executable, "-m", "coregateway", "demo", "--host", "127.0.0.1", *flags, *more])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def greeting(self) -> str:
        self.until(lambda: END in self.stderr, "greets")
        return self.stderr

    def pid(self, backend: str) -> int:
        """As the greeting tells it."""
        found = re.search(rf"^  {backend} .* pid (\d+)$", self.greeting(), re.MULTILINE)
        assert found
        return int(found[1])


def gateway_of(demo: Demo) -> int:
    """The gateway's main process."""
    words = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in demo.processes()}
    [pid] = [pid for pid, line in words.items() if b"run" in line]
    return pid


def health(client: httpx.Client) -> tuple[int, Any]:
    response = client.get("/health")
    return response.status_code, response.json()["services"]


def is_degraded(client: httpx.Client) -> bool:
    return health(client) == (503, {"coredinator": "unhealthy", "coretelemetry": "healthy"})


def test_ctrl_c_ends_all_of_it_though_a_stream_is_watched() -> None:
    with Demo() as demo:
        greeting = demo.greeting()
        family = demo.processes()
        assert len(family) >= 6  # this one, two backends, the gateway with two workers
        with new_client(demo.url) as client:
            started = client.post(
                "/api/v1/coredinator/api/agents/start", json={"config_path": "demo/pump.yaml"}
            )
            assert (started.status_code, started.json()) == (200, "pump")
            assert started.headers["X-CoreRL-Version"] == __version__
            redirect = client.get("/api/v1/coredinator/api/agents")
            assert redirect.headers["Location"].endswith("/api/v1/coredinator/api/agents/")
            with client.stream("GET", "/api/v1/coretelemetry/api/data/pump/live?metric=reward") as stream:
                events = stream.iter_text()  # dropped, it would close the stream
                assert next(events).startswith("id: ")
                assert demo.interrupt(within=20) == 0
        until(lambda: not alive(family), "nothing is left")
        assert demo.stderr == greeting
        assert demo.log_lines(level="ERROR") == []
        paths = [line["path"].removeprefix("/api/v1") for line in demo.log_lines(event="request", status=200)]
        assert paths.count("/coredinator/api/agents/start") == 1
        assert paths.count("/coretelemetry/api/data/pump/live") == 1


def test_what_it_says_to_try_works() -> None:
    """A backend that is killed and started again as the greeting says; then SIGTERM to the one process."""
    with Demo() as demo, new_client(demo.url) as client, ExitStack() as again:
        greeting = demo.greeting()
        for url in re.findall(r"^  curl -i '?(\S+?)'?(?: --json .*)?$", greeting, re.MULTILINE):
            method = "POST" if url.endswith("/start") else "GET"
            content = '{"config_path": "demo/pump.yaml"}' if method == "POST" else None
            status = 404 if url.endswith("/nowhere") else 200
            assert client.request(method, url, content=content).status_code == status
        assert client.get(f"{demo.url}/docs").status_code == 200

        os.kill(demo.pid("coredinator"), signal.SIGKILL)
        demo.until(lambda: demo.stderr != greeting, "tells that a backend has ended")
        refused = client.get("/api/v1/coredinator/api/agents/")
        assert refused.status_code == 502
        assert refused.headers["X-CoreGateway-Error"] == "connect_failed"
        until(lambda: is_degraded(client), "degraded")

        said = demo.stderr.removeprefix(greeting)
        command = said.rstrip("\n").partition("To start it again: ")[2]
        assert f"  {command} &\n" in greeting
        backend = again.enter_context(RunningCommand(shlex.split(command)))
        with new_client(f"http://127.0.0.1:{demo.ports[1]}") as direct:
            backend.until(lambda: answers(direct, HEALTH["coredinator"]), "the backend answers")
        assert client.get("/api/v1/coredinator/api/agents/").json() == []
        until(lambda: health(client)[0] == 200, "healthy again")

        family = demo.processes()
        assert demo.stop(signal.SIGTERM) == 0
        until(lambda: not alive(family), "nothing is left")
        assert demo.stderr == greeting + said
        assert demo.log_lines(level="ERROR") == []


def test_it_speaks_tls_with_a_certificate_that_is_made_for_it() -> None:
    """As curl would be told to trust it; it is gone at the end."""
    with Demo(None, "--tls") as demo:
        greeting = demo.greeting()
        [certificate] = {*re.findall(r"^  curl --cacert (\S+) -", greeting, re.MULTILINE)}
        assert Path(certificate).stat().st_mode & 0o077 == 0
        url = demo.url.replace("http", "https")
        assert f"  curl --cacert {certificate} -i {url}/health\n" in greeting
        trusting = ssl.create_default_context(cafile=certificate)
        with httpx.Client(base_url=url, verify=trusting, trust_env=False) as client:
            assert client.get("/health").status_code == 200
            assert client.get("/docs").status_code == 200
        assert demo.stop(signal.SIGTERM) == 0
        assert not Path(certificate).parent.exists()


def test_without_the_package_that_makes_certificates_it_says_which_extra_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)

    def without_signals(*_: object) -> None: ...

    monkeypatch.setattr(signal, "signal", without_signals)
    assert showing.main(tls=True) == 1
    assert capsys.readouterr().err == (
        "coregateway demo: --tls makes a certificate by the package cryptography, which is not installed: "
        "pip install 'coregateway[jwt]'\n"
    )


def test_killed_it_leaves_nothing_behind() -> None:
    with Demo() as demo:
        demo.greeting()
        family = demo.processes()
        assert demo.stop(signal.SIGKILL) == -signal.SIGKILL
        until(lambda: not alive(family), "nothing is left")
        for port in demo.ports:
            socket.create_server(("127.0.0.1", port)).close()


def test_without_its_gateway_it_ends() -> None:
    with Demo() as demo:
        greeting = demo.greeting()
        family = demo.processes()
        os.kill(gateway_of(demo), signal.SIGKILL)
        assert demo.wait() == 1
        until(lambda: not alive(family), "nothing is left")
        assert demo.stderr == greeting + "coregateway demo: the gateway has ended\n"


def test_a_signal_while_it_starts_ends_it_too() -> None:
    with Demo() as demo:
        demo.until(lambda: len(demo.processes()) >= 4, "has started all")
        family = demo.processes()
        assert demo.interrupt() == 0
        until(lambda: not alive(family), "nothing is left")
        assert (demo.stderr, demo.log_lines(level="ERROR")) == ("", [])


@pytest.mark.parametrize("flag", FLAGS)
def test_a_taken_port_is_one_line_and_nothing_starts(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ports = [free_port() for _ in FLAGS]
        ports[FLAGS.index(flag)] = taken = listener.getsockname()[1]
        with Demo(ports) as demo:
            assert demo.wait() == 1
            [line] = demo.stderr.splitlines()
            assert f" cannot listen on 127.0.0.1:{taken}: Address already in use" in line
            assert flag in line
            assert demo.stdout == ""
            for port in {*ports} - {taken}:
                socket.create_server(("127.0.0.1", port)).close()


def test_a_port_that_is_none_is_told_as_well() -> None:
    with Demo([99999, free_port(), free_port()]) as demo:
        assert demo.wait() == 1
        [line] = demo.stderr.splitlines()
        assert "99999: not a port from 0 to 65535" in line
