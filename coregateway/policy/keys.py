"""API keys: what is kept of them, and whom one that comes belongs to. Pure.

A key is 256 random bits, so its SHA-256 needs no salt and no slow hash: nobody finds such a key by guessing.
The settings hold hashes alone; a key that was lost cannot be read from them.
"""

from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe
from typing import Final

from coregateway.model.caller import Caller
from coregateway.policy.requirement import EXPIRED

PREFIX: Final = "cg_"
"""Begins every key, so that scanners for secrets find one that was published."""

HASH_PREFIX: Final = "sha256:"

UNKNOWN: Final = "unknown_key"

_BITS: Final = 256


def new_key() -> str:
    """A new key."""
    return PREFIX + token_urlsafe(_BITS // 8)


def hash_of(key: str) -> str:
    """What the settings hold of a key."""
    return HASH_PREFIX + sha256(key.encode()).hexdigest()


class StoredKey:
    """One key of a consumer. `expires`: seconds since the epoch from which on it is refused; None: never."""

    __slots__ = ("caller", "digest", "expires")

    def __init__(self, digest: bytes, caller: Caller, expires: float | None = None) -> None:
        self.digest = digest
        self.caller = caller
        self.expires = expires


class Keys:
    """All keys of the settings."""

    __slots__ = ("_by_digest",)

    def __init__(self, keys: Iterable[StoredKey]) -> None:
        self._by_digest = {key.digest: key for key in keys}

    def look_up(self, key: bytes, now: float) -> Caller | str:
        """Whose key this is, or why it is refused; `now`: seconds since the epoch."""
        digest = sha256(key).digest()
        stored = self._by_digest.get(digest)
        # The look-up compares digests of what a client cannot steer; this one takes the same time for all.
        if stored is None or not compare_digest(stored.digest, digest):
            return UNKNOWN
        if stored.expires is not None and now >= stored.expires:
            return EXPIRED
        return stored.caller
