"""An answer that the settings hold, in the place of a backend's. Pure."""

from typing import Final

DEFAULT_TYPE: Final = "text/plain; charset=utf-8"

BODILESS: Final = (204, 205, 304)
"""Statuses whose answers have no body (RFC 9110 §15.3.5, §15.3.6, §15.4.5)."""


class FixedAnswer:
    """Its status, its field lines, each with its line end, and its body."""

    __slots__ = ("body", "fields", "status")

    def __init__(self, status: int, body: str, media_type: str, retry_after: int) -> None:
        """`retry_after`: seconds; 0: the answer names none."""
        self.status = status
        self.body = b"" if status in BODILESS else body.encode()
        fields = b""
        if self.body:
            fields += b"Content-Type: %b\r\n" % media_type.encode()
        if retry_after:
            fields += b"Retry-After: %d\r\n" % retry_after
        self.fields = fields
