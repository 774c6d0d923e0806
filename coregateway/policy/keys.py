"""API keys: what is kept of them, and whom one that comes belongs to. Pure.

A key is 256 random bits, so its SHA-256 needs no salt and no slow hash: nobody finds such a key by guessing.
The settings hold hashes alone; a key that was lost cannot be read from them.
"""

from collections.abc import Iterable
from enum import Enum, auto
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe
from typing import Final

from coregateway.http1.request import RequestHead
from coregateway.policy.consumers import Consumer

PREFIX: Final = "cg_"
"""Begins every key, so that scanners for secrets find one that was published."""

HASH_PREFIX: Final = "sha256:"

_BITS: Final = 256
_BEARER: Final = b"bearer "


class Outcome(Enum):
    """What the credentials of a request come to."""

    OK = auto()
    MISSING = auto()
    INVALID = auto()
    AMBIGUOUS = auto()


def new_key() -> str:
    """A new key."""
    return PREFIX + token_urlsafe(_BITS // 8)


def hash_of(key: str) -> str:
    """What the settings hold of a key."""
    return HASH_PREFIX + sha256(key.encode()).hexdigest()


class StoredKey:
    """One key of a consumer. `expires`: seconds since the epoch from which on it is refused; None: never."""

    __slots__ = ("consumer", "digest", "expires")

    def __init__(self, digest: bytes, consumer: Consumer, expires: float | None = None) -> None:
        self.digest = digest
        self.consumer = consumer
        self.expires = expires


class Found:
    """What was found in a request. `error` says why a key is refused, for the log."""

    __slots__ = ("consumer", "error", "outcome")

    def __init__(self, outcome: Outcome, consumer: Consumer | None = None, error: str | None = None) -> None:
        self.outcome = outcome
        self.consumer = consumer
        self.error = error


MISSING: Final = Found(Outcome.MISSING)
AMBIGUOUS: Final = Found(Outcome.AMBIGUOUS)
UNKNOWN: Final = Found(Outcome.INVALID, error="unknown_key")
EXPIRED: Final = Found(Outcome.INVALID, error="expired")


class Keys:
    """All keys of the settings. `field`: the name of the field in which they come, besides
    `Authorization: Bearer cg_…`."""

    __slots__ = ("_by_digest", "field")

    def __init__(self, field: str, keys: Iterable[StoredKey]) -> None:
        self.field = field.lower().encode()
        self._by_digest = {key.digest: key for key in keys}

    def find(self, head: RequestHead, now: float) -> Found:
        """Whose key a request has; `now`: seconds since the epoch."""
        presented = self.presented(head)
        if len(presented) != 1:
            return AMBIGUOUS if presented else MISSING
        return self.look_up(presented[0], now)

    def presented(self, head: RequestHead) -> list[bytes]:
        """The keys that a request has, in whatever field."""
        field = self.field
        size = len(field)
        found = [
            line[size + 1 :].strip(b" \t")
            for line in head.lines
            if line[size : size + 1] == b":" and line[:size].lower() == field
        ]
        authorization = head.noted.get(b"authorization")
        if authorization is not None and authorization[: len(_BEARER)].lower() == _BEARER:
            token = authorization[len(_BEARER) :].strip(b" ")
            if token.startswith(PREFIX.encode()):
                found.append(token)
        return found

    def look_up(self, key: bytes, now: float) -> Found:
        """Whose key this is."""
        digest = sha256(key).digest()
        stored = self._by_digest.get(digest)
        # The look-up compares digests of what a client cannot steer; this one takes the same time for all.
        if stored is None or not compare_digest(stored.digest, digest):
            return UNKNOWN
        if stored.expires is not None and now >= stored.expires:
            return EXPIRED
        return Found(Outcome.OK, stored.consumer)
