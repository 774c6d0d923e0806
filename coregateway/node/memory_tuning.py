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
"""Collections of the middle generation before one of the oldest, per worker; Python's default is 10.

Only a collection of the oldest generation finds most connections and settings that have ended. With 10, they
grew to some 25,000 allocations, 3 MiB, before it came (100 exchanges of all kinds a second in a worker). It
passes over what `settle` has frozen; and where many objects live, Python waits until a quarter as many have
come.
"""


def settle() -> None:
    """Keep freed memory for the next body, and collect only what is made from now on. For each worker."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # which other libraries than glibc lack
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, KEPT)
        mallopt(_M_MMAP_THRESHOLD, OWN_PAGES)
    gc.collect()
    gc.freeze()
    gc.collect()  # Python now counts the oldest generation anew, without what is frozen
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, OLD)
