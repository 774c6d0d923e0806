"""The first start at a terminal says where it listens, what it forwards, and what to do next."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from coregateway.cli.greeting import greeting
from coregateway.settings import Flag, load
from coregateway.testing.ports import free_port
from tests.running_command import environment


def test_it_names_the_port_the_backends_and_the_next_steps() -> None:
    said = greeting(load((Flag("--port", "8123"), Flag("--host", "::"))).settings)
    assert said.startswith("CoreGateway listens on http://localhost:8123 and forwards\n")
    assert "http://localhost:8123/api/v1/coredinator/…  →  http://localhost:7000" in said
    assert "curl http://localhost:8123/health" in said
    assert "coregateway init > coregateway.toml" in said


def said_at_a_terminal(directory: Path, env: Mapping[str, str]) -> str:
    """What a gateway writes to its terminal, and to the end of the log's first line."""
    ours, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "coregateway", "run", "--host=127.0.0.1", f"--port={free_port()}"],
        cwd=directory,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        while b"Worker ready" not in (line := process.stdout.readline()):
            assert line, "it has ended"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        os.set_blocking(ours, False)
        try:
            return os.read(ours, 10_000).decode()
        except BlockingIOError:
            return ""
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(ours)
        os.close(terminal)


@pytest.mark.parametrize("with_file", [False, True], ids=["none", "a file"])
def test_a_start_without_a_file_greets(tmp_path: Path, *, with_file: bool) -> None:
    if with_file:
        (tmp_path / "coregateway.toml").write_text("")
    said = said_at_a_terminal(tmp_path, {})
    assert said.startswith("CoreGateway listens on") is not with_file
    assert bool(said) is not with_file


@pytest.mark.parametrize(("shell", "mark"), [("bash", "complete "), ("zsh", "#compdef coregateway")])
def test_what_completes_the_commands_in_a_shell_is_printed(shell: str, mark: str) -> None:
    command = [sys.executable, "-m", "coregateway", "completion", shell]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert mark in done.stdout
    assert "--log-level" in done.stdout
    check = subprocess.run([shell, "-n"], input=done.stdout, text=True) if shell == "bash" else None
    assert check is None or check.returncode == 0
