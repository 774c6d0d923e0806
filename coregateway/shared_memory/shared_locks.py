"""Locks between the processes of a node, for writes that must not lose one another: held for microseconds.

A lock is a POSIX semaphore (sem_init(3)) in the node's memory, taken by the type on which `multiprocessing`
builds its own: free, it costs a tenth of a microsecond, where a robust mutex by `ctypes` costs one. Beside it
stands the id of the process that holds it. A process that dies holding one blocks no other for longer than
`PATIENCE`: the first that waits in vain sees that the holder has ended, and takes its place. Of one that was
stopped (SIGSTOP) the others wait `PATIENCE` once in each `REST`, and go without the lock until it goes on.
"""

import ctypes
import os
from importlib import import_module
from time import monotonic
from typing import Any, Final, cast

from coregateway.shared_memory.memory import SharedMemory

STRIDE: Final = 64
"""Bytes of a lock: the semaphore, and from `_HOLDER` on its holder. Each has a cache line of its own."""

_HOLDER: Final = 48

_SEMAPHORE: Final = 1
"""Of `SemLock`: not bound to a thread."""

PATIENCE: Final = 0.002
"""Seconds, at most, that a process waits for a lock."""

REST: Final = 0.25
"""Seconds in which it does not wait again for one that it has waited for in vain."""

ANONYMOUS: Final = 1.0
"""Seconds in which none has said that it holds a lock until that counts as one that has died."""

_TAKE_OVER: Final = 1 << 21
"""The number of the memory's own lock within which a lock is taken from a dead process."""


def size_of(count: int) -> int:
    """Bytes of so many locks."""
    return count * STRIDE


class SharedLocks:
    """`count` locks at an offset of the shared memory, a multiple of `STRIDE`; for one thread a process.

    `fresh`: nothing stands there yet.
    """

    __slots__ = ("_acquire", "_holders", "_memory", "_release", "_tired_until", "_unnamed", "owner", "waits")

    def __init__(self, memory: SharedMemory, offset: int, count: int, *, fresh: bool) -> None:
        self._memory = memory
        self.owner = os.getpid()
        """The id of this process."""
        self._holders = memory.integers(offset, count * STRIDE // 8)
        self.waits = 0
        """How often this process went without a lock."""
        self._tired_until = 0.0
        self._unnamed: dict[int, tuple[float, float]] = {}
        """Of locks that are held with no process id beside them: when that was seen first, and last."""
        first = ctypes.addressof(ctypes.c_char.from_buffer(memory.bytes(offset, size_of(count))))
        if fresh:
            library = ctypes.CDLL(None, use_errno=True)
            for number in range(count):
                address = ctypes.c_void_p(first + number * STRIDE)
                if library.sem_init(address, ctypes.c_int(1), ctypes.c_uint(1)):
                    raise OSError(ctypes.get_errno(), "sem_init")
        # As `multiprocessing` itself, where a process was forked.
        rebuild = cast(Any, import_module("_multiprocessing")).SemLock._rebuild
        semaphores = [rebuild(first + number * STRIDE, _SEMAPHORE, 1, None) for number in range(count)]
        for each in semaphores:  # whose end would call sem_close(3), which is for those with a name
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))
        self._acquire = [each.acquire for each in semaphores]
        self._release = [each.release for each in semaphores]

    def hold(self, number: int) -> bool:
        """Take a lock; False: it cannot be had in time, and the caller goes without it."""
        if self._acquire[number](False):
            self._holders[(number * STRIDE + _HOLDER) // 8] = self.owner
            return True
        return self._wait(number)

    def let_go(self, number: int) -> None:
        """Give back a lock that `hold` has taken."""
        self._holders[(number * STRIDE + _HOLDER) // 8] = 0
        try:  # noqa: SIM105 -- which takes a third of a microsecond, of each request with a rate
            self._release[number]()
        except ValueError:  # another process took this one for dead, and has given it back
            pass

    def bury(self, owner: int) -> None:
        """Give back what a process held that has ended."""
        for number in range(len(self._release)):
            place = (number * STRIDE + _HOLDER) // 8
            if self._holders[place] == owner and self._take_over(place, owner):
                self.let_go(number)

    def _wait(self, number: int) -> bool:
        if monotonic() < self._tired_until:
            self.waits += 1
            return False
        place = (number * STRIDE + _HOLDER) // 8
        if self._acquire[number](True, PATIENCE):
            self._holders[place] = self.owner
            return True
        holder = self._holders[place]
        if self._is_dead(number, holder):
            if self._take_over(place, holder):
                return True
            if self._acquire[number](True, PATIENCE):  # another process took it over, and is done with it
                self._holders[place] = self.owner
                return True
        self._tired_until = monotonic() + REST
        self.waits += 1
        return False

    def _is_dead(self, number: int, holder: int) -> bool:
        """Whether the holder has ended; 0: none stands there, and so it was for `ANONYMOUS` seconds.

        A process that lives stands there for all but an instant, in which the system may hold it up.
        """
        if holder:
            return not _lives(holder)
        now = monotonic()
        first, last = self._unnamed.get(number, (now, now))
        if now - last > 4 * REST:
            first = now
        self._unnamed[number] = first, now
        return now - first > ANONYMOUS

    def _take_over(self, place: int, holder: int) -> bool:
        """Take the place of a holder that has ended, unless another process was first.

        0: it died before it could write its process id, or after that; or it was held up just there, for
        long. Then two may hold the lock for an instant, which is no worse than to go without it.
        """
        self._memory.wait_for_lock(_TAKE_OVER)
        try:
            if self._holders[place] != holder:
                return False
            self._holders[place] = self.owner
            return True
        finally:
            self._memory.give_up_lock(_TAKE_OVER)


def _lives(process: int) -> bool:
    if not process:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # under another user
        pass
    return True
