"""Log lines for people: what `log_format = "console"` writes instead of JSON. Pure.

    20:42:14.443 INFO  200 GET /api/v1/coredinator/api/agents/ -> coredinator 1.9 ms
    20:42:15.102 INFO  502 GET /api/v1/coretelemetry/x -> coretelemetry 2.1 ms connect_failed
    20:42:15.231 INFO  400 GET /api/v1/coredinator/x 0.1 ms bad_request (two Content-Length fields)
    20:42:16.007 WARN  worker.restarted number=1 died_pid=4711 restarts=1

One line each, of at most 4,096 bytes like the JSON lines, so that the same writer takes them. Text from
clients and libraries cannot steer the terminal: characters that do not print are shown by their escapes.
"""

from collections.abc import Callable, Mapping
from typing import cast

from coregateway.logs.fields import CORE
from coregateway.logs.line import Encode, as_text
from coregateway.logs.writer import MAX_LINE

_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_GREEN = "\x1b[32m"
_CYAN = "\x1b[36m"
_YELLOW = "\x1b[33m"
_RED = "\x1b[31m"

_LEVELS = {
    "TRACE": ("TRACE", _DIM),
    "DEBUG": ("DEBUG", _DIM),
    "INFO": ("INFO ", _GREEN),
    "WARNING": ("WARN ", _YELLOW),
    "ERROR": ("ERROR", _RED),
    "CRITICAL": ("FATAL", _RED),
}
_STATUSES = {1: _CYAN, 2: _GREEN, 3: _CYAN, 4: _YELLOW, 5: _RED}

_SPOKEN = frozenset({*CORE, "message", "exception"})

type Paint = Callable[[str, str], str]
"""A text and its colour."""


def wants_colours(environ: Mapping[str, str], *, terminal: bool) -> bool:
    """Whether to colour what goes to stdout; `NO_COLOR`, unless empty, forbids it (no-color.org)."""
    return terminal and not environ.get("NO_COLOR")


def console(*, colours: bool) -> Encode:
    """What turns the fields of a line into its text, with its line end, at most 4,096 bytes."""
    paint = _painted if colours else _plain

    def encode(fields: Mapping[str, object]) -> bytes:
        moment = _text(fields.get("time", ""))[11:23]
        name = _text(fields.get("level"))
        level, colour = _LEVELS.get(name, (f"{name:5.5}", _CYAN))
        told = _request(fields, paint) if fields.get("event") == "request" else _event(fields)
        return _bounded(f"{paint(moment, _DIM)} {paint(level, colour)} {told}")

    return encode


def _request(fields: Mapping[str, object], paint: Paint) -> str:
    words: list[str] = []
    if "status" in fields:
        status = fields["status"]
        known = isinstance(status, int)
        words.append(paint(str(status), _STATUSES.get(status // 100, _RED)) if known else paint("---", _RED))
    words += [_text(fields[name] or "-") for name in ("method", "path") if name in fields]
    if backend := fields.get("backend"):
        words.append(f"-> {_text(backend)}")
    if "duration_ms" in fields:
        words.append(f"{cast(float, fields['duration_ms']):.1f} ms")
    if error := fields.get("error"):
        words.append(paint(_text(error), _RED))
    if reason := fields.get("reason"):
        words.append(f"({_text(reason)})")
    return " ".join(words)


def _event(fields: Mapping[str, object]) -> str:
    words = [_text(fields.get("event", ""))]
    if message := fields.get("message"):
        words.append(_text(message))
    words += [f"{_text(name)}={_value(value)}" for name, value in fields.items() if name not in _SPOKEN]
    exception = fields.get("exception")
    if isinstance(exception, dict):
        words.append(_exception(cast(dict[str, object], exception)))
    return " ".join(words)


def _exception(described: dict[str, object]) -> str:
    told = f"{_text(described.get('type'))}: {_text(described.get('message'))}"
    stack = cast(list[object], described.get("stack") or [])
    return f"{told} at {' < '.join(map(_text, stack))}" if stack else told


def _value(value: object) -> str:
    text = _text(value)
    return f'"{text}"' if " " in text or not text else text


def _text(value: object) -> str:
    text = as_text(value)
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _painted(text: str, colour: str) -> str:
    return f"{colour}{text}{_RESET}"


def _plain(text: str, _: str) -> str:
    return text


def _bounded(text: str) -> bytes:
    line = text.encode()
    if len(line) < MAX_LINE:
        return line + b"\n"
    # All colours but that of the last word end near the beginning.
    end = "…\x1b[0m\n" if text.endswith(_RESET) else "…\n"
    return line[: MAX_LINE - len(end.encode())].decode(errors="ignore").encode() + end.encode()
