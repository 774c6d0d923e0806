"""What both sides' strategies share: places where grammars decide, small wounds, segmentations."""

from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

chances = st.integers(0, 63)
places = st.integers(0, 1 << 16)

_EDGES = frozenset(b"\r\n: /;")
_DENSE = 600  # bytes from the beginning in which edges are looked for


def rarely(draw: DrawFn) -> bool:
    """For what takes seconds."""
    return draw(places) % 1024 == 17


def tokens(known: tuple[bytes, ...]) -> SearchStrategy[bytes]:
    """What a wound may put in: mostly something known to be awkward."""
    return st.one_of(st.sampled_from(known), st.sampled_from(known), st.binary(min_size=1, max_size=3))


def _somewhere(raw: bytes, place: int) -> int:
    """A place in `raw`: beside a delimiter as a rule, anywhere sometimes."""
    edges = [at for at, byte in enumerate(raw[:_DENSE]) if byte in _EDGES]
    if edges and place % 4:
        return edges[place // 8 % len(edges)] + (place >> 2 & 1)
    return place % (len(raw) + 1)


def wounded(draw: DrawFn, raw: bytes, token: SearchStrategy[bytes]) -> bytes:
    """`raw` with one to three wounds: something put in, taken out, exchanged, doubled, or cut off."""
    for _ in range((1, 1, 1, 2, 2, 3)[draw(chances) % 6]):
        at, kind = _somewhere(raw, draw(places)), draw(chances)
        length = 1 + draw(chances) % (4 if kind % 4 else 40)
        if kind < 30:
            raw = raw[:at] + draw(token) + raw[at:]
        elif kind < 42:
            raw = raw[:at] + draw(token) + raw[at + length :]
        elif kind < 52:
            raw = raw[:at] + raw[at + length :]
        elif kind < 60:
            raw = raw[: at + length] + raw[at : at + length] + raw[at + length :]
        else:
            raw = raw[:at]
    return raw


def cuts(draw: DrawFn, raw: bytes) -> tuple[int, ...]:
    """Where to cut `raw` into segments: mostly nowhere, sometimes here and there, seldom after every byte."""
    kind = draw(chances)
    if kind > 61 and len(raw) < 200:
        return tuple(range(1, len(raw)))
    if kind > 40:
        return tuple(sorted({_somewhere(raw, draw(places)) for _ in range(1 + kind % 3)} - {0, len(raw)}))
    return ()


def pieces(raw: bytes, at: tuple[int, ...]) -> list[bytes]:
    """`raw` cut there."""
    edges = [0, *at, len(raw)]
    return [raw[start:end] for start, end in pairwise(edges)]
