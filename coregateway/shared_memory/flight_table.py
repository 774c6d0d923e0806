"""How many requests of each key are in flight, over all workers of the node.

A cell has the mark of a key (`rate_table`) and a number for each part of the board, which that part's process
alone changes: their sum is what is in flight. So the requests of a worker that was killed are forgotten at
once, by its column (`clear`). A cell whose sum is 0 is free. Each set of `WAYS` cells has a lock, as in
`rate_table`; where all of its cells are in use, a further key is not counted, and the table says so.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.shared_locks import SharedLocks
from coregateway.shared_memory.shared_locks import size_of as locks_size

CELLS: Final = 1 << 14
"""Keys with requests in flight, at most about."""

WAYS: Final = 8
_SETS: Final = CELLS // WAYS

LOCKS: Final = 64

NOWHERE: Final = -1
"""In the place of a cell: there was none left, and the request is not counted."""

REFUSED: Final = -2
"""In the place of a cell: as many as may be are in flight."""


def size_of(parts: int) -> int:
    """Bytes of the table of a board with so many parts. Pages that were never written cost nothing."""
    return locks_size(LOCKS) + 8 * (1 + parts) + 8 * CELLS * (1 + parts)


@mypyc_attr(acyclic=True)
class FlightTable:
    """At an offset of the shared memory, a multiple of 64. `fresh`: nothing stands there yet."""

    __slots__ = ("_cells", "_header", "_width", "locks")

    def __init__(self, memory: SharedMemory, offset: int, parts: int, *, fresh: bool) -> None:
        self._width = 1 + parts
        self.locks = SharedLocks(memory, offset, LOCKS, fresh=fresh)
        offset += locks_size(LOCKS)
        self._header = memory.integers(offset, self._width)
        """How many requests were not counted, and whether each part has ever counted any."""
        self._cells = memory.integers(offset + 8 * self._width, CELLS * self._width)

    def take(self, mark: int, part: int, most: int) -> int:
        """Count one more request of a key, unless `most` are in flight: `REFUSED`. Returns its cell."""
        held = self.locks.hold(mark % LOCKS)
        try:
            cell = self._find(mark)
            if cell == NOWHERE:
                self._header[0] += 1
                return NOWHERE
            cells = self._cells
            if cells[cell] == mark:
                if self._sum(cell) >= most:
                    return REFUSED
            else:
                cells[cell] = mark
            cells[cell + 1 + part] += 1
            self._header[1 + part] = 1
            return cell
        finally:
            if held:
                self.locks.let_go(mark % LOCKS)

    def give_back(self, mark: int, part: int, cell: int) -> None:
        """A request has ended, whose cell `take` has returned; it stays the key's until then."""
        if cell < 0:
            return
        held = self.locks.hold(mark % LOCKS)
        try:
            cells = self._cells
            if cells[cell] == mark and cells[cell + 1 + part] > 0:
                cells[cell + 1 + part] -= 1
                if not self._sum(cell):
                    cells[cell] = 0
        finally:
            if held:
                self.locks.let_go(mark % LOCKS)

    def in_flight(self, mark: int) -> int:
        """Requests of a key, at the moment."""
        cell = self._find(mark)
        return self._sum(cell) if cell >= 0 and self._cells[cell] == mark else 0

    def clear(self, part: int) -> None:
        """Forget the requests of a part whose process has ended. Takes some milliseconds."""
        if not self._header[1 + part]:
            return
        self._header[1 + part] = 0
        cells = self._cells
        for number in range(CELLS):
            cell = number * self._width
            if cells[cell] and cells[cell + 1 + part]:
                lock = cells[cell] % LOCKS
                held = self.locks.hold(lock)
                cells[cell + 1 + part] = 0
                if not self._sum(cell):
                    cells[cell] = 0
                if held:
                    self.locks.let_go(lock)

    @property
    def uncounted(self) -> int:
        """How many requests found no cell."""
        return self._header[0]

    def _find(self, mark: int) -> int:
        """The cell of a mark, or a free one that it may get; `NOWHERE`: there is none."""
        cells = self._cells
        width = self._width
        first = WAYS * width * (mark % _SETS)
        free = NOWHERE
        for cell in range(first, first + WAYS * width, width):
            found = cells[cell]
            if found == mark:
                return cell
            if not found and free < 0:
                free = cell
        return free

    def _sum(self, cell: int) -> int:
        total = 0
        for count in self._cells[cell + 1 : cell + self._width]:
            total += count
        return total
