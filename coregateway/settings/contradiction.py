"""Settings that are each right and cannot stand together, and the paths by which keys are known."""

from collections.abc import Iterable
from typing import Final, NamedTuple

type KeyPath = tuple[str, ...]
"""Where a setting is: `("backends", "coredinator", "health", "path")`."""

ITS_VALUE: Final = "the value of the key"
"""Stands for that in a `Contradiction`."""


class Contradiction(NamedTuple):
    key: KeyPath
    expected: str
    other: KeyPath = ()
    """The key that it contradicts; empty: what is expected says all."""
    found: object = ITS_VALUE
    meant: str | None = None
    """What a mistyped word may have meant."""


def names_of(table: str, keys: Iterable[KeyPath]) -> tuple[str, ...]:
    """The rows of a table of named ones (`backends`, `routes`), in the order of the keys."""
    return tuple(dict.fromkeys(key[1] for key in keys if key[0] == table and len(key) > 1))
