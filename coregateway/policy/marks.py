"""The marks of keys, by which the tables of the node know them: each is found out once. Pure."""

from collections.abc import Callable
from typing import Final

_REMEMBERED: Final = 4096
"""Keys whose mark is kept, per worker, route and limit."""

_LONGEST: Final = 128
"""Characters of a key that is kept."""


class Marks:
    """Of the keys of one limit. `front`: what makes them others than those of another limit."""

    __slots__ = ("_known", "front")

    def __init__(self, front: str) -> None:
        self.front = front
        self._known: dict[str, int] = {}

    def text(self, key: str) -> bytes:
        """What a key of this limit is known by, in the node and in the store."""
        return (self.front + key).encode()

    def known(self) -> list[tuple[str, int]]:
        """The keys whose mark is kept, with it."""
        return list(self._known.items())

    def of(self, key: str, mark_of: Callable[[bytes], int]) -> int:
        """The mark of a key, which `mark_of` finds out."""
        mark = self._known.get(key)
        if mark is None:
            mark = mark_of(self.text(key))
            if len(key) <= _LONGEST:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[key] = mark
        return mark
