"""Failed requests by their causes: how many there were of each, from when to when, and which was the last.

Requests belong together that ended with the same error, or else with the same status of the backend, on the
same route and at the same upstream. Each worker has up to `GROUPS` groups, whose text lies in its part of the
shared memory and outlives it; a reader joins those of all. Times are seconds since the epoch, given by the
caller.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from coregateway.model.exchange import Exchange

GROUPS = 128
"""Per worker, and in the list of the node; of more the one whose last request is the longest ago goes."""

HOUR = 3600.0
"""Seconds after its last request from which on a group is not shown, and begins anew."""

MAX_NAME = 80
"""Characters of a name of the settings, or of an upstream."""

type Key = tuple[str | None, int | None, str | None, str | None, str | None]
"""Error, status, backend, route and upstream."""


class Allowance:
    """A token bucket: `burst` at once, and then `rate` a second."""

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = self._left = burst
        self._rate = rate
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Take a token; whether there was one."""
        self._left = min(self._left + (now - self._at) * self._rate, self._burst)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Group:
    """Requests that failed alike."""

    __slots__ = ("allowance", "count", "example", "first", "key", "last", "skipped")

    def __init__(self, key: Key, now: float) -> None:
        self.key = key
        self.count = 0
        self.first = self.last = now
        self.example = ""
        """The id of the last one of which there is a record; of the last one where there is none."""
        status = key[1]
        by_client = status is not None and status < 500
        self.allowance = Allowance(10, 0.1) if by_client else Allowance(20, 1.0)
        """Of records: a flood must not push out what else has failed."""
        self.skipped = 0
        """Requests without a record since the last with one."""


class Failures:
    """Of one worker."""

    def __init__(self) -> None:
        self._groups: dict[Key, Group] = {}
        self._is_changed = False

    def count(self, exchange: Exchange, now: float) -> Group:
        """Count a request that has failed; returns its group."""
        key: Key = (
            exchange.error,
            exchange.status,
            exchange.backend,
            exchange.route_name or exchange.route,
            exchange.upstream,
        )
        group = self._groups.get(key)
        if group is None or now - group.last > HOUR:
            group = self._groups[key] = self._room_for(key, now)
        group.count += 1
        group.last = now
        if not group.example:
            group.example = exchange.request_id
        self._is_changed = True
        return group

    def _room_for(self, key: Key, now: float) -> Group:
        if key not in self._groups and len(self._groups) >= GROUPS:
            del self._groups[min(self._groups, key=lambda each: self._groups[each].last)]
        return Group(key, now)

    def take_text(self) -> bytes | None:
        """The groups as text, if anything has changed since the last call."""
        if not self._is_changed:
            return None
        self._is_changed = False
        return orjson.dumps(
            [
                [*map(_short, group.key), group.count, group.first, group.last, group.example]
                for group in self._groups.values()
            ]
        )

    def load(self, text: bytes) -> None:
        """Go on from what another process has left."""
        for *key, count, first, last, example in orjson.loads(text or b"[]"):
            error, status, backend, route, upstream = key
            found: Key = (error, status, backend, route, upstream)
            group = self._groups[found] = Group(found, last)
            group.count, group.first, group.example = count, first, example


def _short(value: str | int | None) -> str | int | None:
    return value[:MAX_NAME] if isinstance(value, str) else value


def joined(texts: Iterable[bytes], now: float) -> list[dict[str, Any]]:
    """The groups of all workers as one list, those with the most requests first."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for text in texts:
        for *key, count, first, last, example in orjson.loads(text or b"[]"):
            if now - last > HOUR:
                continue
            group = found.get(tuple(key))
            if group is None:
                names = ("error", "status", "backend", "route", "upstream")
                group = dict(zip(names, key, strict=True)) | {"count": 0, "first": first, "last": 0.0}
                found[tuple(key)] = group
            group["count"] += count
            group["first"] = min(group["first"], first)
            if last > group["last"]:
                group |= {"last": last, "example": example}
    ordered = sorted(found.values(), key=lambda group: (-group["count"], -group["last"]))
    return ordered[:GROUPS]
