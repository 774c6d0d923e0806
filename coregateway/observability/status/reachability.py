"""Whether an upstream is up, by what all workers have met there. Pure; times in seconds since the epoch.

A failure to connect speaks for itself. A request without an answer may be that request's own doing, so it
takes `DOUBT` of them in a row, over the whole node, until the upstream counts as down. One answer, to
whichever worker, and it is up again. Without requests the last word stands, however old it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

SECURING = frozenset({"tls_name", "tls_time", "tls_chain", "tls_handshake"})
"""Causes for which no connection over TLS could be made (`net.tls_failure`)."""

CONNECTING = frozenset({"connect_failed", "connect_timeout"}) | SECURING

WORDS = {
    "connect_failed": "no connection can be opened",
    "connect_timeout": "no connection in time",
    "upstream_closed": "it closes connections without an answer",
    "upstream_protocol": "what it answers is not valid HTTP",
    "read_timeout": "no answer in time",
    "write_timeout": "it takes no bytes in time",
    "tls_name": "its certificate is for another name",
    "tls_time": "its certificate has expired, or is not valid yet",
    "tls_chain": "no trusted authority vouches for its certificate",
    "tls_handshake": "the TLS handshake fails",
}
"""What the causes of failures mean."""

DOUBT = 3
"""Requests in a row without an answer."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one worker has met; see `places` for the times."""

    answered: float
    failed: float
    failing_since: float
    failures: int
    cause: str
    recovered: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the node makes of it. `since`: when the state began, None while it is unknown."""

    state: Literal["up", "down", "unknown"]
    cause: str | None
    since: float | None
    answered: float | None
    failed: float | None
    failures: int
    """In a row, over the whole node."""


def in_words(cause: str | None) -> str:
    """A cause in words, with its token: `no answer in time (read_timeout)`."""
    return f"{WORDS[cause]} ({cause})" if cause in WORDS else cause or "no cause"


def judge(sightings: Iterable[Sighting]) -> Verdict:
    """The state of one upstream."""
    seen = list(sightings)
    answered = max((each.answered for each in seen), default=0.0)
    failed = max((each.failed for each in seen), default=0.0)
    failing = [each for each in seen if each.failed > answered]
    row = sum(each.failures if each.failing_since > answered else 1 for each in failing)
    cause = max(failing, key=lambda each: each.failed).cause if failing else None
    times = answered or None, failed or None
    if cause and (cause in CONNECTING or row >= DOUBT):
        since = min(max(each.failing_since, answered) for each in failing)
        return Verdict("down", cause, since, *times, row)
    if not answered:
        return Verdict("unknown", cause, None, *times, row)
    # Failures that were followed by an answer, to another worker perhaps, and ended what was before.
    past = max((each.failed for each in seen if each.failed <= answered), default=0.0)
    since = min((each.recovered for each in seen if each.recovered > past), default=answered)
    return Verdict("up", cause, since, *times, row)
