"""Numbers by name: the table of one process, which that process alone writes.

A slot has a key, which is written once and never changes, and `WIDTH` numbers. Slots are only ever added:
a reader that has seen a key may remember where it is, and a process that takes over from a dead one finds all
of them by their keys.
"""

from collections.abc import Iterator
from math import inf
from typing import cast

from coregateway.shared_memory.memory import SharedMemory

WIDTH = 16
"""Numbers in a slot: a counter needs one, a histogram one for each bucket and its sum."""

MAX_KEY = 120
"""Bytes of a key in UTF-8."""

OF_PROCESS = "process\x1f"
"""Begins the keys of numbers that end with the process that wrote them: the next one finds zeros."""

_KEY = 128  # a number for the key's length, and the key
SLOT = _KEY + 8 * WIDTH
"""Bytes of a slot."""

HEADER = 8
"""Bytes before the first slot: how many slots are in use."""


def size_of(slots: int) -> int:
    """Bytes of a table."""
    return HEADER + slots * SLOT


class Series:
    """A table of up to `slots` slots at an offset of the shared memory. One process writes, any may read."""

    def __init__(self, memory: SharedMemory, offset: int, slots: int) -> None:
        self._bytes = memory.bytes(offset + HEADER, slots * SLOT)
        self._used = memory.doubles(offset, 1)
        self._slots = slots
        self._keys: list[str] = []
        self._at: dict[str, int] = {}
        self.numbers = memory.doubles(offset + HEADER, slots * SLOT // 8)
        """All numbers of the table; `slot` says where those of a key begin."""

    def slot(self, key: str) -> int | None:
        """Where in `numbers` the `WIDTH` numbers of a key begin. For the writer: the slot is made if need be.

        None: the table is full, or the key is longer than `MAX_KEY`.
        """
        self._look()
        at = self._at.get(key)
        if at is None and len(self._keys) < self._slots:
            at = self._add(key)
        return at

    def find(self, key: str) -> int | None:
        """As `slot`, for a reader: None when the writer has not made it."""
        if (at := self._at.get(key)) is None:
            self._look()
            at = self._at.get(key)
        return at

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """The keys, in the order of their making, with their places in `numbers`."""
        self._look()
        return iter(list(self._at.items()))

    def made_since(self, start: int, count: int) -> list[tuple[str, int]]:
        """As iterating, from key number `start` on, at most `count` of them and no work for more."""
        self._look(start + count)
        return [(key, self._at[key]) for key in self._keys[start : start + count]]

    def read(self, at: int, count: int = WIDTH) -> list[float]:
        """The first numbers of a slot."""
        return cast(list[float], self.numbers[at : at + count].tolist())  # typeshed says int

    def _add(self, key: str) -> int | None:
        encoded = key.encode()
        if len(encoded) > MAX_KEY:
            return None
        number = len(self._keys)
        start = number * SLOT
        self._bytes[start + 8 : start + 8 + len(encoded)] = encoded
        self.numbers[start // 8] = len(encoded)
        # Last: from here on readers see the slot.
        self._used[0] = number + 1
        return self._remember(key)

    def _look(self, limit: float = inf) -> None:
        """Take in the slots that are new, until so many are known."""
        used = min(self._used[0], limit)
        while (number := len(self._keys)) < used:
            start = number * SLOT
            length = int(self.numbers[start // 8])
            if not length:
                return  # a processor that reorders writes shows the count first
            self._remember(bytes(self._bytes[start + 8 : start + 8 + length]).decode())

    def _remember(self, key: str) -> int:
        at = (len(self._keys) * SLOT + _KEY) // 8
        self._keys.append(key)
        self._at[key] = at
        return at
