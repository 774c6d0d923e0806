"""What was noticed within the last hour: from when to when each finding held.

Times are seconds since the epoch. Some findings are told when something begins, and another finding tells
that it has ended (`ENDED_BY`). What else is noticed holds as long as it is noticed again, and has ended by
its last time. Each worker has its own, whose text lies in its part of the shared memory and outlives it; a
reader joins those of all.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from coregateway.observability.diagnosis.rules import Finding

HOUR = 3600.0
"""Seconds after its end from which on a finding is not shown."""

QUIET = 20.0
"""Seconds after which what is not noticed again has ended: rules look every five seconds."""

MOST = 32
"""Findings of a worker; of more the one that ended first goes."""

MAX_TEXT = 500
MAX_SUBJECT = 200

ENDED_BY = {
    "ejected": "returned",
    "breaker_open": "breaker_closed",
    "no_answer": "answers_again",
    "not_secured": "answers_again",
    "rate_store_lost": "rate_store_back",
}
"""Kinds of findings that hold until another tells of their end, for the same subject."""


class Noticed:
    """Of one worker."""

    def __init__(self) -> None:
        self._all: list[dict[str, Any]] = []
        self._is_changed = False

    def note(self, finding: Finding, now: float) -> None:
        """A finding is made, told or not."""
        subject = finding.subject[:MAX_SUBJECT]
        for each in self._all:
            if each["subject"] == subject and ENDED_BY.get(each["kind"]) == finding.kind and _holds(each):
                each["ended"] = now
        self._is_changed = True
        for each in reversed(self._all):
            if each["kind"] == finding.kind and each["subject"] == subject:
                if _holds(each) or now - each["last"] < QUIET:
                    each |= {"last": now, "text": finding.message[:MAX_TEXT]}
                    each["times"] += 1
                    return
                break
        self._all = [each for each in self._all if now - each["last"] < HOUR or _holds(each)][-MOST + 1 :]
        found = {
            "kind": finding.kind,
            "subject": subject,
            "level": finding.level,
            "text": finding.message[:MAX_TEXT],
            "began": now,
            "last": now,
            "ended": None,
            "times": 1,
        }
        self._all.append(found)

    def take_text(self) -> bytes | None:
        """All as text, if anything has changed since the last call; short enough for its place."""
        if not self._is_changed:
            return None
        self._is_changed = False
        return orjson.dumps(self._all)

    def load(self, text: bytes) -> None:
        """Go on from what another process has left. What held for it has ended with it: this one notices it
        anew."""
        self._all = orjson.loads(text or b"[]")
        for each in self._all:
            if each["ended"] is None:
                each["ended"] = each["last"]


def _holds(each: dict[str, Any]) -> bool:
    """Whether a finding holds until another tells of its end, and none has."""
    return each["kind"] in ENDED_BY and each["ended"] is None


def joined(texts: Iterable[tuple[bytes, bool]], now: float) -> list[dict[str, Any]]:
    """What the workers have noticed, those findings that hold first, then the latest. `texts`: each with
    whether its worker lives: else what it has noticed has ended, unless another notices it, too."""
    found: list[dict[str, Any]] = []
    for text, lives in texts:
        for each in orjson.loads(text or b"[]"):
            if each["ended"] is None and (not lives or each["kind"] not in ENDED_BY):
                each["ended"] = each["last"] if not lives or now - each["last"] > QUIET else None
            found.append(each)
    found.sort(key=lambda each: each["began"])
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    told: list[dict[str, Any]] = []
    for each in found:
        key = each["kind"], each["subject"]
        before = latest.get(key)
        if before is not None and (before["ended"] is None or each["began"] - before["ended"] < QUIET):
            before["times"] += each["times"]
            if before["ended"] is not None:
                before["ended"] = None if each["ended"] is None else max(before["ended"], each["ended"])
            before["text"] = each["text"]
            continue
        latest[key] = each
        told.append(each)
    shown = [each for each in told if each["ended"] is None or now - each["ended"] < HOUR]
    shown.sort(key=lambda each: (each["ended"] is not None, -(each["ended"] or 0.0), -each["began"]))
    return [{name: each[name] for name in SHOWN} for each in shown[:MOST]]


SHOWN = ("kind", "level", "text", "began", "ended", "times")
