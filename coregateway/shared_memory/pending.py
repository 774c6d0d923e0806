"""Log lines on their way out, kept where they survive the process that wrote them.

The log writer collects lines for some milliseconds. When its process is killed in that time, the process that
finds it dead writes the lines that are left here, so that no finished request goes without its line.
"""

from coregateway.shared_memory.memory import SharedMemory

CAPACITY = 128 * 1024
"""Bytes of lines that are kept, per process; what a stalled reader leaves waiting beyond them is not."""

SIZE = 16 + CAPACITY
"""Bytes in all: two numbers, where the lines begin and where they end, and the lines."""


class Pending:
    """The lines of one process that have not left yet, at an offset of the shared memory.

    It is told of every line, and holds the oldest ones that there is room for. A process that begins to write
    here calls `take` first: one that died may have left lines, or another process may have taken them since.
    """

    def __init__(self, memory: SharedMemory, offset: int) -> None:
        self._range = memory.doubles(offset, 2)
        self._bytes = memory.bytes(offset + 16, CAPACITY)
        self._end = int(self._range[1])
        self._beyond = 0  # bytes that wait and found no room

    def add(self, line: bytes) -> None:
        """A line was collected. From the first one that finds no room, none is kept until all have left."""
        end = self._end
        after = end + len(line)
        if after > CAPACITY or self._beyond:
            self._beyond += len(line)
        else:
            self._bytes[end:after] = line
            # Last: a line whose writer dies within this function is whole, or is not there.
            self._range[1] = self._end = after

    def left(self, count: int) -> None:
        """So many more bytes have left the process, the oldest first."""
        start = int(self._range[0]) + count
        if start < self._end:
            self._range[0] = start
            return
        beyond = self._beyond - (start - self._end)
        if beyond > 0:
            self._range[0] = self._end
            self._beyond = beyond
        else:
            self.clear()

    def dropped(self, line: bytes) -> None:
        """The line that was added last will not leave: too much waits. There was no room for it here."""
        self._beyond -= len(line)

    def clear(self) -> None:
        """Nothing waits any more."""
        # In this order, so that the same lines are never found again.
        self._range[0] = self._range[1]
        self._range[1] = self._end = 0
        self._range[0] = 0
        self._beyond = 0

    def take(self) -> bytes:
        """The whole lines that a dead process left behind, once."""
        data = bytes(self._bytes[int(self._range[0]) : int(self._range[1])])
        self.clear()
        # It may have died between two writes of one line.
        return data[: data.rfind(b"\n") + 1]
