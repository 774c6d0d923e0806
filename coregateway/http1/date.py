"""The `Date` of responses (RFC 9110 §6.6.1), for those that come without one and for the gateway's own."""

from collections.abc import Callable
from email.utils import formatdate
from time import time
from typing import Final


class Date:
    """The date of this second, written once for all answers in it. `clock`: seconds since the epoch."""

    __slots__ = ("_clock", "_line", "_second", "_text")

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._second: int = -1
        self._text = ""
        self._line = b""

    def text(self) -> str:
        """As `Sun, 06 Nov 1994 08:49:37 GMT`."""
        self._look()
        return self._text

    def line(self) -> bytes:
        """The field line, with its line end."""
        if int(self._clock()) != self._second:
            self._look()
        return self._line

    def _look(self) -> None:
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._text = formatdate(second, usegmt=True)
            self._line = b"Date: %b\r\n" % self._text.encode()


date: Final = Date()
"""By the system's clock. One for the process: it keeps nothing but the second that is written already."""
