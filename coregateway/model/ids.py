"""Random ids, for requests, traces and spans.

They tell requests apart, and protect nothing: a generator that the kernel seeds once per process makes them
without a system call each.
"""

import os
from random import Random

_random = Random()
os.register_at_fork(after_in_child=_random.seed)
_draw = _random.getrandbits


def new_id(size: int) -> str:
    """So many random bytes, as lower-case hexadecimal digits."""
    return _draw(size * 8).to_bytes(size).hex()
