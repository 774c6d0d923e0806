"""What both sides have in common: tokens, fields, limits, errors. Pure, no I/O."""

import re
from collections.abc import Collection
from typing import Final

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
FIELD_LINE: Final = TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+"

END: Final = b"\r\n\r\n"
"""What ends a head: the end of its last line, and an empty line."""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""Those that nearly all requests have; a backend takes these unless its settings say otherwise."""

MAX_FIELDS: Final = 128
"""Header fields of one request; more are refused. (HAProxy: 101, nginx: 1,000.)"""

is_token: Final = re.compile(TOKEN).fullmatch
is_field_line: Final = re.compile(FIELD_LINE).fullmatch

has_broken_line: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\0").search
"""Whether the beginning of a head shows already that it can only be refused."""

CHUNKED: Final = -1
"""Content length of a message whose body is in the chunked coding."""

UNTIL_CLOSE: Final = -2
"""Content length of a response whose body ends with its connection."""


class MalformedHTTP(ValueError):
    """Bytes that are not strictly HTTP/1.1. The words are safe to show to the sender."""


class TooManyFields(MalformedHTTP):
    """More header fields than `MAX_FIELDS`."""

    def __init__(self) -> None:
        super().__init__("too many header fields")


def members(value: bytes) -> list[bytes]:
    """The members of a comma-separated list (RFC 9110 §5.6.1), in lower case, empty ones left out."""
    return [member for part in value.lower().split(b",") if (member := part.strip(b" \t"))]


def without(lines: list[bytes], names: Collection[bytes]) -> list[bytes]:
    """The field lines whose names (in lower case) are not among `names`."""
    return [line for line in lines if line.partition(b":")[0].lower() not in names]
