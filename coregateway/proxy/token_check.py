"""The tokens of one worker: which were found good, and by which keys.

The node's prober fetches the sets of keys, and publishes them in shared memory; a worker looks at one number
to see whether there are others. A token that was found good is remembered until it expires, `REMEMBERED`
seconds at most; one that is bad takes the place of no good one.
"""

from asyncio import sleep
from collections.abc import Mapping, Sequence
from hashlib import sha256
from time import monotonic, time
from typing import Any, Final

import orjson

from coregateway.model.caller import Caller
from coregateway.policy.tokens import ISSUER, KEY_ID, Claimed, KeySet, Provider, claimed_by
from coregateway.proxy.limits import Limits
from coregateway.shared_memory.publication import Publication

REMEMBERED: Final = 300.0

MOST: Final = 4096
"""Good tokens that are remembered, per worker; the oldest goes first."""

MOST_BAD: Final = 256
"""Bad ones, likewise, each for `BAD` seconds: a client that repeats one costs no signature."""

BAD: Final = 5.0

PATIENCE: Final = 2.0
"""Seconds that a token may wait for the set of keys to be fetched again, because its key is unknown."""

LOOK: Final = 0.02

UNAVAILABLE: Final = "unavailable"
"""No set of keys was ever fetched, or the last one is too old."""


class Found:
    """What a token comes to. `error`: why it is refused; `provider`: whose it claims to be."""

    __slots__ = ("caller", "error", "provider", "until")

    def __init__(self, caller: Caller | None, error: str, provider: Provider | None, until: float) -> None:
        self.caller = caller
        self.error = error
        self.provider = provider
        self.until = until
        """Seconds since the epoch until which this holds."""


class TokenCheck:
    """Of one plan, for all of its routes."""

    __slots__ = ("_bad", "_good", "_limits", "_news", "_providers", "_rows", "_sets", "_tried")

    def __init__(self, providers: Sequence[Provider], limits: Limits) -> None:
        """`limits`: of the worker; they lead to the keys."""
        self._providers = {provider.issuer: provider for provider in providers}
        self._limits = limits
        self._news = -1
        self._sets: dict[str, KeySet] = {}
        self._rows: dict[str, list[Any]] = {}
        self._tried: dict[str, tuple[float, float]] = {}
        """When each set was last asked for, and after how many seconds it may be again."""
        self._good: dict[bytes, Found] = {}
        self._bad: dict[bytes, Found] = {}

    def look_up(self, token: bytes) -> Found | None:
        """What a token comes to. None: `wait_for` it, for its key may be one that was published since, or the
        plan is only looked at, and a node that runs has the keys."""
        found = self.look_up_now(token)
        publication = self._limits.key_sets
        if publication is None:
            return None if found.error == UNAVAILABLE else found
        return None if found.error == KEY_ID and self._may_come(found, time()) else found

    def look_up_now(self, token: bytes) -> Found:
        """The same without waiting."""
        publication = self._limits.key_sets
        if publication is not None and publication.news != self._news:
            self._take(publication)
        digest = sha256(token).digest()
        now = time()
        known = self._good.get(digest) or self._bad.get(digest)
        if known is not None and now < known.until:
            return known
        return self._judge(token, digest, now)

    def _judge(self, token: bytes, digest: bytes, now: float) -> Found:
        claimed = claimed_by(token)
        if isinstance(claimed, str):
            return self._refuse(digest, claimed, None, now)
        provider = self._providers.get(claimed.issuer)
        if provider is None:
            return self._refuse(digest, ISSUER, None, now)
        keys = self._sets.get(provider.name)
        if keys is None or now >= keys.fetched + provider.stale:
            return Found(None, UNAVAILABLE, provider, 0.0)
        return self._verify(token, digest, claimed, provider, keys, now)

    def _verify(
        self, token: bytes, digest: bytes, claimed: Claimed, provider: Provider, keys: KeySet, now: float
    ) -> Found:
        verified = provider.verify(token, claimed, keys)
        if isinstance(verified, str):
            if verified == KEY_ID:
                return Found(None, verified, provider, 0.0)
            return self._refuse(digest, verified, provider, now)
        caller, expires = verified
        found = Found(caller, "", provider, min(expires, now + REMEMBERED))
        if now < found.until:
            if len(self._good) >= MOST:
                del self._good[next(iter(self._good))]
            self._good[digest] = found
        return found

    def _refuse(self, digest: bytes, error: str, provider: Provider | None, now: float) -> Found:
        if len(self._bad) >= MOST_BAD:
            self._bad.clear()
        self._bad[digest] = found = Found(None, error, provider, now + BAD)
        return found

    # Sets of keys

    def _take(self, publication: Publication) -> None:
        self._news = publication.news
        text = publication.read()
        if not text:
            self._news = -1  # the writer was faster each time
            return
        told: Mapping[str, Any] = orjson.loads(text)
        self._tried = {name: (row["tried"], row["cooldown"]) for name, row in told.items()}
        rows = {name: row["keys"] for name, row in told.items() if row["fetched"]}
        if rows != self._rows:
            self._rows = rows
            self._sets = {name: KeySet(keys, 0.0) for name, keys in rows.items()}
            self._good.clear()
            self._bad.clear()
        for name, keys in self._sets.items():
            keys.fetched = told[name]["fetched"]

    def _may_come(self, found: Found, now: float) -> bool:
        """Whether the prober will ask for the set again now, as it does once in the cooldown."""
        name = "" if found.provider is None else found.provider.name
        tried, cooldown = self._tried.get(name, (now, 1.0))
        return now >= tried + cooldown

    async def wait_for(self, token: bytes) -> Found:
        """What a token comes to once its keys have been fetched again."""
        publication = self._limits.key_sets
        if publication is None:
            return self.look_up_now(token)
        before = publication.news
        publication.ask(monotonic())
        end = monotonic() + PATIENCE
        while publication.news == before and monotonic() < end:  # noqa: ASYNC110 -- another process tells it
            await sleep(LOOK)
        return self.look_up_now(token)
