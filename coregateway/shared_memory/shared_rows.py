"""Rows of numbers by key that every process of the node may write: what it knows of an upstream as a whole.

A key is added under a lock of the kernel, which ends with its process, and never taken away. Each number is
written at once, so that no reader sees half of one. There is no other lock: two processes that change the
same number in the same microsecond may lose one of the changes; `exclusive` is for what must not be lost.
"""

from typing import Final
from zlib import crc32

from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.series import MAX_KEY, WIDTH, Series
from coregateway.shared_memory.series import size_of as series_size

ROWS: Final = 1024

SIZE: Final = 8 + series_size(ROWS)
"""Bytes in all."""

_LOCK: Final = 1 << 20
"""The number of its lock in the memory's file; those of a board's parts are far below."""


class SharedRows:
    """See the module. At an offset of the shared memory, which is a multiple of 8."""

    __slots__ = ("_memory", "_news", "_series")

    def __init__(self, memory: SharedMemory, offset: int) -> None:
        self._memory = memory
        self._news = memory.doubles(offset, 1)
        self._series = Series(memory, offset + 8, ROWS)

    @property
    def news(self) -> float:
        """Another number than before when something has changed that all workers should look at."""
        return self._news[0]

    def tell(self, now: float) -> None:
        """Have all workers look; `now`: of a clock with a fine resolution."""
        self._news[0] = now

    def row(self, key: str) -> "memoryview[float] | None":
        """The `WIDTH` numbers of a key, all 0.0 at first; None: there is no room left."""
        key = _short(key)
        at = self._series.find(key)
        if at is None:
            self.lock()
            try:
                at = self._series.slot(key)
            finally:
                self.unlock()
        return None if at is None else self._series.numbers[at : at + WIDTH]

    def find(self, key: str) -> "memoryview[float] | None":
        """As `row`, for a reader: None when no process has made it."""
        at = self._series.find(_short(key))
        return None if at is None else self._series.numbers[at : at + WIDTH]

    def beginning_with(self, start: str) -> "list[tuple[str, memoryview[float]]]":
        """The keys that begin so, and their rows, for a reader."""
        numbers = self._series.numbers
        return [(key, numbers[at : at + WIDTH]) for key, at in self._series if key.startswith(start)]

    def lock(self) -> None:
        """Let no other process past this call until `unlock`: for microseconds."""
        self._memory.wait_for_lock(_LOCK)

    def unlock(self) -> None:
        self._memory.give_up_lock(_LOCK)


def _short(key: str) -> str:
    encoded = key.encode()
    return key if len(encoded) <= MAX_KEY else f"{key[: MAX_KEY // 4]}~{crc32(encoded):08x}~{len(encoded)}"
