"""Which requests are sent to a second backend as well, and what of them. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from coregateway.http1.request import RequestHead

CREDENTIALS: Final = ("Authorization", "Cookie")
"""Fields that a copy never has, set by a client or by a rule, besides the one for keys."""

MAX_BODY: Final = 65_536
"""Bytes of a body that is copied with its request, at most."""

_GOLDEN: Final = 0.6180339887498949


class CopyFields:
    """The rules for the fields of a copy, which win over those of the settings (`fields.FieldSettings`)."""

    __slots__ = ("add", "remove", "set")

    def __init__(self, key_field: str) -> None:
        """`key_field`: the one in which keys come."""
        self.set: Mapping[str, str] = {"X-Mirrored": "1"}
        self.add: Mapping[str, str] = {}
        self.remove: Sequence[str] = (*CREDENTIALS, key_field)


class Mirroring:
    """The share of a route's requests that is copied, of those with certain methods."""

    __slots__ = ("_point", "methods", "share")

    def __init__(self, share: float, methods: Collection[str]) -> None:
        """`share`: from 0 to 1."""
        self.share = share
        self.methods = frozenset(methods)
        self._point = 0.0

    def may_take(self, head: RequestHead) -> bool:
        """Whether a request is one of those of which the share is copied."""
        return head.method in self.methods and b"upgrade" not in head.noted and head.length <= MAX_BODY

    def takes(self, head: RequestHead) -> bool:
        """Whether a request is copied; of those that could be, the share is kept evenly."""
        if not self.may_take(head):
            return False
        self._point = (self._point + _GOLDEN) % 1.0
        return self._point < self.share
