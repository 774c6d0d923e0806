"""Which requests are sent to a second backend as well, and what of them. Pure."""

from collections.abc import Collection
from typing import Final

from coregateway.http1.grammar import without
from coregateway.http1.request import RequestHead

MARK: Final = b"X-Mirrored: 1\r\n"

CREDENTIALS: Final = frozenset((b"authorization", b"cookie"))
"""Fields, in lower case, that a mirrored request never has; the fields of keys besides."""

MAX_BODY: Final = 65_536
"""Bytes of a body that is mirrored with its request, at most."""

_GOLDEN: Final = 0.6180339887498949


class Mirroring:
    """The share of a route's requests that is mirrored, of those with certain methods."""

    __slots__ = ("_dropped", "_point", "methods", "share")

    def __init__(self, share: float, methods: Collection[str], keys: Collection[str] = ()) -> None:
        """`share`: from 0 to 1. `keys`: names of the fields that hold keys."""
        self.share = share
        self.methods = frozenset(methods)
        self._dropped = CREDENTIALS | {name.lower().encode() for name in keys}
        self._point = 0.0

    def takes(self, head: RequestHead) -> bool:
        """Whether a request is mirrored; of those that could be, the share is kept evenly."""
        if head.method not in self.methods or b"upgrade" in head.noted or head.length > MAX_BODY:
            return False
        self._point = (self._point + _GOLDEN) % 1.0
        return self._point < self.share

    def lines(self, lines: list[bytes]) -> list[bytes]:
        """The field lines of a request, without its credentials."""
        return without(lines, self._dropped)
