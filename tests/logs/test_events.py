"""Whatever a process of the gateway says becomes a JSON line on stdout."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import pytest
from loguru import logger
from sanic.log import access_logger

from coregateway.logs import events as logs
from coregateway.logs.writer import LogWriter
from coregateway.testing import free_port

SANIC_LOGGERS = ["sanic.root", "sanic.error", "sanic.server"]


class Recorder:
    """A destination that keeps what arrives."""

    piece = 4096

    def __init__(self) -> None:
        self.data = b""

    def send(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def settled(self) -> bool:
        return True

    def lines(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.data.splitlines()]
        assert all({"time", "level", "event", "worker"} <= line.keys() for line in lines)
        return lines

    def one(self) -> dict[str, Any]:
        (line,) = self.lines()
        return line


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Logging set up at INFO, into a recorder; all that it changes is put back."""
    recorder = Recorder()
    log = LogWriter(recorder, lambda _: b"")
    monkeypatch.setattr(logs, "writer", lambda: log)
    names = ["", *logs.SANIC_LOG_CONFIG["loggers"]]
    loggers = [logging.getLogger(name) for name in names]
    before = [(each, each.level, each.handlers[:]) for each in loggers]
    logs.configure("INFO")
    yield recorder
    logger.remove()
    for each, level, handlers in before:
        each.setLevel(level)
        each.handlers[:] = handlers


def ignore(_: object) -> None:
    """Stands for `atexit.register`."""


@pytest.fixture
def owned(out: Recorder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """The process's hooks and streams taken over as well, for the length of the test."""
    for holder, name in [
        (sys, "excepthook"),
        (sys, "unraisablehook"),
        (sys, "stdout"),
        (sys, "stderr"),
        (threading, "excepthook"),
    ]:
        monkeypatch.setattr(holder, name, getattr(holder, name))
    monkeypatch.setattr(logs.atexit, "register", ignore)
    logs.own_process()
    yield out
    logging.captureWarnings(capture=False)


def test_an_event_is_one_line_with_its_fields(out: Recorder) -> None:
    before = time.time()
    logs.event("worker.restarted", level="WARNING", name="Sanic-Server-1-0", attempt=2)
    line = out.one()
    assert logs.timestamp(before) <= line.pop("time") <= logs.timestamp(time.time())
    assert line == {
        "level": "WARNING",
        "event": "worker.restarted",
        "worker": "main",
        "name": "Sanic-Server-1-0",
        "attempt": 2,
    }


def test_an_event_may_be_told_in_words_too(out: Recorder) -> None:
    logs.event("diagnosis.lag", message="worker {2} was blocked", lag_ms=340)
    line = out.one()
    assert (line["event"], line["message"], line["lag_ms"]) == (
        "diagnosis.lag",
        "worker {2} was blocked",
        340,
    )


@pytest.mark.parametrize("name", ["time", "worker"])
def test_a_field_cannot_pose_as_one_of_the_lines_own(out: Recorder, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        logs.event("x", **{name: "y"})  # pyright: ignore[reportArgumentType] # any field name
    assert not out.data


def test_an_event_tells_its_exception(out: Recorder) -> None:
    try:
        raise OSError(111, "refused")
    except OSError as error:
        logs.event("probe.failed", level="ERROR", exception=error)
    exception = out.one()["exception"]
    assert exception["type"] == "ConnectionRefusedError"
    assert exception["message"] == "[Errno 111] refused"
    assert exception["stack"][0].startswith("logs/test_events.py:")


@pytest.mark.parametrize("name", [*SANIC_LOGGERS, "asyncio", "some.library", "root"])
def test_every_logger_ends_as_a_line(out: Recorder, name: str) -> None:
    logging.getLogger(name).info("text %s", "with {braces}")
    line = out.one()
    assert (line["event"], line["level"], line["message"]) == (name, "INFO", "text with {braces}")


@pytest.mark.parametrize("name", ["sanic.websockets", "httpx", "httpcore"])
def test_chatty_loggers_speak_from_warning_on(out: Recorder, name: str) -> None:
    logging.getLogger(name).info("noise")
    logging.getLogger(name).warning("worth it")
    assert out.one()["message"] == "worth it"


def test_sanics_access_log_is_off(out: Recorder) -> None:
    access_logger.info("", extra={"request": "GET http://h/?token=abc"})
    assert not out.data


@pytest.mark.parametrize("module", ["motd", "http1"])
def test_sanics_noise_appears_at_debug_only(out: Recorder, module: str) -> None:
    record = logging.LogRecord("sanic.root", logging.INFO, f"/sanic/{module}.py", 1, "noise", (), None)
    logging.getLogger("sanic.root").handle(record)
    assert not out.data
    logs.configure("DEBUG")
    logging.getLogger("sanic.root").handle(record)
    assert out.one()["level"] == "DEBUG"


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("DEBUG", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
        ("WARNING", ["WARNING", "ERROR", "CRITICAL"]),
        ("CRITICAL", ["CRITICAL"]),
    ],
)
def test_the_level_holds_for_every_source(out: Recorder, level: str, shown: list[str]) -> None:
    logs.configure(level)
    for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        logging.getLogger("sanic.root").log(logging.getLevelNamesMapping()[name], "text")
        logger.log(name, "text")
    assert [line["level"] for line in out.lines()] == [name for name in shown for _ in range(2)]


def test_configuring_again_doubles_nothing(out: Recorder) -> None:
    logs.configure("INFO")
    logs.event("x")
    logging.getLogger("sanic.root").info("text")
    assert len(out.lines()) == 2


def test_loguru_may_be_used_directly(out: Recorder) -> None:
    logger.bind(part=1).info("text {}", 7)
    line = out.one()
    assert (line["event"], line["message"], line["part"]) == (__name__, "text 7", 1)


def test_a_failure_that_loguru_caught_is_told(out: Recorder) -> None:
    try:
        raise KeyError("k")
    except KeyError:
        logger.exception("text")
    assert out.one()["exception"]["type"] == "KeyError"


def test_a_traceback_of_the_standard_library_is_told(out: Recorder) -> None:
    try:
        raise KeyError("k")
    except KeyError:
        logging.getLogger("sanic.error").exception(
            "Exception occurred while handling uri: %s", "'http://h/?a=b'"
        )
    line = out.one()
    assert line["message"] == "Exception occurred while handling uri: 'http://h/?…"
    assert line["exception"]["type"] == "KeyError"


def test_no_query_leaves_in_text_fields_or_exceptions(out: Recorder) -> None:
    url = "http://h/p?token=secret"
    logging.getLogger("sanic.root").info(f"Request: GET {url} gone")
    logger.info(url)
    logs.event("x", url=url, urls=[url], nested={"url": url}, exception=ValueError(url))
    assert len(out.lines()) == 3
    assert b"secret" not in out.data


def test_arguments_that_do_not_fit_do_not_cost_the_record(out: Recorder) -> None:
    record = logging.LogRecord("some.library", logging.INFO, "/x.py", 1, "%d items", ("three",), None)
    logs.LoguruHandler().handle(record)
    assert out.one()["message"] == "%d items ('three',)"


def test_a_line_stays_within_the_limit(out: Recorder) -> None:
    logs.event("x", body="y" * 10_000, exception=ValueError("z" * 10_000))
    assert len(out.data) <= 4096
    assert out.one()["clipped"] is True


class Chatty:
    """Logs while it is being logged, as finalizers and signal handlers may."""

    def __str__(self) -> str:
        logging.getLogger("inner").warning("said while another was speaking")
        return "chatty"


def test_a_record_made_within_a_record_is_not_lost(out: Recorder) -> None:
    logs.event("outer", value=Chatty())
    assert [line["event"] for line in out.lines()] == ["inner", "outer"]
    logs.event("after")
    assert out.lines()[-1]["event"] == "after"


def raise_in_thread() -> None:
    thread = threading.Thread(target=lambda: 1 / 0, name="worker-thread")
    thread.start()
    thread.join(5)


class BadFinalizer:
    def __del__(self) -> None:
        raise LookupError("in a finalizer")


def raise_in_finalizer() -> None:
    BadFinalizer()
    gc.collect()


def raise_to_the_top() -> None:
    sys.excepthook(ValueError, ValueError("at the top"), None)


@pytest.mark.parametrize(
    ("act", "source", "kind"),
    [
        (raise_in_thread, "thread", "ZeroDivisionError"),
        (raise_in_finalizer, "finalizer", "LookupError"),
        (raise_to_the_top, "process", "ValueError"),
    ],
)
def test_an_exception_that_nobody_caught_is_a_line(
    owned: Recorder, act: Callable[[], None], source: str, kind: str
) -> None:
    act()
    line = owned.one()
    assert (line["event"], line["source"]) == ("exception.uncaught", source)
    assert line["exception"]["type"] == kind


def test_an_interrupt_is_no_failure(owned: Recorder) -> None:
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    line = owned.one()
    assert (line["event"], line["level"]) == ("process.interrupted", "INFO")


def test_a_warning_is_a_line(owned: Recorder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)  # catch_warnings has put its own in place
        logging.captureWarnings(capture=True)
        warnings.warn("careful", stacklevel=1)
    line = owned.one()
    assert (line["event"], line["level"]) == ("py.warnings", "WARNING")
    assert "careful" in line["message"]


def test_what_a_library_prints_is_a_line(out: Recorder) -> None:
    stdout, stderr = logs.PrintedText("stdout", "INFO", 1), logs.PrintedText("stderr", "WARNING", 2)
    print("half a ", end="", file=stdout)
    print("line", file=stdout)
    print("problem\n\nend", end="", file=stderr)
    stderr.flush()
    assert [(line["event"], line["level"], line["message"]) for line in out.lines()] == [
        ("stdout", "INFO", "half a line"),
        ("stderr", "WARNING", "problem"),
        ("stderr", "WARNING", "end"),
    ]


def fail() -> None:
    raise KeyError("k")


def test_a_callback_that_fails_in_the_loop_is_a_line(out: Recorder) -> None:
    async def main(loop: AbstractEventLoop) -> None:
        logs.attach(loop)
        loop.call_soon(fail)
        await asyncio.sleep(0)
        logs.detach()

    with asyncio.Runner() as runner:
        runner.run(main(runner.get_loop()))
    line = out.one()
    assert (line["event"], line["source"], line["exception"]["type"]) == (
        "exception.uncaught",
        "loop",
        "KeyError",
    )


def run_script(
    script: str,
    *,
    stdout: int = subprocess.PIPE,
    worker: str | None = None,
    preexec_fn: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    prelude = "from coregateway.logs import events as logs\nlogs.configure('INFO'); logs.own_process()\n"
    return subprocess.run(
        [sys.executable, "-c", prelude + script],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | ({"SANIC_WORKER_NAME": worker} if worker else {}),
        preexec_fn=preexec_fn,
        timeout=60,
        check=False,
    )


def test_the_last_words_of_a_failing_process_are_a_line() -> None:
    done = run_script("raise ValueError('end')")
    assert done.returncode == 1
    line = json.loads(done.stdout)
    assert (line["event"], line["level"], line["source"]) == ("exception.uncaught", "CRITICAL", "process")
    assert done.stderr == b""


def test_a_worker_is_named_in_its_lines() -> None:
    done = run_script("logs.event('x')", worker="W-1-0")
    assert json.loads(done.stdout)["worker"] == "W-1-0"


def test_standard_descriptors_that_were_closed_are_not_given_to_sockets() -> None:
    script = """
import socket
with socket.socket() as s:
    assert s.fileno() > 2
print("into nothing")
logs.event("into nothing")
"""

    def close_all() -> None:
        for fd in range(3):
            os.close(fd)

    assert run_script(script, preexec_fn=close_all).returncode == 0


def test_a_full_pipe_does_not_keep_a_process_from_ending() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(writer, True)
    assert run_script("logs.event('x')", stdout=writer).returncode == 0
    os.close(reader)
    os.close(writer)


APP = """
import asyncio
import threading

from coregateway.logs import events as logs

logs.configure("INFO")
logs.own_process()

from sanic import Sanic, text

from coregateway.node import workers
from coregateway.node.listeners import listen
from coregateway.settings.model import ShutdownSettings
from coregateway.shared_memory import Board


class Logged(Sanic):
    def prepare(self, host, port, **options):
        workers.found(self, Board(2))
        super().prepare(sock=listen("127.0.0.1", port, 2), **options)


app = Logged("Logged", log_config=logs.SANIC_LOG_CONFIG)


@app.before_server_start
async def attach(app):
    logs.attach(asyncio.get_running_loop())


@app.after_server_stop
async def detach(app):
    logs.detach()


workers.attach(app, ShutdownSettings(delay=0, grace=5), 0.0)


@app.get("/boom")
async def boom(request):
    print("printed")
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    asyncio.get_running_loop().call_soon(lambda: {}["k"])
    raise ValueError("boom")
"""


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_real_run_speaks_json_from_start_to_stop(tmp_path: Path, stop: signal.Signals) -> None:
    (tmp_path / "loggedapp.py").write_text(APP)
    out, err = tmp_path / "out", tmp_path / "err"
    port = free_port()
    command = [str(Path(sys.executable).with_name("sanic")), "loggedapp:app", "--workers", "2"]
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=stdout,
            stderr=stderr,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(logs.__file__).parents[2])},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while out.read_text().count("Worker ready") < 2:
            assert time.monotonic() < deadline, out.read_text() + err.read_text()
            assert process.poll() is None, out.read_text() + err.read_text()
            time.sleep(0.05)
        assert httpx.get(f"http://127.0.0.1:{port}/boom?token=secret", trust_env=False).status_code == 500
        process.send_signal(stop)
        assert process.wait(60) == 0, out.read_text() + err.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert err.read_text() == ""
    assert "secret" not in out.read_text()
    assert {line["worker"] for line in lines} == {"main", "Sanic-Server-0-0", "Sanic-Server-1-0"}
    found = [(line["event"], line.get("source")) for line in lines]
    assert ("stdout", None) in found
    assert ("exception.uncaught", "thread") in found
    assert ("exception.uncaught", "loop") in found
    messages = [line.get("message", "") for line in lines]
    assert "Exception occurred while handling uri: 'http://127.0.0.1:" in "".join(messages)
    assert len([message for message in messages if message.startswith("Worker complete")]) == 2
    assert messages[-1] == "Server Stopped"


def test_a_reader_that_stops_stalls_no_request_and_learns_what_it_missed() -> None:
    port, count = free_port(), 4000
    process = subprocess.Popen(
        [sys.executable, "-m", "coregateway", "run", "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.PIPE,
        env=os.environ | {"COREGATEWAY_ADMIN__ADDRESS": ""},
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        while json.loads(process.stdout.readline()).get("message", "")[:12] != "Worker ready":
            pass
        # From here on nobody reads: a pipe and the gateway's own memory hold about 2,700 lines.
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            answers = client.makefile("rb")
            for _ in range(count // 100):
                client.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
                assert {status_of_next(answers) for _ in range(100)} == {"200"}
        told, missed = 0, 0
        while not missed:
            line = json.loads(process.stdout.readline())
            told += line["event"] == "request"
            missed = line["count"] if line["event"] == "log_lines_dropped" else 0
        assert missed > 500
        assert count <= told + missed <= count + 20  # a few lines of the node itself are among them
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        process.stdout.close()


def status_of_next(answers: BinaryIO) -> str:
    """Read one answer."""
    status = answers.readline().split()[1].decode()
    length = 0
    while (line := answers.readline().strip().lower()) != b"":
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    answers.read(length)
    return status
