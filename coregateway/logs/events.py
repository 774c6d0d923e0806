"""Logging of every process of the gateway: one JSON object per line on stdout, and nothing on stderr.
`log_format = "console"` writes lines for people instead (see `console`).

All records, those of libraries too, pass through loguru and leave through the process's `LogWriter`. The
`event` of a line tells where it comes from:

- the gateway itself: the thing and what became of it, as in `worker.restarted`, `backend.unhealthy`;
- a library that logs through the standard library: its logger's name (`sanic.root`, `sanic.server`,
  `asyncio`, `py.warnings`), with the text as `message`;
- a module that calls loguru directly: the module's name, with the text as `message`;
- an uncaught exception: `exception.uncaught`, with `source` (`process`, `thread`, `finalizer` or
  `loop`);
- text that a library printed: `stdout` or `stderr`, with the text as `message`;
- lines that were dropped because the reader of stdout was too slow: `log_lines_dropped`, with `count`.

Request lines (`request`) do not come this way; `access_log` encodes them itself.
"""

import atexit
import io
import logging
import logging.config
import os
import sys
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Mapping
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast, override

from loguru import logger

from coregateway.logs.console import console, wants_colours
from coregateway.logs.fields import CORE
from coregateway.logs.line import Encode, describe, encode, timestamp, without_secrets
from coregateway.logs.stdout import stdout_destination
from coregateway.logs.writer import LogWriter
from coregateway.shared_memory.pending import Pending

if TYPE_CHECKING:
    from loguru import Message, Record

Level = Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
Format = Literal["json", "console"]

WORKER = os.environ.get("SANIC_WORKER_NAME", "main")
"""The name of this process. Read once: Sanic's main process sets the variable for an instant at each start of
a worker."""


def name_process(name: str) -> None:
    """Call this process so in its lines, where Sanic has no name for it."""
    global WORKER  # `_fields` finds it here
    WORKER = name  # pyright: ignore[reportConstantRedefinition] -- once, before the first line


_RESERVED = frozenset({*CORE, "message", "exception"})

_NOISE = {("sanic.root", "motd"), ("sanic.root", "http1")}
"""Loggers and modules whose INFO records appear only at DEBUG: the message of the day, which repeats what the
gateway says at its start, and a line per request whose client left, which the request line tells already."""


class LoguruHandler(logging.Handler):
    """Hands the standard library's records to loguru."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # arguments that do not fit their format must not cost the record
            message = f"{record.msg} {record.args!r}"
        number = record.levelno
        if number == logging.INFO and (record.name, record.module) in _NOISE:
            number = logging.DEBUG
        error = record.exc_info[1] if record.exc_info else None
        _log(_level_of(number), record.name, message, {}, error)


SANIC_LOG_CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"loguru": {"()": LoguruHandler}},
    "root": {"handlers": ["loguru"]},
    "loggers": {
        "sanic.root": {"level": "NOTSET", "handlers": []},
        "sanic.error": {"level": "NOTSET", "handlers": []},
        "sanic.server": {"level": "NOTSET", "handlers": []},
        "sanic.websockets": {"level": "WARNING", "handlers": []},
        # Requests have their own line.
        "sanic.access": {"level": "CRITICAL", "handlers": []},
        # These tell of every request at INFO, and of every byte at DEBUG.
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
    },
}
"""For `Sanic(log_config=…)`, applied in the constructor. The root logger's level stays `configure`'s."""


def encoder(log_format: Format) -> Encode:
    """What turns the fields of a line into its bytes."""
    if log_format == "json":
        return encode
    return console(colours=wants_colours(os.environ, terminal=_is_terminal(1)))


_encode = encode


def configure(level: str, log_format: Format = "json") -> None:
    """Send everything that this process logs to its writer, from `level` upwards; may be called again."""
    global _encode  # loguru's handler and the hooks of the process find it here
    _encode = encoder(log_format)
    logger.remove()
    logger.add(
        _write, level=level, format=_no_text, colorize=False, backtrace=False, diagnose=False, catch=False
    )
    logging.config.dictConfig(SANIC_LOG_CONFIG)
    logging.getLogger().setLevel(logger.level(level).no)


def own_process() -> None:
    """Turn what a process says besides its loggers into lines too: uncaught exceptions, warnings, prints.

    For the gateway's own processes, after `configure`; a program that merely imports the gateway keeps its
    hooks and streams.
    """
    _occupy_standard_descriptors()
    logging.captureWarnings(capture=True)
    sys.excepthook = _on_uncaught
    threading.excepthook = _on_thread_failure
    sys.unraisablehook = _on_unraisable
    if not isinstance(sys.stdout, PrintedText):
        sys.stdout = PrintedText("stdout", "INFO", 1)
        sys.stderr = PrintedText("stderr", "WARNING", 2)
        atexit.register(_finish)


@cache
def writer() -> LogWriter:
    """The process's one writer to stdout."""
    return LogWriter(stdout_destination(), _dropped_line)


def attach(loop: AbstractEventLoop) -> None:
    """For `before_server_start`: collect lines while `loop` runs, and log what its callbacks raise."""
    writer().attach(loop)
    loop.set_exception_handler(_on_loop_failure)


def keep(pending: Pending) -> None:
    """For a worker that has its part of the shared memory: let lines that wait outlive it there."""
    writer().keep(pending)


def detach() -> None:
    """For the end of `after_server_stop`: write what was collected, and each later line at once."""
    writer().detach()


def event(
    name: str,
    /,
    *,
    level: Level = "INFO",
    message: str = "",
    exception: BaseException | None = None,
    **fields: object,
) -> None:
    """Log something that happened to the gateway, as in `event("worker.restarted", level="WARNING", pid=7)`.

    `message`: the same in words, for a reader. Raises ValueError for fields that bear the name of one of the
    line's own (`time`, `level`, `event`, `worker`).
    """
    if not _RESERVED.isdisjoint(fields):
        raise ValueError(f"reserved field in {sorted(fields)}")
    _log(level, name, message, fields, exception)


def _log(
    level: str, name: str, message: str, fields: Mapping[str, object], error: BaseException | None
) -> None:
    bound = {**fields, "event": name}
    if error is not None:
        bound["exception"] = error
    try:
        logger.bind(**bound).log(level, message)
    except RuntimeError:
        # loguru refuses a record that is made while it handles another one, as signal handlers, finalizers
        # and a value's __str__ may do.
        writer().write(_encode(_fields(time.time(), level, message, bound)))


def _no_text(_record: "Record") -> str:
    return ""


def _write(message: "Message") -> None:
    record = message.record
    fields = dict(record["extra"])
    fields.setdefault("event", record["name"])
    if record["exception"] is not None:
        fields.setdefault("exception", record["exception"].value)
    line = _encode(_fields(record["time"].timestamp(), record["level"].name, record["message"], fields))
    writer().write(line)
    if record["level"].no >= logging.ERROR:
        # What comes next may be the end of the process.
        writer().flush()


def _fields(now: float, level: str, message: str, bound: Mapping[str, object]) -> dict[str, object]:
    line: dict[str, object] = {
        "time": timestamp(now),
        "level": level,
        "event": bound["event"],
        "worker": WORKER,
    }
    if message:
        line["message"] = without_secrets(message)
    for name, value in bound.items():
        if name not in _RESERVED:
            line[name] = _safe(value)
    error = bound.get("exception")
    if isinstance(error, BaseException):
        line["exception"] = describe(error)
    return line


def _safe(value: object) -> object:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, list | tuple):
        return [_safe(item) for item in cast(list[object], value)]
    if isinstance(value, dict):
        return {key: _safe(item) for key, item in cast(dict[object, object], value).items()}
    return value


def _dropped_line(count: int) -> bytes:
    bound = {"event": "log_lines_dropped", "count": count}
    return _encode(_fields(time.time(), "WARNING", "", bound))


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _level_of(number: int) -> str:
    for name in ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"):
        if number >= logging.getLevelNamesMapping()[name]:
            return name
    return "TRACE"


def _occupy_standard_descriptors() -> None:
    # Numbers that the starter left closed would go to the next sockets; libuv aborts on that, and a library
    # that prints would write to a client.
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _finish() -> None:
    writer().finish()


def _uncaught(source: str, level: Level, error: BaseException | None, **fields: object) -> None:
    _log(level, "exception.uncaught", "", {"source": source, **fields}, error)


def _on_uncaught(
    _kind: type[BaseException], error: BaseException, _traceback: TracebackType | None, /
) -> None:
    if isinstance(error, KeyboardInterrupt):
        event("process.interrupted")
    else:
        _uncaught("process", "CRITICAL", error)


def _on_thread_failure(failure: threading.ExceptHookArgs, /) -> None:
    if failure.exc_type is not SystemExit:
        _uncaught("thread", "ERROR", failure.exc_value, thread=failure.thread and failure.thread.name)


def _on_unraisable(failure: "sys.UnraisableHookArgs", /) -> None:
    if isinstance(failure.object, bytes) and failure.exc_type is UnicodeDecodeError:
        # A client has asked for a server name that is not ASCII. `ssl` reports each such hello here before it
        # ends the handshake, which `tls.handshake_failed` tells: a traceback for each would fill the log.
        return
    _uncaught("finalizer", "ERROR", failure.exc_value, where=failure.err_msg or "ignored exception")


def _on_loop_failure(_loop: AbstractEventLoop, context: dict[str, Any]) -> None:
    _uncaught("loop", "ERROR", context.get("exception"), what=context["message"])


class PrintedText(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr; each line that is printed becomes a record."""

    encoding = "utf-8"

    def __init__(self, name: str, level: Level, fd: int) -> None:
        self._fd = fd
        self._name = name
        self._level = level
        self._rest = ""

    @override
    def fileno(self) -> int:
        return self._fd

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, text: str, /) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line:
                _log(self._level, self._name, line, {}, None)
        return len(text)

    @override
    def flush(self) -> None:
        if self._rest:
            self.write("\n")
