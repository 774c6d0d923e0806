"""Random ids, for requests, traces and spans."""

from os import urandom
from typing import Final

AHEAD: Final = 64
"""Ids that are drawn at once: one by one they take ten times as long."""


class Ids:
    """Of so many bytes each, as lower-case hexadecimal digits. One instance per worker and kind.

    None is drawn before one is asked for, so that processes that fork before they serve share none.
    """

    __slots__ = ("_at", "_digits", "_width")

    def __init__(self, size: int) -> None:
        self._width = 2 * size
        self._digits = ""
        self._at = 0

    def take(self) -> str:
        """One that nobody else has."""
        at = self._at
        if at == len(self._digits):
            self._digits = urandom(self._width // 2 * AHEAD).hex()
            at = 0
        self._at = after = at + self._width
        return self._digits[at:after]
