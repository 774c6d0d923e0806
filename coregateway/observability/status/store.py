"""How the store of rates is, by what each worker notes of it in its part of the shared memory."""

from collections.abc import Iterable
from typing import Final

from coregateway.shared_memory import Part

STORE: Final = "rate_store"
"""The key of the number in which a worker notes it; 0.0: it has none."""

UP: Final = 1.0
DOWN: Final = 2.0


def store_answers(parts: Iterable[Part]) -> bool | None:
    """Whether it answers each of these workers; None: none of them has one."""
    noted = [part.series.numbers[at] for part in parts if (at := part.series.find(STORE)) is not None]
    known = [each for each in noted if each]
    return all(each == UP for each in known) if known else None
