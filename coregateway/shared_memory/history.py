"""What was counted in equal spans of time, by name: seconds for some minutes, and minutes for an hour.

Each name has a lane of rows, one for a span, the oldest overwritten by the newest. One process of the node
writes at a time, the one that holds the memory's lock for it; when that ends, another takes the lock and goes
on from what the lane says was counted until then. So what a process has counted before it died is in the next
row, for its counters lie in its own part of the board.
"""

from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.series import MAX_KEY

KINDS: Final = 4
"""Outcomes that are counted apart: answered (1xx to 3xx), 4xx, 5xx, and clients that left."""

BUCKETS: Final = 15
"""Of the histogram of times, the one above all bounds included."""

AMOUNTS: Final = KINDS + BUCKETS + 3
"""Numbers of a row: the outcomes, the histogram, the seconds in it, and the bytes of bodies, in and out."""

_WHEN: Final = 0
_SPAN: Final = 1
_FIRST: Final = 2
_WHOLE: Final = KINDS + BUCKETS
"""Amounts from this one on are kept as fractions, with seven digits."""

WORDS: Final = _FIRST + AMOUNTS
"""Of 4 bytes, in a row."""

_NAME: Final = 8 + MAX_KEY
_WRITTEN: Final = _NAME
_HEADER: Final = _NAME + 8 + 8 * AMOUNTS
"""Bytes before the rows of a lane: its name, when it was written last, and what was counted until then."""

MOST: Final = 0xFFFF_FFFF
"""No count goes beyond it."""

_WRITER: Final = 1 << 22
"""The number of the writer's lock in the memory's file; those of a board's parts are far below."""


_NOTHING: Final = memoryview(array("I", [0] * WORDS))
"""A row in which nothing stands."""


class Row(NamedTuple):
    """A span of time."""

    when: int
    """Its beginning, in seconds since the epoch."""
    span: float
    """Seconds in which these were counted: more than it is long where nothing was written before, and less
    while it lasts."""
    amounts: list[float]


def size_of(lanes: int, rows: int) -> int:
    """Bytes of a table. Pages that were never written cost nothing."""
    return 8 + lanes * _lane_size(rows)


def _lane_size(rows: int) -> int:
    return _HEADER + -(-4 * WORDS * rows // 8) * 8


class Lanes:
    """`lanes` lanes of `rows` rows of `seconds` each, at an offset of the shared memory, a multiple of 8.

    `is_reused`: a lane that was not written for as long as its rows reach may become another name's. Else the
    first names have the lanes for good.
    """

    def __init__(
        self, memory: SharedMemory, offset: int, lanes: int, rows: int, seconds: int, *, is_reused: bool
    ) -> None:
        size = size_of(lanes, rows)
        self._bytes = memory.bytes(offset, size)
        self._doubles = memory.doubles(offset, size // 8)
        self._words = memory.words(offset, size // 4)
        self._fractions = memory.fractions(offset, size // 4)
        self._lanes = lanes
        self._rows = rows
        self.seconds = seconds
        self._is_reused = is_reused
        self._size = _lane_size(rows)
        self._places: dict[bytes, int] = {}
        """Where the lane of a name was found."""
        self._read = 0
        """Lanes whose names are known."""
        self._full_until = 0.0
        """Before this moment no lane falls free."""

    # For the writer

    def lane(self, name: str, now: float) -> int | None:
        """Where the lane of a name begins, in bytes; None: all are others'. `now`: since the epoch."""
        encoded = name.encode()[:MAX_KEY]
        if now < self._full_until and encoded not in self._places:
            return None
        at = self._find(encoded)
        if at is not None:
            return at
        used = int(self._doubles[0])
        if used < self._lanes:
            at = 8 + used * self._size
            self._give(at, encoded, now)
            self._doubles[0] = used + 1
            return at
        if not self._is_reused:
            return None
        oldest = min((8 + number * self._size for number in range(used)), key=self._written)
        free = self._written(oldest) + self._rows * self.seconds
        if now < free:
            self._full_until = free
            return None
        self._give(oldest, encoded, now)
        return oldest

    def written(self, name: str) -> float:
        """When the lane of a name was written last, in seconds since the epoch; 0.0: it has none."""
        at = self._find(name.encode()[:MAX_KEY])
        return 0.0 if at is None else self._written(at)

    def counted(self, lane: int) -> list[float]:
        """What was counted of a name until its lane was written last, from the beginning."""
        first = (lane + _WRITTEN) // 8 + 1
        return cast(list[float], self._doubles[first : first + AMOUNTS].tolist())  # typeshed says int

    def note_counted(self, lane: int, amounts: Sequence[float]) -> None:
        """Note what was counted of a name from the beginning until now."""
        first = (lane + _WRITTEN) // 8 + 1
        self._doubles[first : first + AMOUNTS] = memoryview(array("d", amounts))

    def add(self, lane: int, now: float, span: float, amounts: Sequence[float]) -> None:
        """Add what was counted in the last `span` seconds to the row of `now`."""
        slot = int(now) // self.seconds
        at = (lane + _HEADER) // 4 + slot % self._rows * WORDS
        words = self._words
        when = slot * self.seconds
        if words[at + _WHEN] != when:
            words[at : at + WORDS] = _NOTHING
        row = words[at + _SPAN : at + _FIRST + _WHOLE].tolist()
        row[0] = min(row[0] + int(1000 * span + 0.5), MOST)
        for number in range(_WHOLE):
            amount = amounts[number]
            if amount:
                row[1 + number] = min(row[1 + number] + int(amount), MOST)
        words[at + _SPAN : at + _FIRST + _WHOLE] = memoryview(array("I", row))
        for number in range(at + _FIRST + _WHOLE, at + WORDS):
            self._fractions[number] += amounts[number - at - _FIRST]
        words[at + _WHEN] = when
        self._doubles[(lane + _WRITTEN) // 8] = now

    # For readers

    def read(self, name: str, now: float) -> list[Row]:
        """The rows of a name, oldest first; spans in which nothing was counted are not there."""
        lane = self._find(name.encode()[:MAX_KEY])
        if lane is None:
            return []
        since = (int(now) // self.seconds - self._rows + 1) * self.seconds
        found: list[Row] = []
        first = (lane + _HEADER) // 4
        for at in range(first, first + self._rows * WORDS, WORDS):
            when = self._words[at + _WHEN]
            if when < since:
                continue
            start = at + _FIRST
            counts = self._words[start : start + _WHOLE].tolist()
            # typeshed says that these are whole, too
            fractions = cast(list[float], self._fractions[start + _WHOLE : start + AMOUNTS].tolist())
            amounts = [*map(float, counts), *fractions]
            row = Row(when, self._words[at + _SPAN] / 1000, amounts)
            if self._words[at + _WHEN] == when:
                found.append(row)
        return sorted(found)

    def _find(self, encoded: bytes) -> int | None:
        lane = self._places.get(encoded)
        if lane is None or self._name(lane) != encoded:
            if self._is_reused:
                self._places.clear()
                self._read = 0
            while self._read < int(self._doubles[0]):
                at = 8 + self._read * self._size
                self._places[self._name(at)] = at
                self._read += 1
            lane = self._places.get(encoded)
        return lane

    def _name(self, lane: int) -> bytes:
        return bytes(self._bytes[lane + 8 : lane + 8 + int(self._doubles[lane // 8])])

    def _written(self, lane: int) -> float:
        return self._doubles[(lane + _WRITTEN) // 8]

    def _give(self, lane: int, encoded: bytes, now: float) -> None:
        """Make a lane a name's, without rows."""
        self._doubles[lane // 8] = 0.0
        for number in range((lane + _NAME) // 8, (lane + self._size) // 8):
            self._doubles[number] = 0.0
        self._bytes[lane + 8 : lane + 8 + len(encoded)] = encoded
        self._doubles[(lane + _WRITTEN) // 8] = now
        self._doubles[lane // 8] = len(encoded)


LANES: Final = 1024
"""Names, that of the whole node among them, with the minutes of an hour."""

MINUTES: Final = 61

FINE_LANES: Final = 33
"""Of these, as many as may have seconds at a time: those that were counted first, while they are."""

SECONDS: Final = 300

SIZE: Final = size_of(LANES, MINUTES) + size_of(FINE_LANES, SECONDS)
"""Bytes in all: below 8 MiB."""


class History:
    """The last hour of the node, at an offset of the shared memory."""

    def __init__(self, memory: SharedMemory, offset: int) -> None:
        self.minutes = Lanes(memory, offset, LANES, MINUTES, 60, is_reused=False)
        offset += size_of(LANES, MINUTES)
        self.seconds = Lanes(memory, offset, FINE_LANES, SECONDS, 1, is_reused=True)
        self._memory = memory
        self._is_writer = False

    def may_write(self) -> bool:
        """Whether this process is the writer from now on: no other is."""
        if not self._is_writer:
            self._is_writer = self._memory.lock(_WRITER)
        return self._is_writer

    def leave(self) -> None:
        """Let another process be the writer."""
        if self._is_writer:
            self._is_writer = False
            self._memory.unlock(_WRITER)
