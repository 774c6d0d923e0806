"""What a reload changes, and what takes a restart. Pure."""

from collections.abc import Iterator
from hashlib import sha256
from typing import cast

from coregateway.settings.keys import dotted, row_of
from coregateway.settings.model import KeyPath, Settings, contradictions, leaves
from coregateway.settings.table import Table

FIXED: tuple[KeyPath, ...] = (
    # The sockets and processes of the node are made once.
    ("host",),
    ("port",),
    ("workers",),
    ("admin", "address"),
    ("tls", "http_port"),
    # Routes and subscribers of the application are put together once.
    ("metrics",),
    ("dashboard",),
    ("tracing", "enabled"),
    ("tracing", "endpoint"),
    # Code of users is attached once.
    ("plugins",),
    ("plugin",),
)
"""What cannot change while the node runs: single keys, and tables with all that they hold."""

PLACE = frozenset({("host",), ("port",), ("workers",)})
"""What two nodes with the same file may have different, and `fingerprint` leaves out."""


def reconciled(running: Settings, wanted: Settings) -> Settings:
    """`wanted`, but for what takes a restart: that stays as it is in `running`.

    Raises:
        ValueError: the two do not go together; the text says which keys, and why.
    """
    settings: Table = wanted
    for key in FIXED:
        settings = _with(settings, key, _value(running, key))
    settings = cast(Settings, settings)
    for wrong in contradictions(dict(leaves(settings))):
        raise ValueError(
            f"{dotted(wrong.key)}: expected {wrong.expected}, as long as the gateway is not restarted"
        )
    return settings


def changed(before: Settings, after: Settings) -> tuple[str, ...]:
    """The keys that differ, as TOML writes them; of a backend or route that came or went, its name."""
    return tuple(dict.fromkeys(_changed(before, after)))


def _changed(before: Settings, after: Settings) -> Iterator[str]:
    old, new = dict(leaves(before)), dict(leaves(after))
    for key in {**new, **old}:
        if key in old and key in new:
            if old[key] != new[key]:
                yield dotted(key)
        else:
            yield dotted(row_of(key) or key)


def is_fixed(key: str) -> bool:
    """Whether the key, as `changed` gives it, takes a restart."""
    return any(f"{key}.".startswith(f"{dotted(fixed)}.") for fixed in FIXED)


def fingerprint(settings: Settings) -> str:
    """Twelve hexadecimal digits, which are the same on two nodes that run with the same settings."""
    lines = (f"{dotted(key)} = {value!r}\n" for key, value in leaves(settings) if key not in PLACE)
    return sha256("".join(lines).encode()).hexdigest()[:12]


def _value(table: Table, key: KeyPath) -> object:
    value: object = table
    for name in key:
        value = getattr(value, name)
    return value


def _with(table: Table, key: KeyPath, value: object) -> Table:
    name, *rest = key
    return table.model_copy(update={name: _with(getattr(table, name), tuple(rest), value) if rest else value})
