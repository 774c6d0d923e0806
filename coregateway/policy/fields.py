"""Field rules: which fields of a message the settings take away, and which they add. Pure.

Rules stand at several levels: for everything, for a backend, for a route. For each field name the narrowest
level that names it decides alone; names compare without case, and a name means every line that has it.

A value may hold `${client}`, the client's address, `${request_id}`, `${consumer}` and `${client_cert}`, the
subject of the client's verified certificate, which are empty where none is known, and `${route}`, the route's
name. None of them can end its line.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from typing import Protocol as Interface

from coregateway.http1.fields import LONGEST_LINE, REMEMBERED, UNREMEMBERED
from coregateway.model.exchange import Exchange

_find_variables: Final = re.compile(r"\$\{([^{}]*)\}").split


class FieldSettings(Interface):
    """The rules of one level; the settings have this shape."""

    @property
    def set(self) -> Mapping[str, str]: ...
    @property
    def add(self) -> Mapping[str, str]: ...
    @property
    def remove(self) -> Sequence[str]: ...


class Change:
    """What the rules say of one field: whether the lines that came go, and the values of those that are
    added."""

    __slots__ = ("name", "removes", "values")

    def __init__(self, name: str, *, removes: bool, values: tuple[str, ...]) -> None:
        self.name = name
        """As the settings write it."""
        self.removes = removes
        self.values = values

    def __repr__(self) -> str:
        return f"<Change {self.name}: {'only ' if self.removes else 'also '}{list(self.values)}>"


def changes_of(levels: Iterable[FieldSettings | None]) -> list[Change]:
    """What these levels say together, the widest of them first; one change a name, in the order of the names.

    Of one level `remove` acts first, then `set`, then `add`.
    """
    found: dict[str, Change] = {}
    for level in levels:
        if level is None:
            continue
        own: dict[str, Change] = {}
        for name in level.remove:
            own[name.lower()] = Change(name, removes=True, values=())
        for name, value in level.set.items():
            own[name.lower()] = Change(name, removes=True, values=(value,))
        for name, value in level.add.items():
            before = own.get(name.lower())
            if before is None:
                own[name.lower()] = Change(name, removes=False, values=(value,))
            else:
                before.values = (*before.values, value)
        found |= own
    return list(found.values())


class Known(dict[bytes, bool]):
    """Whether a field line, as it was written, is of one of `names` (in lower case).

    Most lines of a message are those of the one before, so each is taken apart once.
    """

    def __init__(self, names: frozenset[bytes]) -> None:
        super().__init__()
        self._names = names

    def __missing__(self, line: bytes) -> bool:
        name = line.partition(b":")[0].lower()
        known = name in self._names
        if len(line) <= LONGEST_LINE and name not in UNREMEMBERED:
            if len(self) >= REMEMBERED:
                self.clear()
            self[line] = known
        return known


# Parts of a value that each message has of its own.
_CLIENT: Final = 0
_REQUEST_ID: Final = 1
_CONSUMER: Final = 2
_TEXT: Final = 3
_CLIENT_CERT: Final = 4


_VARIABLES: Final = {"client": _CLIENT, "request_id": _REQUEST_ID, "client_cert": _CLIENT_CERT}


class _Part:
    """A piece of the lines that are added: a text, or a value of the exchange."""

    __slots__ = ("kind", "text")

    def __init__(self, kind: int, text: bytes = b"") -> None:
        self.kind = kind
        self.text = text


class _Line:
    """One line with variables. It is left out where its whole value is empty."""

    __slots__ = ("name", "parts")

    def __init__(self, name: bytes, parts: list[_Part]) -> None:
        self.name = name
        self.parts = parts

    def render(self, exchange: Exchange) -> bytes:
        value = b""
        for part in self.parts:
            if part.kind == _TEXT:
                value += part.text
            elif part.kind == _CLIENT:
                value += exchange.client.encode()
            elif part.kind == _REQUEST_ID:
                value += exchange.request_id.encode()
            elif part.kind == _CLIENT_CERT:
                value += (exchange.client_cert or "").encode()
            elif exchange.consumer is not None:
                value += exchange.consumer.encode()
        return b"%b: %b\r\n" % (self.name, value) if value else b""


class FieldRules:
    """The changes of one route in one direction, ready to be applied."""

    __slots__ = ("_constant", "_known", "_lines", "changes", "removed")

    def __init__(self, changes: Sequence[Change], route: str) -> None:
        """`route`: the name that `${route}` stands for."""
        self.changes = tuple(changes)
        self.removed = frozenset(change.name.lower().encode() for change in changes if change.removes)
        """Names in lower case."""
        self._known = Known(self.removed)
        constant = b""
        lines: list[bytes | _Line] = []
        for change in changes:
            for value in change.values:
                parts = _parts(value, route)
                name = change.name.encode()
                if all(part.kind == _TEXT for part in parts):
                    text = b"".join([part.text for part in parts])
                    constant += b"%b: %b\r\n" % (name, text) if text else b""
                    continue
                if constant:
                    lines.append(constant)
                    constant = b""
                lines.append(_Line(name, parts))
        self._lines = lines
        """Those with variables, and the constant ones before each."""
        self._constant = constant
        """All lines that follow: where no value has variables, all there are."""

    def kept(self, lines: list[bytes]) -> list[bytes]:
        """Those of these field lines that stay; the list itself, if all do."""
        if not self.removed:
            return lines
        known = self._known
        for line in lines:
            if known[line]:
                return [each for each in lines if not known[each]]
        return lines

    def added(self, exchange: Exchange) -> bytes:
        """The lines that are added, each with its line end."""
        if not self._lines:
            return self._constant
        added = b""
        for line in self._lines:
            added += line.render(exchange) if isinstance(line, _Line) else line
        return added + self._constant

    def amend(self, head: bytes, exchange: Exchange) -> bytes:
        """A rendered head, up to and with the empty line that ends it, with the changes made in it."""
        lines = head.split(b"\r\n")[:-2]
        kept = [lines[0], *self.kept(lines[1:])]
        return b"\r\n".join(kept) + b"\r\n" + self.added(exchange) + b"\r\n"


def rules_of(levels: Iterable[FieldSettings | None], route: str) -> FieldRules | None:
    """The rules of these levels, the widest first; None: they change nothing."""
    changes = changes_of(levels)
    return FieldRules(changes, route) if changes else None


def _parts(value: str, route: str) -> list[_Part]:
    parts: list[_Part] = []
    for number, text in enumerate(_find_variables(value)):
        if number % 2 == 0 or text == "route":
            constant = (route if number % 2 else text).encode()
            if constant:
                parts.append(_Part(_TEXT, constant))
        else:
            parts.append(_Part(_VARIABLES.get(text, _CONSUMER)))
    return parts
