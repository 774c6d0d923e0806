"""The commands, as processes: what they print, how they end, and what the workers are told."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from coregateway import __version__
from coregateway.__main__ import main
from coregateway.settings import Flag
from coregateway.settings.process import HANDED_DOWN, hand_down, handed_down, sanic_flags, started_by_sanic

APP = Path(__file__).resolve().parents[2] / "coregateway" / "app.py"
BIN = Path(sys.executable).parent
MODULE = (sys.executable, "-m", "coregateway")
SANIC = (sys.executable, "-m", "sanic")

PROBE = """
import json, os
from coregateway.app import app
from coregateway.settings import load_or_exit

settings = (loaded := load_or_exit()).settings
keys = [("host",), ("port",), ("workers",), ("backends", "coredinator", "urls")]
seen = {
    "main": "SANIC_WORKER_NAME" not in os.environ,
    "values": [settings.host, settings.port, settings.workers, *settings.backends["coredinator"].urls],
    "sources": [str(loaded.source_of(*key)) for key in keys],
}
with open("seen", "a") as file:
    file.write(json.dumps(seen) + "\\n")
"""
"""The gateway's application; the file `seen` tells what settings each process loads."""


RUN = "import coregateway.__main__ as m, sys; m._APPLICATION = 'probe:app'; m.main(['run', *sys.argv[1:]])"
"""The command `run`, with the probe in the application's place."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    own = {
        name: value for name, value in os.environ.items() if not name.lstrip("_").startswith("COREGATEWAY_")
    }
    return own | dict(extra or {})


def run(
    command: Sequence[str | Path], cwd: Path, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        start_new_session=True,
    )


def test_check_prints_the_effective_settings_with_their_sources(tmp_path: Path):
    (tmp_path / "mine.toml").write_text("workers = 3\ntimeouts.read = 7\n")
    flags = ["--config", "mine.toml", "--coredinator-port", "7100", "--log-level", "debug"]
    environ = {"COREGATEWAY_PORT": "9000", "COREGATEWAY_LOG_LEVEL": "ERROR"}
    done = run([*MODULE, "check", *flags], tmp_path, environ)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [tuple(line.split()) for line in done.stdout.splitlines()]
    assert ("workers", "=", "3", "mine.toml:1") in rows
    assert ("timeouts.read", "=", "7.0", "mine.toml:2") in rows
    assert ("port", "=", "9000", "COREGATEWAY_PORT") in rows
    assert ("log_level", "=", '"DEBUG"', "--log-level") in rows
    assert ("backends.coredinator.urls", "=", '["http://localhost:7100"]', "--coredinator-port") in rows
    assert ("host", "=", '"0.0.0.0"', "default") in rows


def test_check_puts_all_mistakes_on_stderr_and_ends_with_2(tmp_path: Path):
    (tmp_path / "coregateway.toml").write_text('host = "a b"\n')
    flags = ["--port", "99999", "--workers", "-1", "--coretelemetry-port", "x"]
    done = run([*MODULE, "check", *flags], tmp_path, {"COREGATEWAY_ROPT": "1"})
    assert (done.returncode, done.stdout) == (2, "")
    heading, *mistakes = done.stderr.splitlines()
    assert heading == "coregateway: 5 mistakes in the settings"
    assert [line.split(": ")[0].strip() for line in mistakes] == [
        "coregateway.toml:1",
        "COREGATEWAY_ROPT",
        "--coretelemetry-port",
        "--port",
        "--workers",
    ]


@pytest.mark.parametrize(
    "command",
    [
        [*MODULE, "run", "--port", "99999"],
        [BIN / "coregateway", "--port=99999"],
        [sys.executable, APP, "--port", "99999"],
        [BIN / "sanic", "coregateway.app", "--port=99999"],
    ],
    ids=["module", "console script without a command", "app.py", "sanic"],
)
def test_with_wrong_settings_nothing_starts(command: list[str | Path], tmp_path: Path):
    done = run(command, tmp_path, {"COREGATEWAY_TIMEOUTS__READ": "5s"})
    assert (done.returncode, done.stdout) == (2, "")
    heading, variable, flag = done.stderr.splitlines()
    assert heading == "coregateway: 2 mistakes in the settings"
    assert variable.startswith("  COREGATEWAY_TIMEOUTS__READ: expected a number of seconds")
    assert flag == "  --port: expected a port from 0 to 65535 (0: any free one), found 99999"


def test_alone_it_prints_its_help(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("run", "check", "demo", "version"))


@pytest.mark.parametrize(
    "arguments",
    [["run", "--prot", "1"], ["run", "extra"], ["start"], ["--prt", "1"], ["check", "--por", "1"]],
    ids=str,
)
def test_an_unknown_word_ends_with_2_and_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert capsys.readouterr().err.startswith("usage: coregateway")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("run --prot 1", "run: error: unrecognized arguments: --prot 1; did you mean --port?"),
        ("--prot=1", "run: error: unrecognized arguments: --prot=1; did you mean --port?"),
        (
            "check --worker 2 --hots=x",
            "check: error: unrecognized arguments: --worker 2 --hots=x; did you mean --workers, --host?",
        ),
        (
            "status --adress a:1",
            "status: error: unrecognized arguments: --adress a:1; did you mean --address?",
        ),
        ("demo --prt 1", "demo: error: unrecognized arguments: --prt 1; did you mean --port?"),
        (
            "run --coredinater-port=1",
            "run: error: unrecognized arguments: --coredinater-port=1; did you mean --coredinator-port?",
        ),
        ("run --xyzzy extra", "run: error: unrecognized arguments: --xyzzy extra"),
        ("chek", "error: unknown command: chek; did you mean check?"),
        ("start", "error: unknown command: start"),
    ],
)
def test_what_a_mistyped_word_may_have_meant_is_told(
    arguments: str, error: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit, match="2"):
        main(arguments.split())
    assert capsys.readouterr().err.splitlines()[-1] in (f"coregateway {error}", f"coregateway: {error}")


@pytest.mark.parametrize(
    ("command", "status", "stderr"),
    [
        ("check", 0, ""),
        ("version", 0, ""),
        ("check --config x.toml", 2, 'expected a TOML file, found "x.toml" (No such file or directory)'),
        ("run --port 0", 2, "coregateway: the working directory is not there any more: start in another one"),
        ("demo", 2, "coregateway: the working directory is not there any more: start in another one"),
    ],
)
def test_a_working_directory_that_was_deleted_is_no_riddle(
    command: str, status: int, stderr: str, tmp_path: Path
):
    script = f"mkdir gone && cd gone && rmdir ../gone && exec {BIN}/coregateway {command}"
    done = run(["sh", "-c", script], tmp_path)
    assert done.returncode == status
    assert done.stderr.strip().endswith(stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["run", "check", "demo"])
def test_every_command_has_its_help(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    printed = capsys.readouterr().out
    assert all(flag in printed for flag in ("--host", "--port", "--workers", "--coredinator-port"))


def test_version_prints_the_version_and_how_it_runs(capsys: pytest.CaptureFixture[str]):
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"{__version__} (interpreted)\n"  # as all that tests import


def test_commands_that_serve_nothing_do_not_load_a_server(tmp_path: Path):
    script = (
        "import sys; from coregateway.__main__ import main\n"
        "for words in ('check', 'version', 'export alerts', 'export grafana', '--help', 'run --help'):\n"
        "    try: main(words.split())\n"
        "    except SystemExit: pass\n"
        "sys.exit(str({'sanic', 'httpx', 'asyncio'} & sys.modules.keys()))"
    )
    assert run([sys.executable, "-c", script], tmp_path).stderr == "set()\n"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--auto-tls --dev", "a certificate that is made at the start is not supported: name one by --cert"),
        ("--http 3", "HTTP/3 towards clients is not supported: terminate it in front\n"),
    ],
)
def test_what_sanics_own_server_alone_can_do_is_refused_at_the_start(words: str, wanted: str, tmp_path: Path):
    done = run([*SANIC, "coregateway.app", "--port", "0", *words.split()], tmp_path)
    assert done.returncode == 2
    assert wanted in done.stderr


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ("", []),
        ("--workers 1", [("--workers", "1")]),
        ("--workers=4 --port 80 --host ::1", [("--host", "::1"), ("--port", "80"), ("--workers", "4")]),
        ("-w 2 -p 80 -H a", [("--host", "a"), ("--port", "80"), ("--workers", "2")]),
        ("-dp80", [("--port", "80")]),
        ("--work 3", [("--workers", "3")]),
        ("--cert a --key b", [("--cert", "a"), ("--key", "b")]),
        (
            "--tls x --tls y",
            [
                (
                    "--tls",
                    (
                        '[{ cert = "x/fullchain.pem", key = "x/privkey.pem" }, '
                        '{ cert = "y/fullchain.pem", key = "y/privkey.pem" }]'
                    ),
                )
            ],
        ),
        ("--port 1 --port 2", [("--port", "2")]),
        ("--fast", [("--fast", "0")]),
        ("--single-process", [("--single-process", "1")]),
        ("--unix --port", None),
        ("--debug --no-motd -v --access-logs", []),
        ("--pidfile 80 --daemon", []),
    ],
)
def test_the_flags_of_sanics_own_command_line(
    words: str, flags: list[tuple[str, str]] | None, monkeypatch: pytest.MonkeyPatch
):
    argv = ["/usr/bin/sanic", "coregateway.app", *words.split()]
    monkeypatch.setattr(sys, "argv", argv)  # Sanic's parser looks here for its mode
    if flags is None:
        with pytest.raises(SystemExit, match="2"):
            sanic_flags(argv)
    else:
        assert sanic_flags(argv) == tuple(Flag(*flag) for flag in flags)


@pytest.mark.parametrize(
    ("command", "is_sanic"),
    [
        ("/usr/bin/sanic", True),
        ("sanic", True),
        ("/lib/python3.13/site-packages/sanic/__main__.py", True),
        ("/usr/bin/coregateway", False),
        ("/src/coregateway/__main__.py", False),
        ("/usr/bin/pytest", False),
        ("-c", False),
        ("", False),
    ],
)
def test_sanics_command_line_is_known_by_its_name(command: str, is_sanic: bool):
    assert started_by_sanic([command]) is is_sanic


def test_flags_that_are_handed_down_arrive():
    environ: dict[str, str] = {}
    assert handed_down(environ) == ()
    hand_down([Flag("--port", "99"), Flag("--config", 'a "b".toml')], environ)
    assert list(environ) == [HANDED_DOWN]
    assert handed_down(environ) == (Flag("--port", "99"), Flag("--config", 'a "b".toml'))


def seen_by_processes(command: Sequence[str], cwd: Path) -> list[dict[str, object]]:
    """Start it, and give what its processes noted once a worker did."""
    (cwd / "probe.py").write_text(PROBE)
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=environment({"COREGATEWAY_ADMIN__ADDRESS": ""}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            end = time.monotonic() + 30
            notes: list[dict[str, object]] = []
            while all(note["main"] for note in notes):
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
                noted = (cwd / "seen").read_text() if (cwd / "seen").exists() else ""
                notes = [json.loads(line) for line in noted.splitlines(keepends=True) if line.endswith("\n")]
            return notes
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("command", "sources"),
    [
        ([*SANIC, "probe:app", "-H", "127.0.0.1"], ["--host", "--port", "--workers", "default"]),
        (
            [sys.executable, "-c", RUN, "--host", "127.0.0.1", "--coredinator-port", "7100"],
            ["--host", "--port", "--workers", "--coredinator-port"],
        ),
    ],
    ids=["sanic", "run"],
)
def test_workers_load_what_the_command_line_says(command: list[str], sources: list[str], tmp_path: Path):
    backend = "http://localhost:7100" if sources[-1] == "--coredinator-port" else "http://localhost:7000"
    for note in seen_by_processes([*command, "--port", "0", "--workers", "2"], tmp_path):
        assert note["values"] == ["127.0.0.1", 0, 2, backend]
        assert note["sources"] == sources
