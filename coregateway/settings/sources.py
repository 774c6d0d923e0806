"""What the file, the environment and the command line give, key by key, with the place of each."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple, cast

from coregateway.settings.contradiction import KeyPath
from coregateway.settings.keys import (
    CONFIG_VARIABLE,
    NAMED,
    PLUGIN,
    VARIABLE_PREFIX,
    dotted,
    field_of,
    from_text,
    is_table,
    key_meant_by,
    key_of_variable,
    may_be_empty,
    row_of,
    variable_meant_by,
)
from coregateway.settings.mistakes import Mistake, shown
from coregateway.settings.model import DEFAULT_BACKENDS
from coregateway.settings.values import BACKEND_NAME

DEFAULT_FILE = "coregateway.toml"
CONFIG_FLAG = "--config"

FLAGS: Mapping[str, KeyPath] = {
    "--host": ("host",),
    "--port": ("port",),
    "--workers": ("workers",),
    "--fast": ("workers",),
    "--single-process": ("workers",),
    "--log-level": ("log_level",),
    "--cert": ("tls", "cert"),
    "--key": ("tls", "key"),
    "--tls": ("tls", "certificates"),
    **{f"--{name}-port": ("backends", name, "urls") for name in DEFAULT_BACKENDS},
}
"""The flags that set something, and what. `--<backend>-port N` means the URL `http://localhost:N`;
`--fast` and `--single-process` are Sanic's own."""

# A pod beside a Kubernetes Service called "coregateway" is given these, unasked
_SERVICE_LINK = re.compile(
    r"COREGATEWAY_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_LINK_URL = re.compile(r"(?:tcp|udp|sctp)://\S+:\d+")
_POSITION = re.compile(r"(?P<fault>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)")
# a value of several rows is an array or a text in three quotes
_LAST_ROW = re.compile(r"]|\"{3}|'{3}")


class Flag(NamedTuple):
    """A flag as it was given: the settings judge its text, like that of a variable."""

    name: str
    text: str


@dataclass(frozen=True)
class File:
    """A TOML file. `name` is how its user calls it."""

    name: str
    text: str

    def line_of(self, key: KeyPath) -> int | None:
        """The line on which the statement begins that gives the key (or opens the table)."""
        return self._lines.get(key)

    @cached_property
    def _lines(self) -> dict[KeyPath, int]:
        # tomllib tells no positions. A statement ends with the first row with which it parses by itself.
        lines: dict[KeyPath, int] = {}
        rows = list(StringIO(self.text))
        table: KeyPath = ()
        begin = 0
        for end, row in enumerate(rows, 1):
            if end > begin + 1 and not _LAST_ROW.search(row):
                continue
            with suppress(tomllib.TOMLDecodeError):
                statement = tomllib.loads("".join(rows[begin:end]))
                opens = rows[begin].lstrip().startswith("[")
                keys = list(_all_keys(statement, () if opens else table))
                for key in keys:
                    lines.setdefault(key, begin + 1)
                table = keys[-1] if opens else table
                begin = end
        return lines


def _all_keys(table: Mapping[str, Any], under: KeyPath = ()) -> Iterator[KeyPath]:
    for name, value in table.items():
        yield (*under, name)
        if isinstance(value, dict):
            yield from _all_keys(cast("dict[str, Any]", value), (*under, name))


@dataclass(frozen=True)
class Source:
    """Where a value comes from: a file, or a variable or flag by its name."""

    place: str | File
    key: KeyPath = ()

    def __str__(self) -> str:
        """Short: `coregateway.toml:7`, `COREGATEWAY_PORT`, `--port`, `default`."""
        if isinstance(self.place, str):
            return self.place
        line = self.place.line_of(self.key)
        return self.place.name if line is None else f"{self.place.name}:{line}"

    @property
    def where(self) -> str:
        """For a mistake: with the key, where the place does not tell it."""
        return f"{self}: {dotted(self.key)}" if isinstance(self.place, File) else str(self)


DEFAULT = Source("default")


class Given(NamedTuple):
    key: KeyPath
    value: object
    source: Source


@dataclass
class Reading:
    """What one source gives, and the mistakes that need no type to be seen."""

    given: list[Given] = field(default_factory=list[Given])
    mistakes: list[Mistake] = field(default_factory=list[Mistake])
    named: dict[KeyPath, Source] = field(default_factory=dict[KeyPath, Source])
    """The rows of named tables that the source has, as `("backends", "billing")`, and where it first does."""
    plugins: dict[str, Source] = field(default_factory=dict[str, Source])
    """The modules of plugins that have a table, and where it is opened."""
    readable: bool = True


def named_file(flags: Sequence[Flag], environ: Mapping[str, str]) -> tuple[str, str]:
    """The name of the TOML file, and of the variable or flag that gives it; the default has none."""
    name, namer = DEFAULT_FILE, ""
    if environ.get(CONFIG_VARIABLE):
        name, namer = environ[CONFIG_VARIABLE], CONFIG_VARIABLE
    for flag in flags:
        if flag.name == CONFIG_FLAG:
            name, namer = flag.text, flag.name
    return name, namer


def read_file(flags: Sequence[Flag], environ: Mapping[str, str], cwd: Path) -> Reading:
    """The TOML file that the flag, else the variable names, else `coregateway.toml` if it exists."""
    reading = Reading()
    name, namer = named_file(flags, environ)
    if not namer and not (cwd / name).exists():
        return reading
    parsed = _parsed(cwd / name, name, namer or name)
    if isinstance(parsed, Mistake):
        reading.mistakes.append(parsed)
        reading.readable = False
    else:
        _read_table(reading, *parsed, under=())
    return reading


def _parsed(path: Path, name: str, namer: str) -> tuple[File, dict[str, Any]] | Mistake:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # editors of Windows begin with a byte order mark
    except UnicodeDecodeError as error:
        return Mistake(name, "text in UTF-8", f"byte {error.object[error.start]:#04x}")
    except (OSError, ValueError) as error:
        fault = error.strerror if isinstance(error, OSError) and error.strerror else "no path"
        return Mistake(namer, "a TOML file", f"{shown(name)} ({fault})")
    try:
        return File(name, text), tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _POSITION.fullmatch(str(error))
        fault = match["fault"] if match else str(error)
        position = f"{match['line']}:{match['column']}" if match and match["line"] else text.count("\n") + 1
        return Mistake(f"{name}:{position}", "TOML", f"a syntax error ({fault})")


def _read_table(reading: Reading, file: File, table: Mapping[str, Any], under: KeyPath) -> None:
    for name, value in table.items():
        key = (*under, name)
        source = Source(file, key)
        if key == PLUGIN:
            _read_plugins(reading, file, value)
        elif field_of(key) is not None:
            reading.given.append(Given(key, value, source))
        elif not is_table(key):
            meant = key_meant_by(key)
            hint = f"did you mean {meant}?" if meant else ""
            reading.mistakes.append(Mistake(source.where, "a known key", "an unknown one", hint))
        elif not isinstance(value, dict):
            reading.mistakes.append(Mistake(source.where, "a table", shown(value)))
        elif under not in NAMED or _named(reading, key, source):
            _read_table(reading, file, cast("dict[str, Any]", value), key)


def _read_plugins(reading: Reading, file: File, tables: object) -> None:
    """The tables of plugins, `[plugin."acme.audit"]`, whose keys are their own."""
    if not isinstance(tables, dict):
        reading.mistakes.append(Mistake(Source(file, PLUGIN).where, "a table", shown(tables)))
        return
    for module, table in cast("dict[str, Any]", tables).items():
        key = (*PLUGIN, module)
        source = Source(file, key)
        if not isinstance(table, dict):
            reading.mistakes.append(Mistake(source.where, "a table", shown(table)))
            continue
        reading.plugins[module] = source
        for name, value in cast("dict[str, Any]", table).items():
            reading.given.append(Given((*key, name), value, Source(file, (*key, name))))


def _named(reading: Reading, row: KeyPath, source: Source) -> bool:
    name = row[-1]
    if BACKEND_NAME.fullmatch(name):
        reading.named.setdefault(row, source)
        return True
    kind = row[-2].removesuffix("s")
    expected = f'a {kind} name of lower-case letters, digits, "-" and "_" that begins with a letter'
    reading.mistakes.append(Mistake(source.where, expected, shown(name)))
    return False


def read_environment(environ: Mapping[str, str], backends: Sequence[str]) -> Reading:
    """The `COREGATEWAY_` variables. `backends` are further names that a mistyped variable may have meant.

    An empty one is not given (Compose has no other way to leave one out), unless its key may be empty.
    """
    reading = Reading()
    for variable, text in environ.items():
        if not variable.startswith(VARIABLE_PREFIX) or variable == CONFIG_VARIABLE:
            continue
        key = key_of_variable(variable)
        if _SERVICE_LINK.fullmatch(variable) or (key == ("port",) and _SERVICE_LINK_URL.fullmatch(text)):
            continue
        source = Source(variable)
        if not text and (key is None or not may_be_empty(key)):
            continue
        if key is None:
            meant = variable_meant_by(variable, backends)
            hint = f"did you mean {meant}?" if meant else ""
            reading.mistakes.append(
                Mistake(ascii(variable)[1:-1], "a known variable", "an unknown one", hint)
            )
        elif (row := row_of(key)) is None or _named(reading, row, source):
            reading.given.append(Given(key, from_text(key, text), source))
    return reading


def read_flags(flags: Sequence[Flag]) -> Reading:
    reading = Reading()
    for flag in flags:
        if flag.name == CONFIG_FLAG:
            continue
        key, source = FLAGS[flag.name], Source(flag.name)
        if key[0] != "backends":
            reading.given.append(Given(key, from_text(key, flag.text), source))
        elif re.fullmatch(r"[0-9]{1,5}", flag.text) and 1 <= int(flag.text) <= 65535:
            reading.given.append(Given(key, [f"http://localhost:{int(flag.text)}"], source))
        else:
            found = shown(from_text(("port",), flag.text))
            reading.mistakes.append(Mistake(flag.name, "a port from 1 to 65535", found))
    return reading
