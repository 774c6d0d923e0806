"""Random ids, for requests, traces and spans."""

from os import urandom
from typing import Final

AHEAD: Final = 64
"""Ids that are drawn at once: one by one they take ten times as long."""


class Ids:
    """Of so many bytes each, as lower-case hexadecimal digits. One instance per worker and kind.

    None is drawn before one is asked for, so that processes that fork before they serve share none.
    """

    __slots__ = ("_ready", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._ready: list[str] = []

    def take(self) -> str:
        """One that nobody else has."""
        if not self._ready:
            self._ready.extend(urandom(self._size * AHEAD).hex("-", self._size).split("-"))
        return self._ready.pop()
