"""Rows of numbers by key that every process of the node may write: what it knows of an upstream as a whole.

A key is added under a lock of the kernel, which ends with its process. Each number is written at once, so
that no reader sees half of one. There is no other lock: two processes that change the same number in the same
microsecond may lose one of the changes; `lock` is for what must not be lost.

A process that goes by a row says so every `HOLD / 4` seconds at least (`hold`). Once there is no room left, a
row that none has held for `HOLD` seconds may become another key's: its name went long ago. A process that
stood still for so long finds by the row's generation that it is no longer its own.
"""

from time import monotonic
from typing import Final
from zlib import crc32

from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.series import MAX_KEY, WIDTH

ROWS: Final = 1024

HOLD: Final = 240.0
"""Seconds."""

_HEADER: Final = 4
"""Numbers before the first row."""
_NEWS: Final = 0
_USED: Final = 1
"""Rows that were ever used."""
_CHANGES: Final = 2
"""How often a row has become another key's."""

# Of a row, in numbers of 8 bytes
_GENERATION: Final = 0
"""How many keys it has had; 0.0: it is being made another's."""
_HELD: Final = 1
"""When a process last said that it goes by it, by the monotonic clock."""
_LENGTH: Final = 2
"""Bytes of its key."""
_KEY: Final = 3
_NUMBERS: Final = _KEY + 16
_ROW: Final = _NUMBERS + WIDTH

SIZE: Final = 8 * (_HEADER + ROWS * _ROW)
"""Bytes in all."""

_LOCK: Final = 1 << 20
"""The number of its lock in the memory's file; those of a board's parts are far below."""


class SharedRows:
    """See the module. At an offset of the shared memory, which is a multiple of 8."""

    __slots__ = ("_bytes", "_changes", "_memory", "_numbers", "_places", "_read")

    def __init__(self, memory: SharedMemory, offset: int) -> None:
        self._memory = memory
        self._numbers = memory.doubles(offset, SIZE // 8)
        self._bytes = memory.bytes(offset, SIZE)
        self._places: dict[str, tuple[int, float]] = {}
        """Where the row of a key begins, and its generation."""
        self._read = 0
        """Rows whose keys are known."""
        self._changes = 0.0

    @property
    def news(self) -> float:
        """Another number than before when something has changed that all workers should look at."""
        return self._numbers[_NEWS]

    def tell(self, now: float) -> None:
        """Have all workers look; `now`: of a clock with a fine resolution."""
        self._numbers[_NEWS] = now

    def row(self, key: str, now: float | None = None) -> "memoryview[float] | None":
        """The `WIDTH` numbers of a key, all 0.0 at first; None: there is no room left.

        It is held from now on (monotonic).
        """
        key = _short(key)
        moment = monotonic() if now is None else now
        at = self._find(key)
        if at is None:
            self.lock()
            try:
                at = self._find(key)
                if at is None:
                    at = self._add(key, moment)
            finally:
                self.unlock()
        if at is None:
            return None
        self._numbers[at + _HELD] = moment
        return self._numbers[at + _NUMBERS : at + _ROW]

    def hold(self, key: str, now: float) -> bool:
        """Say that this process goes by a row still; False: it is another key's by now, and lost."""
        at = self._find(_short(key))
        if at is None:
            return False
        self._numbers[at + _HELD] = now
        return True

    def find(self, key: str) -> "memoryview[float] | None":
        """As `row`, for a reader: None when no process has made it."""
        at = self._find(_short(key))
        return None if at is None else self._numbers[at + _NUMBERS : at + _ROW]

    def beginning_with(self, start: str) -> "list[tuple[str, memoryview[float]]]":
        """The keys that begin so, and their rows, for a reader."""
        self._look()
        numbers = self._numbers
        return [
            (key, numbers[at + _NUMBERS : at + _ROW])
            for key, (at, _) in self._places.items()
            if key.startswith(start)
        ]

    def lock(self) -> None:
        """Let no other process past this call until `unlock`: for microseconds."""
        self._memory.wait_for_lock(_LOCK)

    def unlock(self) -> None:
        self._memory.give_up_lock(_LOCK)

    def _find(self, key: str) -> int | None:
        place = self._places.get(key)
        if place is None or self._numbers[place[0] + _GENERATION] != place[1]:
            self._look()
            place = self._places.get(key)
        return None if place is None else place[0]

    def _look(self) -> None:
        """Take in the keys that are new."""
        changes = self._numbers[_CHANGES]
        if changes != self._changes:
            self._changes = changes
            self._places.clear()
            self._read = 0
        used = int(self._numbers[_USED])
        while self._read < used:
            self._take_in(_HEADER + self._read * _ROW)
            self._read += 1

    def _take_in(self, at: int) -> None:
        """Remember the key of a row, unless it is being made another's; that is news, and read again."""
        generation = self._numbers[at + _GENERATION]
        start = 8 * (at + _KEY)
        key = bytes(self._bytes[start : start + int(self._numbers[at + _LENGTH])])
        if generation and generation == self._numbers[at + _GENERATION]:
            self._places[key.decode()] = at, generation

    def _add(self, key: str, now: float) -> int | None:
        """Make a row for a key; the lock is held."""
        numbers = self._numbers
        used = int(numbers[_USED])
        if used < ROWS:
            at = _HEADER + used * _ROW
            self._give(at, key, 1.0)
            numbers[_USED] = used + 1
        else:
            at = min(range(_HEADER, _HEADER + ROWS * _ROW, _ROW), key=self._held)
            if now - numbers[at + _HELD] < HOLD:
                return None
            generation = numbers[at + _GENERATION] + 1.0
            numbers[at + _GENERATION] = 0.0
            numbers[_CHANGES] += 1.0
            self._give(at, key, max(generation, numbers[_CHANGES] + 1.0))
            numbers[_CHANGES] += 1.0
        self._look()
        return at

    def _held(self, at: int) -> float:
        return self._numbers[at + _HELD]

    def _give(self, at: int, key: str, generation: float) -> None:
        """Make a row a key's; last its generation, by which readers see it."""
        encoded = key.encode()
        for number in range(at + _NUMBERS, at + _ROW):
            self._numbers[number] = 0.0
        start = 8 * (at + _KEY)
        self._bytes[start : start + len(encoded)] = encoded
        self._numbers[at + _LENGTH] = len(encoded)
        self._numbers[at + _GENERATION] = generation


def _short(key: str) -> str:
    encoded = key.encode()
    return key if len(encoded) <= MAX_KEY else f"{key[: MAX_KEY // 4]}~{crc32(encoded):08x}~{len(encoded)}"
