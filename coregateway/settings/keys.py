"""Every key that a setting may have: its type, its variable, and what a mistyped one may have meant."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from tomllib import TOMLDecodeError, loads
from types import MappingProxyType
from typing import Annotated, Any, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from coregateway.settings.contradiction import KeyPath
from coregateway.settings.model import DEFAULT_BACKENDS, ROWS, BackendSettings, RouteSettings, Settings
from coregateway.settings.named_rows import table_of
from coregateway.settings.spelling import closest, slip_of
from coregateway.settings.values import Choices, Secret

VARIABLE_PREFIX = "COREGATEWAY_"
CONFIG_VARIABLE = "COREGATEWAY_CONFIG"

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


PLUGIN = ("plugin",)
"""Under which each plugin has a table with keys of its own."""


def is_of_plugin(key: KeyPath) -> bool:
    """Whether it is a key of a plugin's own."""
    return key[:1] == PLUGIN and len(key) > 2


def _has_rows(field: FieldInfo) -> bool:
    kind: Any = field.annotation
    return get_origin(kind) is dict


def _fields(table: type[BaseModel], under: KeyPath = ()) -> Iterator[tuple[KeyPath, FieldInfo]]:
    for name, field in table.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, (*under, name))
        elif table is Settings and (*under, name) == PLUGIN:
            continue
        elif (*under, name) not in ROWS or not _has_rows(field):
            yield (*under, name), field


NODE_KEYS: Mapping[KeyPath, FieldInfo] = MappingProxyType(dict(_fields(Settings)))
BACKEND_KEYS: Mapping[KeyPath, FieldInfo] = MappingProxyType(dict(_fields(BackendSettings)))
"""Relative to `backends.<name>`."""
ROUTE_KEYS: Mapping[KeyPath, FieldInfo] = MappingProxyType(dict(_fields(RouteSettings)))
"""Relative to `routes.<name>`."""
NAMED: Mapping[KeyPath, Mapping[KeyPath, FieldInfo]] = MappingProxyType(
    {table: MappingProxyType(dict(_fields(row))) for table, row in ROWS.items()}
)
"""The tables whose rows have names, and the keys of a row, relative to it."""
REQUIRED: Mapping[KeyPath, tuple[KeyPath, ...]] = MappingProxyType(
    {
        table: tuple(key for key, field in known.items() if field.is_required())
        for table, known in NAMED.items()
    }
)


def row_of(key: KeyPath) -> KeyPath | None:
    """The row, as `("backends", "billing")`, that the key is in; None: it is in none."""
    table = table_of(key, NAMED)
    return None if table is None or len(key) == len(table) else key[: len(table) + 1]


def within_row(key: KeyPath) -> KeyPath:
    """What of a key stands behind the row that it is in."""
    return key[len(row_of(key) or ()) :]


def field_of(key: KeyPath) -> FieldInfo | None:
    table = table_of(key, NAMED)
    return NODE_KEYS.get(key) if table is None else NAMED[table].get(within_row(key))


def is_table(key: KeyPath) -> bool:
    row = row_of(key)
    if row is not None:
        rest = key[len(row) :]
        return any(known[: len(rest)] == rest for known in NAMED[row[:-1]])
    return any(known[: len(key)] == key for known in (*NODE_KEYS, *NAMED))


def expectation(key: KeyPath) -> str:
    """What a mistake says that the key takes: the description of its type."""
    field = field_of(key)
    return (field and field.description) or "a known key"


@cache
def _adapter(table: KeyPath, key: KeyPath) -> TypeAdapter[Any]:
    field = NAMED.get(table, NODE_KEYS)[key]
    checked: Any = Annotated[(field.annotation, field.description, *field.metadata)]  # pyright: ignore[reportInvalidTypeForm] -- from the model, at run time
    return TypeAdapter(checked, config=ConfigDict(strict=True))


def validated(key: KeyPath, value: object) -> object:
    """The value as the model will hold it. Raises pydantic's `ValidationError`.

    What stands in the table of a plugin is judged by the plugin (`settings.plugins`).
    """
    if is_of_plugin(key):
        return value
    return _adapter(table_of(key, NAMED) or (), within_row(key)).validate_python(value)


def may_be_empty(key: KeyPath) -> bool:
    """Whether an empty text is a value of the key: an empty list, or the `""` that switches something off."""
    try:
        validated(key, from_text(key, ""))
    except ValidationError:
        return False
    return True


def from_text(key: KeyPath, text: str) -> object:
    """The value that a text means, by the key's type; a text that means none comes back as it is."""
    field = field_of(key)
    kind: Any = field.annotation if field else str
    if text.lstrip().startswith(("{", "[{")):
        with suppress(TOMLDecodeError):
            return loads(f"value = {text}")["value"]
    if get_origin(kind) is tuple:
        return [item.strip() for item in text.split(",")] if text.strip() else []
    stripped = text.strip()
    if kind in (int, float) and _WHOLE_NUMBER.fullmatch(stripped):
        return int(stripped)
    if kind is float and _NUMBER.fullmatch(stripped):
        return float(stripped)
    if kind is bool and stripped.lower() in ("true", "false"):
        return stripped.lower() == "true"
    return text


def dotted(key: KeyPath) -> str:
    """The key as TOML writes it; parts that are no bare keys are quoted and escaped."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else ascii(part) for part in key)


def variable_of(key: KeyPath) -> str:
    return VARIABLE_PREFIX + "__".join(key).upper()


_NODE_VARIABLES = {variable_of(key): key for key in NODE_KEYS}
_BACKENDS = VARIABLE_PREFIX + "BACKENDS__"
_SUFFIXES = {
    table: sorted((("__" + "__".join(key).upper(), key) for key in known), key=lambda pair: -len(pair[0]))
    for table, known in NAMED.items()
}
"""How the variables of a row's keys end, the longest first."""


def key_of_variable(variable: str) -> KeyPath | None:
    """The key that a variable sets. A row's name is what stands before the longest known ending."""
    if variable in _NODE_VARIABLES:
        return _NODE_VARIABLES[variable]
    for table, suffixes in _SUFFIXES.items():
        rest = variable.removeprefix(f"{variable_of(table)}__")
        if rest == variable:
            continue
        for suffix, key in suffixes:
            if rest.endswith(suffix) and rest != suffix:
                return (*table, rest.removesuffix(suffix).lower(), *key)
    return None


def variable_meant_by(variable: str, backends: Iterable[str]) -> str | None:
    """The known variable, of these backends or of the node, that resembles an unknown one most."""
    typed = variable.removeprefix(_BACKENDS).partition("__")[0].lower()
    names = {*DEFAULT_BACKENDS, *backends, *({typed} if variable.startswith(_BACKENDS) else ())}
    candidates = [CONFIG_VARIABLE, *_NODE_VARIABLES]
    candidates += [variable_of(("backends", name, *key)) for name in sorted(names) for key in BACKEND_KEYS]
    return closest(variable.upper(), candidates)


def key_meant_by(key: KeyPath) -> str | None:
    """The known key that an unknown one may have meant: a similar neighbour, or the same name elsewhere."""
    row = row_of(key)
    above = row or ()
    known = NODE_KEYS if row is None else NAMED[row[:-1]]
    depth = len(key) - len(above)
    under = key[len(above) : -1]
    neighbours = {k[depth - 1] for k in known if k[: depth - 1] == under}
    if row is None:
        neighbours |= {table[-1] for table in (*NAMED, PLUGIN) if table[:-1] == under}
    in_row = [(*above, *k) for k in known if k[-1] == key[-1]]
    if row is not None and in_row:
        return dotted(in_row[0])
    near = closest(key[-1].lower(), sorted(neighbours))
    if near is not None:
        return dotted((*key[:-1], near))
    elsewhere = in_row + [k for k in NODE_KEYS if k[-1] == key[-1]]
    return dotted(elsewhere[0]) if elsewhere else None


def is_secret(key: KeyPath) -> bool:
    """Whether nothing may show the value of the key."""
    field = field_of(key)
    return field is not None and any(isinstance(each, Secret) for each in field.metadata)


def backend_meant_by(name: str, others: Sequence[str]) -> str | None:
    return closest(name, others)


def value_meant_by(key: KeyPath, value: object) -> str | None:
    """The word that a wrong value of the key, or of its list, may have meant."""
    field = field_of(key)
    if field is None or not isinstance(value, str):
        return None
    words = {
        word.upper(): word for each in field.metadata if isinstance(each, Choices) for word in each.words
    }
    typed = value.upper()
    meant = typed if typed in words else slip_of(typed, words) or closest(typed, [*words])
    return words[meant] if meant else None
