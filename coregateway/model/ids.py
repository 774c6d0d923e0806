"""Random ids, for requests, traces and spans."""

from os import urandom


def new_id(size: int) -> str:
    """So many random bytes from the kernel, as lower-case hexadecimal digits."""
    return urandom(size).hex()
