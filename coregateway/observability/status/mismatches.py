"""Which operations are called in ways that their documents do not allow: of the node, from its beginning.

Each worker counts them by operation and place, at most `validators.MOST_KINDS` of a backend apart, and writes
its counts into its part of the shared memory once a second. The sums are the node's.
"""

from collections.abc import Iterable
from typing import Any
from zlib import crc32

from coregateway.proxy.validators import Validators
from coregateway.settings import Settings
from coregateway.shared_memory import Part
from coregateway.shared_memory.series import Series

KEY = "status.mismatch"

SEPARATOR = "\x1f"

COUNT = 0
LAST = 1
"""In seconds since the epoch."""

_LONGEST = 40
"""Bytes of an operation, and of a place, in a key."""

MOST = 50
"""Rows of a backend that are told, those with the highest counts."""


class MismatchWriter:
    """Writes what one worker has counted to its part."""

    def __init__(self, validators: Validators, series: Series) -> None:
        self._validators = validators
        self._series = series
        self._seen = 0
        self._written: dict[tuple[str, str, str], int] = {}

    def write(self) -> None:
        """Write what is new."""
        if self._validators.counted == self._seen:
            return
        self._seen = self._validators.counted
        for backend, rows in self._validators.tallies.items():
            for (operation, place), tally in rows.items():
                before = self._written.get((backend, operation, place), 0)
                if tally.count == before:
                    continue
                at = self._series.slot(key(backend, operation, place))
                if at is not None:
                    self._series.numbers[at + COUNT] += tally.count - before
                    self._series.numbers[at + LAST] = tally.last
                self._written[backend, operation, place] = tally.count


def key(backend: str, operation: str, place: str) -> str:
    """Where the numbers of one kind are."""
    return SEPARATOR.join((KEY, backend, _shortened(operation), _shortened(place)))


def _shortened(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= _LONGEST:
        return text
    return f"{encoded[: _LONGEST - 12].decode(errors='ignore')}…{crc32(encoded):08x}"


def mismatches_of(parts: Iterable[Part]) -> dict[str, list[dict[str, Any]]]:
    """By backend, what does not fit: the operation, where (in its body, its query and so on), how often, and
    when last. An operation that is none of the document's is called "no operation"; what is counted together
    because there are too many kinds has empty names."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for part in parts:
        for name, at in part.series:
            if name.startswith(KEY):
                _, backend, operation, place = name.split(SEPARATOR)
                sums = found.setdefault((backend, operation, place), [0.0, 0.0])
                count, last = part.series.read(at, 2)
                sums[COUNT] += count
                sums[LAST] = max(sums[LAST], last)
    rows: dict[str, list[dict[str, Any]]] = {}
    for (backend, operation, place), (count, last) in sorted(found.items(), key=lambda each: -each[1][COUNT]):
        told = rows.setdefault(backend, [])
        if len(told) < MOST:
            where, _, at = place.partition(" ")
            told.append(
                {"operation": operation, "in": where, "at": at, "count": int(count), "last": round(last, 3)}
            )
    return rows


def is_validated(settings: Settings) -> bool:
    """Whether any requests are held against documents."""
    rows = [*settings.backends.values(), *settings.routes.values()]
    return any(row.validation.mode != "off" for row in rows)
