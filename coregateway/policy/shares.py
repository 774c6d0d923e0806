"""Which of several backends gets a request: by weight, by a key that keeps a user where it is, or by name.
Pure.

A key is hashed to a point of a line on which each backend has a part as long as its weight. The first backend
lies between the others, so that to raise the weight of one of two others, at the cost of the first, moves
users into that one and moves no other user.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from mypy_extensions import mypyc_attr

from coregateway.http1.request import RequestHead

_BITS: Final = 64

_GOLDEN: Final = 0.6180339887498949
"""The steps of the sequence of points: any run of them lies evenly on the line (Weyl), so that shares hold
after a few requests, where random points would need thousands."""

WEIGHT: Final = "weight"
STICKY: Final = "sticky"
FORCE: Final = "force"
WAYS: Final = (WEIGHT, STICKY, FORCE)
"""How a backend may have been chosen."""

_is_cookie_name: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch


@mypyc_attr(acyclic=True)
class Shares:
    """The backends of one route with their weights; `route` makes keys fall elsewhere on another route.

    Points of one worker follow one another: two workers that begin at other points differ, and keep the
    shares just as well.
    """

    __slots__ = ("_bounds", "_line", "_point", "_seed", "_total", "names", "weights")

    def __init__(self, weights: Mapping[str, int], route: str, begin: float = 0.0) -> None:
        """`weights`: whole numbers, 0 or more, not all 0. `begin`: from 0 to 1."""
        self.names = tuple(weights)
        self.weights = dict(weights)
        self._seed = blake2b(route.encode(), digest_size=16).digest()
        line = (*self.names[2::2], self.names[0], *self.names[1::2])
        self._line = tuple(name for name in line if weights[name])
        self._total = sum(weights.values())
        self._bounds: list[int] = []
        bound = 0
        for name in self._line:
            bound += weights[name]
            self._bounds.append(bound)
        self._point = begin

    def next(self) -> str:
        """The backend of the next request without a key."""
        self._point = (self._point + _GOLDEN) % 1.0
        return self._at(self._point * self._total)

    def of_key(self, key: bytes) -> str:
        """The backend of a key: the same in every worker, on every node, and after every start."""
        number = int.from_bytes(blake2b(key, digest_size=_BITS // 8, key=self._seed).digest())
        return self._at((number * self._total) >> _BITS)

    def _at(self, point: float) -> str:
        for number, bound in enumerate(self._bounds):
            if point < bound:
                return self._line[number]
        return self._line[-1]  # a point that was rounded up to the end of the line


def values_of_field(head: RequestHead, name: bytes) -> list[bytes]:
    """The values of all lines of a field; `name` in lower case."""
    noted = head.noted.get(name)
    if noted is not None:
        return [noted]
    found: list[bytes] = []
    for line in head.lines:
        field, _, value = line.partition(b":")
        if len(field) == len(name) and field.lower() == name:
            found.append(value.strip(b" \t"))
    return found


def value_of_cookie(head: RequestHead, name: bytes) -> bytes | None:
    """The value of the first cookie of this name (RFC 6265 §4.2.1); None: there is none."""
    for line in values_of_field(head, b"cookie"):
        for pair in line.split(b";"):
            found, equals, value = pair.strip(b" \t").partition(b"=")
            if equals and found == name:
                return value.strip(b'"')
    return None


class Key:
    """Where a request's key is: `source` is "client", "consumer", "header" or "cookie"; the last two have a
    `name`."""

    __slots__ = ("name", "source")

    def __init__(self, source: str, name: str = "") -> None:
        self.source = source
        self.name = name.lower().encode() if source == "header" else name.encode()

    def of(self, head: RequestHead, *, client: str, consumer: str | None) -> bytes:
        """The key of a request. Where it has none of its own kind, that of its client's address."""
        value: bytes | None = None
        if self.source == "consumer":
            value = consumer.encode() if consumer is not None else None
        elif self.source == "header":
            value = b", ".join(values_of_field(head, self.name)) or None
        elif self.source == "cookie":
            value = value_of_cookie(head, self.name) or None
        return client.encode() if value is None else value


def key_of(text: str) -> Key | None:
    """The key that a setting names: `client`, `consumer`, `header:NAME`, `cookie:NAME`.

    Raises ValueError for any other text; None for the empty one, which names none.
    """
    if not text:
        return None
    source, colon, name = text.partition(":")
    if source in ("client", "consumer") and not colon:
        return Key(source)
    if source in ("header", "cookie") and _is_cookie_name(name):
        return Key(source, name)
    raise ValueError(f"no key: {text}")


class Force:
    """How a request may name its backend: by the value of a field, or else of a cookie; empty: not so."""

    __slots__ = ("_cookie", "_field")

    def __init__(self, *, header: str = "", cookie: str = "") -> None:
        self._field = header.lower().encode()
        self._cookie = cookie.encode()

    def of(self, head: RequestHead, names: Mapping[str, int]) -> str | None:
        """The backend that a request names, if it is one of `names`."""
        if self._field:
            for value in values_of_field(head, self._field):
                name = value.decode("latin-1")
                return name if name in names else self._by_cookie(head, names)
        return self._by_cookie(head, names)

    def _by_cookie(self, head: RequestHead, names: Mapping[str, int]) -> str | None:
        if not self._cookie:
            return None
        value = value_of_cookie(head, self._cookie)
        name = None if value is None else value.decode("latin-1")
        return name if name is not None and name in names else None
