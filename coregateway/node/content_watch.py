"""When the content of a file has changed. Content, because a file that is swapped in by a link (as Kubernetes
does with a ConfigMap) need not be newer, and one that was touched need not be another."""

from collections.abc import Callable
from hashlib import blake2b
from math import inf


class ContentWatch:
    """Of one file, from its content at the start on.

    A change counts once two looks in a row have found the same content: a file may be seen half written. A
    file that cannot be read is not looked at; it may be on its way.
    """

    def __init__(self, read: Callable[[], bytes | None]) -> None:
        """`read` gives the content; None: there is none to be had."""
        self._read = read
        self._known = self._seen = self._digest()
        self._looked = -inf

    def look(self, now: float, pause: float) -> bool:
        """Whether the content is new; it is known from now on. Looks every `pause` seconds; 0: never."""
        if not pause or now - self._looked < pause:
            return False
        self._looked = now
        found = self._digest()
        settled = found is not None and found == self._seen
        self._seen = found
        if not settled or found == self._known:
            return False
        self._known = found
        return True

    def know(self) -> None:
        """The content was read by others: it is not new any more."""
        self._known = self._seen = self._digest()

    def _digest(self) -> bytes | None:
        content = self._read()
        return None if content is None else blake2b(content, digest_size=16).digest()
