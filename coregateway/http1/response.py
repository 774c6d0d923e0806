"""Response heads (RFC 9112 §4 to §6)."""

import re
from functools import lru_cache
from typing import Final

from mypy_extensions import mypyc_attr

from coregateway.http1.fields import LONGEST, Fate, Lines, connection_options
from coregateway.http1.grammar import CHUNKED, UNTIL_CLOSE, MalformedHTTP, without

_is_status_line: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?"
).fullmatch

MAX_FIELDS: Final = 1000
"""Header fields of one response; more are refused. (nginx and HAProxy: by the size of the head alone.)"""

NOTED: Final = frozenset(
    (
        b"connection",
        b"content-length",
        b"content-location",
        b"date",
        b"location",
        b"transfer-encoding",
        b"upgrade",
        b"vary",
    )
)
"""Fields whose values the gateway looks at."""

DROPPED: Final = frozenset(
    (
        b"connection",
        b"content-length",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-coregateway-error",
        b"x-corerl-version",
        b"x-request-id",
    )
)
"""Fields that are not passed on as they came: for this hop alone (RFC 9110 §7.6.1), or the gateway's
own, which a backend must not be able to fake."""

_FRAMING: Final = (b"content-length", b"transfer-encoding")


def _judge(name: bytes) -> Fate | None:
    if name in NOTED:
        return Fate(name, noted=True, single=name in _FRAMING, passes=name not in DROPPED)
    if name in DROPPED or name.startswith(b"proxy-"):
        return Fate(name)
    if name.startswith(b"access-control-"):
        return Fate(name, permits=True, passes=True)
    return None


_lines: Final = Lines(_judge)


@mypyc_attr(acyclic=True)
class ResponseHead:
    """What a response head says, and the lines of it that may pass on.

    `lines` are the raw end-to-end field lines without their line ends, in order. `length` is the number of
    bytes of the body, `CHUNKED`, or `UNTIL_CLOSE`. `reusable` tells whether the backend keeps the connection.
    """

    __slots__ = (
        "declared",
        "length",
        "lines",
        "minor",
        "noted",
        "permits",
        "raw",
        "reason",
        "reusable",
        "status",
    )

    raw: bytes
    status: int
    reason: bytes
    minor: int
    lines: list[bytes]
    noted: dict[bytes, bytes]
    length: int
    declared: int | None
    """The number in Content-Length, also where no body follows it (HEAD, 304)."""
    reusable: bool
    permits: bool
    """Whether any line is a permission for the pages of other origins (`Access-Control-`)."""

    def __init__(self, raw: bytes, *, bodiless: bool = False) -> None:
        """Parse a head, given without the empty line that ends it; `bodiless` when it answers a HEAD.

        Raises:
            MalformedHTTP: it is not strict HTTP/1.1, or its body could be delimited in two ways.
        """
        parts = raw.split(b"\r\n")
        first = parts[0]
        self.minor, self.status, self.reason = (
            _remembered_status(first) if len(first) <= LONGEST else _status(first)
        )
        if len(parts) > MAX_FIELDS + 1:
            raise MalformedHTTP("too many header fields")
        self.raw = raw
        self.permits = False
        lines: list[bytes] = []
        noted: dict[bytes, bytes] = {}
        self.lines = lines
        self.noted = noted
        del parts[0]
        for line in parts:
            found = _lines[line]
            if found is None:
                lines.append(line)
                continue
            fate, value = found
            name = fate.name
            if fate.noted:
                if name in noted:
                    if fate.single:
                        raise MalformedHTTP("more than one framing field")
                    value = noted[name] + b", " + value
                noted[name] = value
            elif fate.permits:
                self.permits = True
            if fate.passes:
                lines.append(line)
        self._read_length(bodiless)
        connection = noted.get(b"connection")
        if connection is None:
            self.reusable = self.minor == 1
        else:
            options = connection_options(connection)
            self.reusable = not options.close and (self.minor == 1 or options.keep_alive)
            if options.nominated:
                self.lines = without(lines, options.nominated)
                for name in options.nominated & NOTED:
                    noted.pop(name, None)  # what is not passed on must not count as said

    def _read_length(self, bodiless: bool) -> None:
        coding = self.noted.get(b"transfer-encoding")
        length = self.noted.get(b"content-length")
        self.declared = None
        if coding is not None:
            if length is not None or not self.minor or coding.lower() != b"chunked":
                raise MalformedHTTP("ambiguous framing")
            self.length = CHUNKED
        elif length is not None:
            if not length.isdigit() or len(length) > 18:
                raise MalformedHTTP("malformed Content-Length")
            self.length = self.declared = int(length)
        else:
            self.length = UNTIL_CLOSE
        if bodiless or self.status in (204, 304) or self.status < 200:
            self.length = 0

    @property
    def is_event_stream(self) -> bool:
        """Whether the response goes on for as long as the client listens (`text/event-stream`)."""
        for line in self.lines:
            if line[:13].lower() == b"content-type:":
                return line[13:].lstrip(b" \t")[:17].lower() == b"text/event-stream"
        return False


def _status(line: bytes) -> tuple[int, int, bytes]:
    """Minor version, status code and reason of a status line."""
    match = _is_status_line(line)
    if match is None:
        raise MalformedHTTP("malformed status line")
    minor, status, reason = match.groups(b"")
    return int(minor), int(status), reason


_remembered_status: Final = lru_cache(maxsize=256)(_status)  # backends use few
