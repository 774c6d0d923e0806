"""What a worker does with its memory once all that it needs for good is there.

Bodies come in pieces of some 128 KiB, and glibc gives the end of its heap back to the kernel as soon as one
of them is free: with each large body pages would go and come again, cleared by the kernel each time. And the
collector of Python would look again and again at objects that live as long as the worker.
"""

import ctypes
import gc

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
"""See mallopt(3)."""

KEPT = 8 << 20
"""Bytes of free memory at the end of the heap that a worker keeps.

50 answers of 1 MiB over TLS cost a fifth less CPU so than with 2 MiB, and no less with 32 MiB.
"""

OWN_PAGES = 1 << 20
"""Bytes of an allocation from which on it has pages of its own, which go when it does."""

OLD = 2
"""Collections of what is middle-aged before one of what is old, where Python has 10.

Connections and settings that have ended are found in the last alone, and wait until then: some 25,000
allocations, 3 MiB, at 100 exchanges of all kinds a second. It takes a millisecond: what lives as long as the
worker is not looked at, and where much else lives, Python waits until a quarter as much has come.
"""


def settle() -> None:
    """Keep freed memory for the next body, and collect only what is made from now on. For each worker."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # which other libraries than glibc lack
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, KEPT)
        mallopt(_M_MMAP_THRESHOLD, OWN_PAGES)
    gc.collect()
    gc.freeze()
    gc.collect()  # which has Python count what is old without what is frozen
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, OLD)
