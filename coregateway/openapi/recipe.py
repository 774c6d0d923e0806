"""What the settings say of a backend's document: plain values, which a process can be handed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
"""What a path item may hold (OpenAPI 3.1 §4.8.9), but TRACE: it is never forwarded."""


class Way(NamedTuple):
    """How callers may authenticate: the name of its scheme, and the field that shows it, in lower case."""

    scheme: str
    field: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """See the module."""

    backend: str
    prefix: str
    separator: str = "_"
    """Between the backend's name and an operation's own id (`separator`)."""
    hide: tuple[str, ...] = ()
    methods: tuple[str, ...] = METHODS
    """Those of `METHODS` that are forwarded."""
    strip: bool = True
    """Whether the backend sees paths without the prefix."""
    inner: tuple[str, ...] = ()
    """Prefixes below this one that belong to other backends."""
    ways: tuple[Way, ...] = ()
    """One of which a caller must take; empty: none is asked for."""
    anonymous: bool = False
    """Whether callers may do without."""

    with_book: bool = True
    """Whether requests are held against it."""

    @property
    def as_backend_sees(self) -> "Recipe":
        """The same document as the backend itself has it, with what is hidden, under its own names."""
        return Recipe("", "")


def separator(name: str, names: Iterable[str]) -> str:
    """What stands between a backend's name and an operation's id, so that no two backends' meet: a dot, which
    no name has, where what begins with the name and an underscore may be of another one."""
    others = (*names, *(f"{method}_" for method in METHODS))
    return "." if any(other.startswith(f"{name}_") for other in others) else "_"
