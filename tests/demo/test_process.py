"""The demo backends as processes: silent, soon gone, and plain about a port that cannot be had."""

import signal
import socket
import sys
from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from coregateway.demo.contract import VERSION
from coregateway.testing import free_port
from tests.demo.running_backend import quiet_backend, running_backend
from tests.node.running_node import until
from tests.running_command import RunningCommand


@pytest.fixture(scope="module", name="coredinator")
def fixture_coredinator() -> Iterator[httpx.URL]:
    with quiet_backend("coredinator") as client:
        yield client.base_url


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_stop_signal_ends_streams_properly_and_gives_status_0(number: signal.Signals) -> None:
    with running_backend("coretelemetry") as (backend, client):
        with client.stream("GET", "/api/data/pump/live?metric=reward") as stream:
            events = stream.iter_text()
            next(events)
            backend.process.send_signal(number)
            list(events)  # which raises unless the last chunk comes
        assert (backend.wait(), backend.stdout, backend.stderr) == (0, "", "")


def test_a_stop_signal_closes_websockets_and_gives_status_0() -> None:
    with running_backend("coretelemetry") as (backend, client):
        url = client.base_url.copy_with(scheme="ws").join("/demo/data/pump/socket")
        with connect(str(url), proxy=None, open_timeout=30) as websocket:
            websocket.send('{"metric": "reward"}')
            websocket.recv(10)
            backend.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                websocket.recv(10)
        assert (backend.wait(), backend.stdout, backend.stderr) == (0, "", "")


def connected(client: socket.socket, port: int) -> bool:
    return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("name", ["coredinator", "coretelemetry"])
def test_a_stop_signal_counts_from_the_first_byte_of_the_first_answer(
    name: str, number: signal.Signals
) -> None:
    port = free_port()
    command = [sys.executable, "-m", f"coregateway.demo.{name}", "--port", str(port)]
    with RunningCommand(command) as backend, socket.socket() as client:
        # It listens before it answers, so the request is there when it could first be taken.
        until(lambda: connected(client, port), "it listens")
        client.settimeout(10)
        client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(1) == b"H"
        assert (backend.stop(number, within=10), backend.stdout, backend.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 9000), 413),
        (b"POST /api/agents/start HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /api/agents HTTP/1.0\r\n\r\n", 307),
    ],
    ids=["no request", "long path", "no chunk", "HTTP/1.0"],
)
def test_even_what_is_hardly_http_is_answered_with_a_version(
    coredinator: httpx.URL, request_head: bytes, status: int
) -> None:
    with socket.create_connection((coredinator.host, coredinator.port or 0), timeout=30) as client:
        client.sendall(request_head)
        answer = b""
        while data := client.recv(65536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert f"\r\nx-corerl-version: {VERSION}\r\n".encode() in answer.lower()


@pytest.mark.parametrize("name", ["coredinator", "coretelemetry"])
def test_a_taken_port_is_one_line_and_status_1(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with RunningCommand(
            [sys.executable, "-m", f"coregateway.demo.{name}", "--port", str(port)]
        ) as second:
            assert second.wait() == 1
            [line] = second.stderr.splitlines()
            assert f"cannot listen on 127.0.0.1:{port}: " in line
            assert second.stdout == ""
