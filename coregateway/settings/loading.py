"""From the four sources to one value: command line over environment over file over default."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from coregateway.settings import tls, validation
from coregateway.settings.contradiction import ITS_VALUE, KeyPath, names_of
from coregateway.settings.inheritance import INHERITED
from coregateway.settings.keys import (
    REQUIRED,
    backend_meant_by,
    dotted,
    expectation,
    field_of,
    is_of_plugin,
    is_secret,
    row_of,
    validated,
    value_meant_by,
    within_row,
)
from coregateway.settings.limits import YIELDING
from coregateway.settings.mistakes import HIDDEN, Entry, Mistake, SettingsError, shown
from coregateway.settings.model import DEFAULT_BACKENDS, Settings, contradictions, leaves
from coregateway.settings.plugins import resolve
from coregateway.settings.sources import (
    DEFAULT,
    Flag,
    Given,
    Source,
    read_environment,
    read_file,
    read_flags,
)


@dataclass(frozen=True)
class Loaded:
    """Settings, and where each of them comes from."""

    settings: Settings
    sources: Mapping[KeyPath, Source]
    """Of the keys that were given; the others are defaults."""

    def source_of(self, *key: str) -> Source:
        """Where a setting's value comes from: `source_of("admin", "address")`."""
        return self.sources.get(key) or self.sources.get(inherited(key) or (), DEFAULT)

    def is_default(self, *key: str) -> bool:
        """Whether no source gives this setting."""
        return self.source_of(*key) is DEFAULT


def inherited(key: KeyPath) -> KeyPath | None:
    """The node-wide key whose value a backend has where it gives none of its own."""
    if key[0] not in ("backends", "routes"):
        return None
    if key[2:] == ("max_body",):
        return "limits", "request", "max_body"
    if key[2:] in (("rates",), ("concurrency",)):
        return "limits", key[2]
    return key[2:] if len(key) > 3 and key[2] in INHERITED else None


def load(
    flags: Sequence[Flag] = (),
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    *,
    with_plugins: bool = False,
) -> Loaded:
    """Read, layer and check the settings. Raises `SettingsError` with every mistake of every source.

    `with_plugins`: import the plugins, and report what is wrong with them or with their tables, too.

    A wrong value is a mistake even where another source overrides it: whether a file is right must not
    depend on the environment in which it is read.
    """
    environ = os.environ if environ is None else environ
    file = read_file(flags, environ, cwd or Path())
    variables = read_environment(environ, names_of("backends", file.named))
    readings = (file, variables, read_flags(flags))
    mistakes: list[Mistake] = []
    effective = {given.key: given for given in _default_rows()}
    doubtful: set[KeyPath] = set()
    for reading in readings:
        mistakes += reading.mistakes
        for given in reading.given:
            try:
                value = validated(given.key, given.value)
            except ValidationError as error:
                doubtful.add(given.key)
                mistakes.append(_wrong(given, error))
            else:
                effective[given.key] = given._replace(value=value)
    if file.readable:
        # without the file, what it would have given looks missing or contradicted
        named = {**variables.named, **file.named}
        off = {row_of(key) for key, given in effective.items() if _takes_away(given)}
        mistakes += _taken_away_in_vain(effective, {row[1] for row in off if row and row[0] == "backends"})
        mistakes += _missing({row: named[row] for row in named if row not in off}, effective, doubtful)
        sound = {
            key: each for key, each in effective.items() if key not in doubtful and row_of(key) not in off
        }
        doubtful |= {key for key in effective if row_of(key) in off}
        mistakes += _contradicted(sound, doubtful, named)
        mistakes += _not_installed(effective)
        mistakes += _files_amiss(effective, doubtful)
        if with_plugins and ("plugins",) not in doubtful:
            mistakes += _plugins_amiss(effective, file.plugins)
    if mistakes:
        raise SettingsError(mistakes)
    sources = {key: given.source for key, given in effective.items() if given.source is not DEFAULT}
    return Loaded(Settings.model_validate(_nested(effective)), sources)


def _default_rows() -> Iterator[Given]:
    def flat(table: Mapping[str, Any], under: KeyPath) -> Iterator[Given]:
        for name, value in table.items():
            key = (*under, name)
            if field_of(key) is not None:
                yield Given(key, validated(key, value), DEFAULT)
            else:
                yield from flat(value, key)

    yield from flat(DEFAULT_BACKENDS, ("backends",))


def _wrong(given: Given, error: ValidationError) -> Mistake:
    if is_secret(given.key):
        return Mistake(given.source.where, expectation(given.key), HIDDEN)
    found = _wrong_values(given.value, error)
    meant = dict.fromkeys(filter(None, (value_meant_by(given.key, each) for each in found)))
    return Mistake(
        given.source.where,
        expectation(given.key),
        ", ".join(map(shown, found)),
        f"did you mean {', '.join(meant)}?" if meant else "",
    )


def _wrong_values(value: object, error: ValidationError) -> list[object]:
    """Every wrong item of a list or table, those of a list that are there twice if that is wrong, or else the
    value itself."""
    if isinstance(value, dict):
        items = cast("dict[str, object]", value)
        at = [each["loc"] for each in error.errors(include_url=False, include_context=False)]
        names = dict.fromkeys(part for place in at for part in place[:2] if isinstance(part, str))
        return [Entry(name, items[name]) for name in names if name in items] or [value]
    if not isinstance(value, list):
        return [value]
    items = cast("list[object]", value)
    places = [each["loc"] for each in error.errors(include_url=False, include_context=False)]
    wrong = sorted({part for place in places for part in place[:1] if isinstance(part, int)})
    if wrong:
        return [items[number] for number in wrong]
    twice = [item for number, item in enumerate(items) if item in items[:number]]
    return twice or [value]


def _takes_away(given: Given) -> bool:
    return row_of(given.key) is not None and within_row(given.key) == ("enabled",) and given.value is False


def _taken_away_in_vain(effective: Mapping[KeyPath, Given], off: set[str]) -> Iterator[Mistake]:
    """A row that says nothing but that it is off takes none away: its name may be a misspelling."""
    rows = Counter(key[1] for key in effective if key[0] == "backends")
    for name in sorted(off):
        meant = backend_meant_by(name, [other for other in rows if other != name])
        if rows[name] == 1 and meant is not None:
            source = effective["backends", name, "enabled"].source
            yield Mistake(
                source.where, "a backend that is there", shown(name), f"did you mean the backend {meant}?"
            )


def _missing(
    named: Mapping[KeyPath, Source], effective: Mapping[KeyPath, Given], doubtful: set[KeyPath]
) -> Iterator[Mistake]:
    rows = dict.fromkeys([*(("backends", name) for name in DEFAULT_BACKENDS), *named])
    # One that lacks the same is no better name; and to compare a thousand rows with each other takes seconds.
    better = {
        (table, required): [row[-1] for row in rows if row[:-1] == table and (*row, *required) in effective]
        for table in REQUIRED
        for required in REQUIRED[table]
    }
    for row, source in named.items():
        table, name = row[:-1], row[-1]
        for required in REQUIRED[table]:
            key = (*row, *required)
            if key not in effective and key not in doubtful:
                meant = backend_meant_by(name, better[table, required])
                yield Mistake(
                    f"{source}: {'.'.join(key)}",
                    expectation(key),
                    shown(None),
                    f"did you mean the {table[-1].removesuffix('s')} {meant}?" if meant else "",
                )


def _contradicted(
    sound: Mapping[KeyPath, Given], doubtful: set[KeyPath], named: Mapping[KeyPath, Source]
) -> Iterator[Mistake]:
    # The rows of backends are in `sound`, those that are there by default among them.
    defaults = (each for each in leaves(Settings()) if each[0][0] != "backends")
    values = {key: value for key, value in defaults if key not in doubtful | YIELDING}
    values |= {key: given.value for key, given in sound.items()}
    for key, expected, other, found, meant in contradictions(values, doubtful):
        if key in sound and sound[key].source is not DEFAULT:
            where = sound[key].source.where
        elif (row := row_of(key)) is not None and row in named:
            where = f"{named[row]}: {dotted(key)}"
        else:
            where = f"default: {dotted(key)}"
        against = sound[other].source if other in sound else DEFAULT
        yield Mistake(
            where,
            f"{expected} ({against})" if other else expected,
            shown(values[key] if found is ITS_VALUE else found),
            f"did you mean {meant}?" if meant else "",
        )


def _has_opentelemetry() -> bool:
    """Whether the extra `otel` is there."""
    try:
        return find_spec("opentelemetry.proto") is not None
    except ModuleNotFoundError:  # nothing of OpenTelemetry is
        return False


def _has_tokens() -> bool:
    """Whether the extra `jwt` is there."""
    return find_spec("jwt") is not None and find_spec("cryptography") is not None


def _not_installed(effective: Mapping[KeyPath, Given]) -> Iterator[Mistake]:
    tracing = effective.get(("tracing", "enabled"))
    if tracing is not None and tracing.value is True and not _has_opentelemetry():
        yield Mistake(
            tracing.source.where,
            "false while OpenTelemetry is not installed",
            shown(tracing.value),
            "pip install 'coregateway[otel]'",
        )
    for key, given in effective.items():
        if key[:2] == ("auth", "jwt") and key[3:] == ("issuer",) and not _has_tokens():
            expected = "no [auth.jwt] while PyJWT is not installed"
            yield Mistake(given.source.where, expected, shown(given.value), "pip install 'coregateway[jwt]'")
    store = effective.get(("store", "url"))
    if store is not None and store.value and not _has_redis():
        yield Mistake(
            store.source.where,
            "no store while the client of Redis is not installed",
            shown(store.value),
            "pip install 'coregateway[redis]'",
        )

    for key in validation.switched_on({key: given.value for key, given in effective.items()}):
        if not validation.is_installed():
            mode = effective[key]
            expected = '"off" while jsonschema-rs is not installed'
            yield Mistake(
                mode.source.where, expected, shown(mode.value), "pip install 'coregateway[validation]'"
            )


def _has_redis() -> bool:
    """Whether the extra `redis` is there."""
    return find_spec("redis") is not None


def _files_amiss(effective: Mapping[KeyPath, Given], doubtful: set[KeyPath]) -> Iterator[Mistake]:
    """What is wrong with the files that settings name."""
    values = {key: given.value for key, given in effective.items() if key not in doubtful}
    for key, expected, *_ in tls.wrong_files(values):
        yield Mistake(effective[key].source.where, expected, shown(values[key]))


def _plugins_amiss(effective: Mapping[KeyPath, Given], opened: Mapping[str, Source]) -> list[Mistake]:
    """What is wrong with plugins. `opened`: the tables of the file, with their places."""
    names = effective.get(("plugins",))
    tables: dict[str, dict[str, Any]] = {module: {} for module in opened}
    for key, given in effective.items():
        if is_of_plugin(key):
            tables[key[1]][key[2]] = given.value

    def where(key: KeyPath) -> str:
        given = effective.get(key[:3]) or effective.get(key[:1])
        source = opened.get(key[1]) if key[0] == "plugin" and len(key) == 2 else given and given.source
        if source is None:
            source = opened.get(key[1]) if len(key) > 1 else None
            return f"{source or DEFAULT}: {dotted(key)}"
        return source.where if not source.key or source.key == key else f"{source}: {dotted(key)}"

    _, mistakes = resolve(cast("tuple[str, ...]", names.value if names else ()), tables, where)
    return mistakes


def _nested(effective: Mapping[KeyPath, Given]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, given in effective.items():
        table = tree
        for part in key[:-1]:
            table = table.setdefault(part, {})
        table[key[-1]] = given.value
    return tree
