"""Header fields of a message that passes the gateway, as a middleware sees them and may change them.

They know which of them were changed: only those are rendered again, and every other line passes byte for
byte. What a middleware may not change raises where it tries to.
"""

# Sanic's header has no types of values, and the overridden methods take whatever a multidict takes:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportIncompatibleMethodOverride=false, reportInconsistentConstructor=false

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, override

from multidict import CIMultiDict
from sanic.compat import Header

from coregateway.http1.fields import LONGEST_LINE, REMEMBERED, UNREMEMBERED
from coregateway.http1.grammar import is_field_line

_is_name: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch

_FRAMING: Final = frozenset(("content-length", "transfer-encoding"))
_HOP_BY_HOP: Final = frozenset(
    ("connection", "http2-settings", "keep-alive", "te", "trailer", "upgrade", "proxy")
)
_OWN_OF_REQUESTS: Final = frozenset(
    (
        *("expect", "host", "via", "x-request-id"),
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-prefix", "x-forwarded-proto"),
    )
)
OVERWRITTEN: Final = frozenset((b"x-corerl-version", b"x-request-id"))
"""Fields, in lower case, that every response of the gateway has, whatever a middleware makes of them."""

type Guard = Callable[[str], str | None]
"""Takes the name of a field in lower case; says why it may not be changed, or None: it may."""


def of_response(name: str) -> str | None:
    """The `Guard` of responses."""
    if name in _FRAMING:
        return "frames the message"
    if name in _HOP_BY_HOP or name.startswith("proxy-"):
        return "is for one hop alone"
    return None


def of_request(reserved: frozenset[bytes]) -> Guard:
    """The `Guard` of requests. `reserved`: names, in lower case, of further fields of the gateway's."""
    names = frozenset(name.decode() for name in reserved)

    def guard(name: str) -> str | None:
        if name in _OWN_OF_REQUESTS or name.replace("_", "-") in names:
            return "the gateway writes itself"
        return of_response(name)

    return guard


class _Pairs(dict[bytes, tuple[str, str]]):
    """Name (in lower case) and value of each field line: most are those of the message before."""

    def __missing__(self, line: bytes) -> tuple[str, str]:
        name, _, value = line.partition(b":")
        name = name.lower()
        pair = name.decode(), value.strip(b" \t").decode(errors="surrogateescape")
        if len(line) <= LONGEST_LINE and name not in UNREMEMBERED:
            if len(self) >= REMEMBERED:
                self.clear()
            self[line] = pair
        return pair


_pairs: Final = _Pairs()


def pairs_of(lines: Iterable[bytes]) -> list[tuple[str, str]]:
    """Names (in lower case) and values of field lines."""
    return [_pairs[line] for line in lines]


class PassingFields(Header):
    """See the module. `touched` holds the names, in lower case, that were set or taken away."""

    touched: set[bytes] | None = None

    def __init__(self, pairs: Sequence[tuple[str, str]], guard: Guard) -> None:
        super().__init__(pairs)
        self._guard = guard

    def lines(self) -> list[bytes]:
        """The field lines of what was set.

        Raises ValueError: a value with control characters.
        """
        touched = self.touched
        if not touched:
            return []
        lines = [
            f"{name}: {value}".encode(errors="surrogateescape")
            for name, value in self.items()
            if name.lower().encode() in touched
        ]
        for line in lines:
            if is_field_line(line) is None:
                raise ValueError(f"the value of {line.partition(b':')[0].decode()} has control characters")
        return lines

    def copy(self) -> Header:
        """Fields of nobody's message."""
        return Header(self)

    def _touch(self, name: str) -> None:
        fault = self._guard(name.lower())
        if fault is not None:
            raise ValueError(f"a middleware may not change {name}, which {fault}")
        if _is_name(name) is None:
            raise ValueError(f"no field can have the name {name!r}")
        if self.touched is None:
            self.touched = set()
        self.touched.add(name.lower().encode())

    def _value(self, name: str, value: Any) -> Any:
        """A value that is about to be set."""
        text = f"{value}"
        if not text.isprintable() and is_field_line(_line(name, text)) is None:
            raise ValueError(f"a value with control characters for {name}")
        return value

    def _set(self, name: str, value: Any) -> Any:
        self._touch(name)
        return self._value(name, value)

    # What changes a multidict

    @override
    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, self._set(key, value))

    @override
    def __delitem__(self, key: str) -> None:
        if key in self:
            self._touch(key)
        super().__delitem__(key)

    @override
    def add(self, key: str, value: Any) -> None:
        super().add(key, self._set(key, value))

    @override
    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self._set(key, default)
        return super().setdefault(key, default)

    @override
    def extend(self, *given: Any, **more: Any) -> None:
        super().extend(self._all(given, more))

    @override
    def update(self, *given: Any, **more: Any) -> None:
        super().update(self._all(given, more))

    @override
    def merge(self, *given: Any, **more: Any) -> None:
        fields = self._all_of(given, more)
        super().merge(self._all(([(name, value) for name, value in fields if name not in self],), {}))

    @override
    def pop(self, key: str, *default: Any) -> Any:
        if key in self:
            self._touch(key)
        return super().pop(key, *default)

    @override
    def popone(self, key: str, *default: Any) -> Any:
        if key in self:
            self._touch(key)
        return super().popone(key, *default)

    @override
    def popall(self, key: str, *default: Any) -> Any:
        if key in self:
            self._touch(key)
        return super().popall(key, *default)

    @override
    def popitem(self) -> tuple[str, Any]:
        name, value = super().popitem()
        self._touch(name)
        return name, value

    @override
    def clear(self) -> None:
        for name in self.keys():
            self._touch(name)
        super().clear()

    def replace(self, fields: Any) -> None:
        """Have these fields and no other. Those that are the same count as unchanged."""
        given = CIMultiDict[Any](fields)
        for name in {name.lower() for name in self.keys()} - {name.lower() for name in given}:
            del self[name]
        for name in dict.fromkeys(given):
            values = given.getall(name)
            if values != self.getall(name, None):
                self.popall(name, None)
                for value in values:
                    self.add(name, value)

    @staticmethod
    def _all_of(given: tuple[Any, ...], more: dict[str, Any]) -> list[tuple[str, Any]]:
        return [*CIMultiDict[Any](*given, **more).items()]

    def _all(self, given: tuple[Any, ...], more: dict[str, Any]) -> list[tuple[str, Any]]:
        fields = self._all_of(given, more)
        for name, value in fields:
            self._set(name, value)
        return fields


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}".encode(errors="surrogateescape")
