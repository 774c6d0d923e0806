"""What the node keeps of the keys of rates: for each one number, a time in nanoseconds (`policy.gcra`).

A table of `CELLS` cells of 16 bytes: a mark, which is a hash of the key that no client can steer, and the
time at which all that the key has sent is paid for. A cell whose time has passed says nothing any more, and
is free for another key: nothing need be swept. A mark leads to one set of `WAYS` cells. Where all of those
are in use, a new key takes the place of the one whose time is the next to pass, which is counted.

A set is read and written under one of `LOCKS` locks (`shared_locks`): `hold` first, `let_go` then. So no take
of a worker loses that of another.
"""

import os
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from mypy_extensions import mypyc_attr

from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.shared_locks import SharedLocks
from coregateway.shared_memory.shared_locks import size_of as locks_size

CELLS: Final = 1 << 18
"""Keys of all rates of the node that can be behind at one time, about."""

WAYS: Final = 8
_SETS: Final = CELLS // WAYS

LOCKS: Final = 64

_SECRET: Final = 16
"""Bytes of the key of the hash; one of each node."""

_HEADER: Final = 64
_EVICTIONS: Final = 2
"""Among the numbers of the header, behind the secret."""

SIZE: Final = _HEADER + locks_size(LOCKS) + 16 * CELLS
"""Bytes in all. Pages that were never written cost nothing."""

_MARK_BITS: Final = 61
"""Of a mark: so many make a number that the compiler keeps in a register."""


@mypyc_attr(acyclic=True)
class RateTable:
    """At an offset of the shared memory, a multiple of 64. `fresh`: nothing stands there yet."""

    __slots__ = ("_header", "_secret", "_times", "locks")

    def __init__(self, memory: SharedMemory, offset: int, *, fresh: bool) -> None:
        secret = memory.bytes(offset, _SECRET)
        if fresh:
            secret[:] = os.urandom(_SECRET)
        self._secret = bytes(secret)
        self._header = memory.integers(offset, _HEADER // 8)
        self.locks = SharedLocks(memory, offset + _HEADER, LOCKS, fresh=fresh)
        self._times = memory.integers(offset + _HEADER + locks_size(LOCKS), 2 * CELLS)
        """The mark of each cell, and its time."""

    def mark(self, key: bytes) -> int:
        """The mark of a key, not 0: the same in all workers of the node."""
        digest = blake2b(key, digest_size=8, key=self._secret).digest()
        return int.from_bytes(digest) >> (64 - _MARK_BITS) or 1

    def hold(self, mark: int) -> int:
        """Let no other process at the set of a mark, for microseconds; returns what `let_go` takes then.

        -1: the lock could not be had, and what follows may lose a take.
        """
        number = mark % LOCKS
        return number if self.locks.hold(number) else -1

    def let_go(self, held: int) -> None:
        """Let others at it; `held`: what `hold` has returned."""
        if held >= 0:
            self.locks.let_go(held)

    def hold_all(self, marks: Iterable[int]) -> list[int]:
        """As `hold`, for several marks; `let_go` each of what it returns.

        All processes take locks in one order, so that none waits for another in a circle.
        """
        return [number for number in sorted({mark % LOCKS for mark in marks}) if self.locks.hold(number)]

    def find(self, mark: int, now: int) -> int:
        """The cell of a mark, or the one that it would get. For `time` and `write`, while the set is held.

        `now`: in nanoseconds of the monotonic clock.
        """
        times = self._times
        first = 2 * WAYS * (mark % _SETS)
        free = -1
        oldest = first
        earliest = 0
        for cell in range(first, first + 2 * WAYS, 2):
            if times[cell] == mark:
                return cell
            if free < 0:
                time = times[cell + 1]
                if time <= now:
                    free = cell
                elif not earliest or time < earliest:
                    earliest = time
                    oldest = cell
        return free if free >= 0 else oldest

    def time(self, cell: int, mark: int) -> int:
        """The time of a mark, by the cell that `find` has told; 0: nothing is known of it."""
        return self._times[cell + 1] if self._times[cell] == mark else 0

    def write(self, cell: int, mark: int, time: int, now: int) -> None:
        """Keep the time of a mark, in the cell that `find` has told at this moment."""
        times = self._times
        if times[cell] != mark:
            if times[cell] and times[cell + 1] > now:
                self._header[_EVICTIONS] += 1
            # In this order: a process that dies within it leaves a free cell, and no key another's time.
            times[cell] = 0
            times[cell + 1] = time
            times[cell] = mark
        else:
            times[cell + 1] = time

    @property
    def evictions(self) -> int:
        """How many keys the node has forgotten before their time."""
        return self._header[_EVICTIONS]
