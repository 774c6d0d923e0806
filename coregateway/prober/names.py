"""A host name by its look-ups: where it leads, and for how long the last good answer is still believed. Pure.

    asked      no look-up has ended yet: requests wait for it
    failing    look-ups fail and there has been no good answer: requests fail
    known      there is a good answer; it is kept over failures and empty answers for `hold` seconds
    lost       look-ups have failed for `hold` seconds: there is no upstream

A look-up that does not end counts as a failure from its beginning on, once it is late.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

LATE = 5.0
"""Seconds after which a look-up that has not ended counts as failing: the resolver's own limit for one try
(resolv.conf(5), `timeout`)."""

RETRY = 1.0
"""Seconds between two look-ups of a name without a good answer, at most."""

type State = Literal["asked", "failing", "known", "lost"]


@dataclass(slots=True)
class NameState:
    """Times in seconds of the monotonic clock."""

    state: State = "asked"
    hosts: tuple[str, ...] = ()
    """Its addresses, in an order that does not change from answer to answer."""
    problem: str = ""
    """Why it cannot be resolved now, in words; empty: it can."""
    failing_since: float | None = None
    """When the first look-up began that has failed, of those that no good answer has followed."""
    asked_since: float | None = None
    """When the look-up began that is under way."""

    def begin(self, now: float) -> None:
        """A look-up begins, unless one is under way."""
        if self.asked_since is None:
            self.asked_since = now

    def find(self, hosts: Iterable[str]) -> bool:
        """It has found addresses, at least one; whether these are others than before."""
        found = tuple(sorted(set(hosts), key=_place))
        changed = found != self.hosts
        self.state = "known"
        self.hosts = found
        self.problem = ""
        self.failing_since = self.asked_since = None
        return changed

    def fail(self, problem: str) -> bool:
        """It has found nothing; whether that is news."""
        news = not self.problem
        self.problem = problem
        if self.failing_since is None:
            self.failing_since = self.asked_since
        self.asked_since = None
        if self.state == "asked":
            self.state = "failing"
        return news

    def look(self, now: float, hold: float) -> bool:
        """See whether a good answer has become too old; whether that changes anything."""
        news = False
        if self.asked_since is not None and now - self.asked_since >= LATE:
            news = self._note_late()
        since = self.failing_since
        if since is None or now - since < hold or self.state == "lost":
            return news
        self.state = "lost"
        self.hosts = ()
        return True

    def _note_late(self) -> bool:
        """The look-up under way is late; whether that is news. Requests still wait for a first answer."""
        news = not self.problem
        self.problem = "no name server answers in time"
        if self.failing_since is None:
            self.failing_since = self.asked_since
        return news

    def pause(self, refresh: float) -> float:
        """Seconds until the next look-up."""
        return refresh if self.state == "known" else min(refresh, RETRY)


def _place(host: str) -> tuple[int, bytes]:
    address = ip_address(host.partition("%")[0])
    return address.version, address.packed
