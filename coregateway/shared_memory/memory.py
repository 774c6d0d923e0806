"""Memory that every process of a node maps: an anonymous file (memfd_create(2)) that ends with the last."""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from mmap import mmap
from multiprocessing.reduction import DupFd
from typing import Any


class SharedMemory:
    """`size` bytes, all zero at first. Untouched pages cost nothing.

    Pickled for a process that is being started, it becomes that process's view of the same bytes.
    """

    def __init__(self, size: int, descriptor: int | None = None) -> None:
        if descriptor is None:
            descriptor = os.memfd_create("coregateway")
            os.ftruncate(descriptor, size)
        self.size = size
        self._descriptor = descriptor
        self._bytes = memoryview(mmap(descriptor, size))
        self._locked: set[int] = set()

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):  # it was never opened
            os.close(self._descriptor)

    def __reduce__(self) -> tuple[Callable[..., "SharedMemory"], tuple[Any, ...]]:
        return _inherit, (self.size, DupFd(self._descriptor))

    def bytes(self, offset: int, length: int) -> "memoryview[int]":
        """A writable view of so many bytes."""
        return self._bytes[offset : offset + length]

    def doubles(self, offset: int, count: int) -> "memoryview[float]":
        """A writable view of so many numbers of 8 bytes. `offset` in bytes, a multiple of 8.

        An item is read and written in one piece: it is aligned, and processors move aligned words whole.
        """
        return self._bytes[offset : offset + 8 * count].cast("d")

    def integers(self, offset: int, count: int) -> "memoryview[int]":
        """As `doubles`, of whole numbers with a sign."""
        return self._bytes[offset : offset + 8 * count].cast("q")

    def words(self, offset: int, count: int) -> "memoryview[int]":
        """A writable view of so many whole numbers of 4 bytes, without a sign. `offset`: a multiple of 4."""
        return self._bytes[offset : offset + 4 * count].cast("I")

    def fractions(self, offset: int, count: int) -> "memoryview[float]":
        """As `words`, of numbers with seven digits."""
        return self._bytes[offset : offset + 4 * count].cast("f")

    def lock(self, number: int) -> bool:
        """Take lock `number` for this process; False when another one, or an earlier call, has it.

        The kernel lets go of it when the process ends, however it ends (fcntl(2), record locks).
        """
        if number in self._locked:
            return False
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError:
            return False
        self._locked.add(number)
        return True

    def unlock(self, number: int) -> None:
        """Give back a lock that `lock` has taken."""
        self._locked.discard(number)
        self.give_up_lock(number)

    def wait_for_lock(self, number: int) -> None:
        """As `lock`, but wait for it; for an instant only, and `give_up_lock` must follow."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, number)

    def give_up_lock(self, number: int) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, number)


def _inherit(size: int, handle: Any) -> SharedMemory:
    return SharedMemory(size, handle.detach())
