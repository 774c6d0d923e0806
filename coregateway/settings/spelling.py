"""What a mistyped word may have meant."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

ALIKE = 0.75
"""Of `difflib`'s ratio, from which on two words resemble each other."""


def closest(word: str, candidates: Sequence[str]) -> str | None:
    """The candidate that resembles a word most, if one does."""
    return next(iter(get_close_matches(word, candidates, n=1, cutoff=ALIKE)), None)


def slip_of(typed: str, candidates: Iterable[str]) -> str | None:
    """The candidate of which a word is one slip of the fingers away, however short it is."""
    return next((meant for meant in candidates if is_slip(typed, meant)), None)


def is_slip(typed: str, meant: str) -> bool:
    """Whether two neighbours changed places, or one character but the first is missing, added or another."""
    longer, shorter = (typed, meant) if len(typed) > len(meant) else (meant, typed)
    if typed == meant or len(longer) - len(shorter) > 1:
        return False
    same = next(
        (at for at, pair in enumerate(zip(longer, shorter, strict=False)) if len({*pair}) > 1), len(shorter)
    )
    if len(longer) > len(shorter):
        return same > 0 and longer[same + 1 :] == shorter[same:]
    swapped = longer[:same] + longer[same : same + 2][::-1] + longer[same + 2 :]
    return swapped == shorter or (same > 0 and longer[same + 1 :] == shorter[same + 1 :])
