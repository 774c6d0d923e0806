"""What a parser does with a header field, decided once per name or line instead of once per message."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from mypy_extensions import mypyc_attr

from coregateway.http1.grammar import is_field_line, members
from coregateway.http1.rules import BrokenRule, of_field_line

REMEMBERED: Final = 2048
"""Names of fields, as they were written, whose fate is kept; a gateway's clients and backends use few."""

LONGEST: Final = 64
"""Bytes of a name, or of a value of Connection, that is worth remembering."""

LONGEST_LINE: Final = 128
"""Bytes of a field line that is worth remembering. All of them together stay below 1 MiB per worker."""

UNREMEMBERED: Final = frozenset(
    (
        b"authorization",
        b"cookie",
        b"etag",
        b"if-none-match",
        b"location",
        b"proxy-authorization",
        b"set-cookie",
        b"traceparent",
        b"tracestate",
        b"x-api-key",
        b"x-correlation-id",
        b"x-request-id",
    )
)
"""Fields whose lines are another in nearly every message, or a secret that must not outlive its own."""


@mypyc_attr(acyclic=True)
class Fate:
    """What becomes of a field that does not simply pass. `name` is in lower case."""

    __slots__ = ("aside", "name", "noted", "passes", "permits", "single")

    def __init__(
        self,
        name: bytes,
        *,
        noted: bool = False,
        single: bool = False,
        passes: bool = False,
        aside: bool = False,
        permits: bool = False,
    ) -> None:
        self.name = name
        self.noted = noted
        """Its value is looked at."""
        self.single = single
        """A second line of it makes a message ambiguous."""
        self.passes = passes
        """Its line is passed on all the same."""
        self.aside = aside
        """It is kept apart, until it is decided whether its sender is believed."""
        self.permits = permits
        """It gives the pages of other origins a permission (`Access-Control-`)."""


class Fates(dict[bytes, Fate | None]):
    """The fate of each field by its name as it was written; None: the line passes, and that is all.

    `judge` is asked for names (in lower case) that are not known yet.
    """

    def __init__(self, judge: Callable[[bytes], Fate | None]) -> None:
        super().__init__()
        self._judge = judge

    def __missing__(self, name: bytes) -> Fate | None:
        fate = self._judge(name.lower())
        if len(self) < REMEMBERED and len(name) <= LONGEST:
            self[name] = fate
        return fate


class Lines(dict[bytes, tuple[Fate, bytes] | None]):
    """What becomes of each field line, as it was written, with its value; None: it passes, and that is all.

    Most lines of a message are those of the one before. So each is checked, taken apart and judged when it
    is met first, and found from then on; `judge` is as for `Fates`.

    Raises BrokenRule for what is no field line.
    """

    def __init__(self, judge: Callable[[bytes], Fate | None]) -> None:
        super().__init__()
        self.fates = Fates(judge)

    def __missing__(self, line: bytes) -> tuple[Fate, bytes] | None:
        if is_field_line(line) is None:
            raise BrokenRule(of_field_line(line))
        name, _, value = line.partition(b":")
        fate = self.fates[name]
        found = None if fate is None else (fate, value.strip(b" \t"))
        if len(line) <= LONGEST_LINE and name.lower() not in UNREMEMBERED:
            if len(self) >= REMEMBERED:
                self.clear()  # what repeats is back at once
            self[line] = found
        return found


@mypyc_attr(acyclic=True)
class ConnectionOptions:
    """What a value of Connection says (RFC 9110 §7.6.1)."""

    __slots__ = ("close", "keep_alive", "nominated", "upgrade")

    def __init__(self, tokens: frozenset[bytes]) -> None:
        self.close = b"close" in tokens
        self.keep_alive = b"keep-alive" in tokens
        self.upgrade = b"upgrade" in tokens
        self.nominated = tokens - {b"close", b"keep-alive", b"upgrade"}
        """Names, in lower case, of fields that are for this hop alone."""


def connection_options(value: bytes) -> ConnectionOptions:
    """Read the value of Connection; all lines of it joined."""
    return _remembered_options(value) if len(value) <= LONGEST else _options(value)


def _options(value: bytes) -> ConnectionOptions:
    return ConnectionOptions(frozenset(members(value)))


_remembered_options: Final = lru_cache(maxsize=256)(_options)
