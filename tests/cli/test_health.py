"""`coregateway health`: where it asks, what it makes of the answer, and that it is quick."""

import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from coregateway.cli.health import address, main

SCRIPT = "import sys; from coregateway.console_script import main; sys.exit(main())"

HEAVY = {"pydantic", "sanic", "httpx", "asyncio", "argparse", "ssl", "coregateway.settings"}


def answering(*answers: bytes) -> int:
    """The port of a server that gives these answers, one a connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    assert b"GET /readyz HTTP/1.1\r\n" in connection.recv(1024)
                    connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("flags", "environ", "file", "asked"),
    [
        ({}, {}, None, ("127.0.0.1", 8001)),
        ({}, {}, "port = 81\nhost = '::'", ("::1", 81)),
        ({}, {}, "\ufeffport = 81", ("127.0.0.1", 81)),
        ({}, {"COREGATEWAY_PORT": "82"}, "port = 81", ("127.0.0.1", 82)),
        ({"--port": "83"}, {"COREGATEWAY_PORT": "82"}, "port = 81", ("127.0.0.1", 83)),
        ({}, {"COREGATEWAY_PORT": ""}, "port = 81", ("127.0.0.1", 81)),
        ({}, {"COREGATEWAY_PORT": "tcp://10.0.0.1:8001"}, None, ("127.0.0.1", 8001)),
        ({}, {"COREGATEWAY_HOST": "10.1.2.3"}, None, ("10.1.2.3", 8001)),
        ({"--host": "gw.example"}, {}, None, ("gw.example", 8001)),
        ({"--config": "other.toml"}, {}, None, ("127.0.0.1", 84)),
        ({}, {"COREGATEWAY_CONFIG": "other.toml"}, "port = 81", ("127.0.0.1", 84)),
    ],
)
def test_it_asks_where_the_settings_say(
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    file: str | None,
    asked: tuple[str, int],
    tmp_path: Path,
) -> None:
    (tmp_path / "other.toml").write_text("port = 84")
    if file is not None:
        (tmp_path / "coregateway.toml").write_text(file)
    assert address(flags, environ, tmp_path) == (*asked, False)


@pytest.mark.parametrize(
    ("flags", "environ", "file", "asked"),
    [
        ({}, {}, "[tls]\ncert = 'a.pem'", (8001, True)),
        ({}, {}, "[[tls.certificates]]\ncert = 'a.pem'", (8001, True)),
        ({}, {"COREGATEWAY_TLS__CERT": "a.pem"}, None, (8001, True)),
        ({}, {}, "[tls]\ncert = 'a.pem'\nhttp_port = 81", (81, False)),
        ({}, {"COREGATEWAY_TLS__HTTP_PORT": "82"}, "[tls]\ncert = 'a.pem'", (82, False)),
        ({"--port": "83"}, {}, "[tls]\ncert = 'a.pem'\nhttp_port = 81", (83, True)),
    ],
)
def test_it_asks_over_tls_where_there_is_no_port_in_the_clear(
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    file: str | None,
    asked: tuple[int, bool],
    tmp_path: Path,
) -> None:
    if file is not None:
        (tmp_path / "coregateway.toml").write_text(file)
    assert address(flags, environ, tmp_path) == ("127.0.0.1", *asked)


@pytest.mark.parametrize("port", ["0", "x", "-1", "123456"])
def test_without_a_port_it_says_so(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", port]) == 1
    assert capsys.readouterr().err == f"coregateway health: no port is known: found '{port}'\n"


@pytest.mark.parametrize(
    ("answer", "status", "told"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, ""),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", 1, "coregateway health: not ready (status 503)\n"),
        (b"SSH-2.0-x\r\n", 1, "coregateway health: no answer in HTTP\n"),
        (b"", 1, "coregateway health: no answer in HTTP\n"),
    ],
)
def test_the_answer_decides(
    answer: bytes, status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"--port={answering(answer)}", "--host", "127.0.0.1"]) == status
    assert capsys.readouterr().err == told


def test_a_gateway_that_is_not_there_is_not_healthy(down: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "127.0.0.1", "--port", down.rpartition(":")[2]]) == 1
    assert capsys.readouterr().err == "coregateway health: Connection refused\n"


@pytest.mark.parametrize("words", [["--prot", "1"], ["extra"], ["--port"]])
def test_wrong_flags_end_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("usage: coregateway health")


@pytest.mark.parametrize("how", ["script", "module"])
def test_it_loads_nothing_that_takes_long(how: str) -> None:
    port = answering(b"HTTP/1.1 200 OK\r\n\r\n")
    words = ["-c", SCRIPT] if how == "script" else ["-m", "coregateway"]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words, "health", "--port", str(port)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "coregateway.cli.health" in loaded
    assert not HEAVY & loaded
