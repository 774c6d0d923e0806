"""Header fields of a message that passes the gateway, as a middleware sees them and may change them.

They know which of them were changed: only those are rendered again, and every other line passes byte for
byte. What a middleware may not change raises where it tries to.
"""

# Sanic's header has no types of values, and the overridden methods take whatever a multidict takes:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportIncompatibleMethodOverride=false, reportInconsistentConstructor=false

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, cast, override

from multidict import CIMultiDict, istr
from sanic.compat import Header

from coregateway.http1.fields import LONGEST, LONGEST_LINE, REMEMBERED, UNREMEMBERED
from coregateway.http1.grammar import is_field_line
from coregateway.sanic_app.cookies import PassingCookie

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

type _Guard = Callable[[str], str | None]
"""Takes the name of a field in lower case; says why it may not be changed, or None: it may."""


class Changeable(dict[str, bytes]):
    """Names of fields that may be changed, in lower case, by the spelling that a middleware uses.

    Raises ValueError for any other name.
    """

    def __init__(self, guard: _Guard) -> None:
        super().__init__()
        self._guard = guard

    def __missing__(self, spelled: str) -> bytes:
        name = spelled.lower()
        fault = self._guard(name)
        if fault is not None:
            raise ValueError(f"a middleware may not change {spelled}, which {fault}")
        if _is_name(spelled) is None:
            raise ValueError(f"no field can have the name {spelled!r}")
        found = name.encode()
        if len(self) < REMEMBERED and len(name) <= LONGEST:
            self[spelled] = found
        return found


def _of_response(name: str) -> str | None:
    if name in _FRAMING:
        return "frames the message"
    if name in _HOP_BY_HOP or name.startswith("proxy-"):
        return "is for one hop alone"
    return None


OF_RESPONSES: Final = Changeable(_of_response)


def of_requests(reserved: frozenset[bytes]) -> Changeable:
    """`reserved`: names, in lower case, of further fields of the gateway's."""
    names = frozenset(name.decode() for name in reserved)

    def guard(name: str) -> str | None:
        if name in _OWN_OF_REQUESTS or name.replace("_", "-") in names:
            return "the gateway writes itself"
        return _of_response(name)

    return Changeable(guard)


class _Pairs(dict[bytes, tuple[str, str]]):
    """Name (in lower case) and value of each field line: most are those of the message before."""

    def __missing__(self, line: bytes) -> tuple[str, str]:
        name, _, value = line.partition(b":")
        name = name.lower()
        text = value.strip(b" \t").decode(errors="surrogateescape")
        # What a multidict looks for is there already in a text of its own kind.
        pair = istr(name.decode()), PassingCookie(text) if name == b"set-cookie" else text
        if len(line) <= LONGEST_LINE and name not in UNREMEMBERED:
            if len(self) >= REMEMBERED:
                self.clear()
            self[line] = pair
        return pair


_pairs: Final = _Pairs()


def pairs_of(lines: Iterable[bytes]) -> list[tuple[str, str]]:
    """Names (in lower case) and values of field lines. A value of `Set-Cookie` is a `PassingCookie`."""
    return [_pairs[line] for line in lines]


class PassingFields(Header):
    """See the module. Made by `passing`."""

    __slots__ = ("changeable", "touched")

    changeable: Changeable
    touched: dict[bytes, str] | None
    """The names that were set or taken away, in lower case, with their spelling; None: none was."""

    def lines(self, but: Collection[bytes] = ()) -> list[bytes]:
        """The field lines of what was set, in the order in which it first was.

        `but`: names, in lower case, whose lines are left out.

        Raises ValueError: a value with control characters.
        """
        lines: list[bytes] = []
        for name, spelled in (self.touched or {}).items():
            if name in but:
                continue
            for value in cast(Sequence[Any], self.getall(spelled, ())):
                line = _line(spelled, value)
                if type(value) is not str and is_field_line(line) is None:  # else it was checked already
                    raise ValueError(f"the value of {spelled} has control characters")
                lines.append(line)
        return lines

    def copy(self) -> Header:
        """Fields of nobody's message."""
        return Header(self._all_of((self,), {}))

    def _touch(self, name: str) -> None:
        if self.touched is None:
            self.touched = {}
        self.touched[self.changeable[name]] = name

    def _check(self, name: str, value: Any) -> None:
        """Take note that a value is about to be set; raises ValueError where it may not."""
        self._touch(name)
        if type(value) is not str or not value.isprintable():
            _check_value(name, value)

    # What changes a multidict

    @override
    def __setitem__(self, key: str, value: Any) -> None:
        # As `_check`, in one call: most middleware that changes anything does this.
        name = self.changeable[key]
        if self.touched is None:
            self.touched = {name: key}
        else:
            self.touched[name] = key
        if type(value) is not str or not value.isprintable():
            _check_value(key, value)
        _set_item(self, key, value)

    @override
    def __delitem__(self, key: str) -> None:
        if key in self:
            self._touch(key)
        super().__delitem__(key)

    @override
    def add(self, key: str, value: Any) -> None:
        self._check(key, value)
        super().add(key, value)

    @override
    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self._check(key, default)
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
            self._check(name, value)
        return fields


def passing(pairs: Sequence[tuple[str, str]], changeable: Changeable) -> PassingFields:
    """The fields of a message with these pairs, of which those names may be changed."""
    fields = PassingFields(pairs)
    fields.changeable = changeable
    fields.touched = None
    return fields


_set_item: Final = CIMultiDict[Any].__setitem__


def _check_value(name: str, value: Any) -> None:
    text = f"{value}"
    if not text.isprintable() and is_field_line(_line(name, text)) is None:
        raise ValueError(f"a value with control characters for {name}")


def _line(name: str, value: Any) -> bytes:
    return f"{name}: {value}".encode(errors="surrogateescape")
