"""What a parser does with a header field, decided once per name or line instead of once per message."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from coregateway.http1 import MalformedHTTP, is_field_line, members

REMEMBERED = 2048
"""Names of fields, as they were written, whose fate is kept; a gateway's clients and backends use few."""

LONGEST = 64
"""Bytes of a name, or of a value of Connection, that is worth remembering."""

LONGEST_LINE = 128
"""Bytes of a field line that is worth remembering. All of them together stay below 1 MiB per worker."""

UNREMEMBERED = frozenset(
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


class Fate(NamedTuple):
    """What becomes of a field that does not simply pass. `name` is in lower case."""

    name: bytes
    noted: bool = False
    """Its value is looked at."""
    single: bool = False
    """A second line of it makes a message ambiguous."""
    passes: bool = False
    """Its line is passed on all the same."""
    aside: bool = False
    """It is kept apart, for whoever decides whether its sender is believed."""


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

    Raises MalformedHTTP for what is no field line.
    """

    def __init__(self, judge: Callable[[bytes], Fate | None]) -> None:
        super().__init__()
        self.fates = Fates(judge)

    def __missing__(self, line: bytes) -> tuple[Fate, bytes] | None:
        if is_field_line(line) is None:
            raise MalformedHTTP("malformed header field")
        name, _, value = line.partition(b":")
        fate = self.fates[name]
        found = None if fate is None else (fate, value.strip(b" \t"))
        if len(line) <= LONGEST_LINE and name.lower() not in UNREMEMBERED:
            if len(self) >= REMEMBERED:
                self.clear()  # what repeats is back at once
            self[line] = found
        return found


class ConnectionOptions(NamedTuple):
    """What a value of Connection says (RFC 9110 §7.6.1)."""

    close: bool
    keep_alive: bool
    upgrade: bool
    nominated: frozenset[bytes]
    """Names, in lower case, of fields that are for this hop alone."""


def connection_options(value: bytes) -> ConnectionOptions:
    """Read the value of Connection; all lines of it joined."""
    return _remembered_options(value) if len(value) <= LONGEST else _options(value)


def _options(value: bytes) -> ConnectionOptions:
    tokens = frozenset(members(value))
    return ConnectionOptions(
        close=b"close" in tokens,
        keep_alive=b"keep-alive" in tokens,
        upgrade=b"upgrade" in tokens,
        nominated=tokens - {b"close", b"keep-alive", b"upgrade"},
    )


_remembered_options = lru_cache(maxsize=256)(_options)
