"""One rate of the settings, as a route has it: what it counts, by which key, and what clients are told. Pure.

Clients get the fields of draft-ietf-httpapi-ratelimit-headers (2025-09): `RateLimit-Policy` has the quota `q`
and its window `w` in seconds, `RateLimit` what remains, `r`, and the seconds `t` until more may go, while
nothing may.
"""

from typing import Final

from coregateway.policy.gcra import SECOND, Decision, Rate, whole_seconds
from coregateway.policy.limit_keys import LimitKey
from coregateway.policy.marks import Marks

SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
"""In the units of rates."""

OUTCOMES: Final = ("allowed", "limited", "would_limit", "failed")
"""What is counted of a rate: requests that it admits, those that it refuses or would refuse if it were
enforced, and those of which the store did not say anything in time."""


class RateCounts:
    """What one worker counts of a rate; it outlives reloads."""

    __slots__ = ("allowed", "failed", "limited", "would_limit")

    def __init__(self) -> None:
        self.allowed = 0
        self.limited = 0
        self.would_limit = 0
        self.failed = 0

    def all(self) -> tuple[int, int, int, int]:
        """In the order of `OUTCOMES`."""
        return self.allowed, self.limited, self.would_limit, self.failed


def rate_of(text: str, burst: int = 0) -> Rate:
    """The rate that a text such as "600/m" says. `burst`: as for `Rate`."""
    amount, _, unit = text.partition("/")
    return Rate(int(amount), SECONDS[unit], burst)


class RateRule:
    """See the module."""

    __slots__ = (
        "_begins",
        "cost",
        "counts",
        "denies",
        "enforced",
        "key",
        "marks",
        "member",
        "name",
        "rate",
    )

    def __init__(
        self,
        name: str,
        rate: Rate,
        key: LimitKey,
        counts: RateCounts,
        *,
        identity: str = "",
        cost: int = 1,
        enforced: bool = True,
        denies: bool = False,
    ) -> None:
        """`identity`: what else makes two rates of this name, before and after a reload, count apart. `cost`:
        what a request counts for. `denies`: one without a key is refused."""
        self.name = name
        self.rate = rate
        self.key = key
        self.counts = counts
        self.cost = cost
        self.enforced = enforced
        self.denies = denies
        self.member = b'"%b";q=%d;w=%d' % (name.encode(), rate.quota, rate.window)
        """In `RateLimit-Policy`."""
        self._begins = b'"%b";r=' % name.encode()
        self.marks = Marks(f"{name} {rate.quota} {rate.interval} {identity} ")

    @property
    def in_words(self) -> str:
        """What it is, for a reader: its name, what may come, by which key."""
        rate = self.rate
        counts = f", each request counts as {self.cost}" if self.cost > 1 else ""
        without = ", none without it" if self.denies else ""
        only = "" if self.enforced else ", not enforced"
        pace = f"{rate.quota} at once, then one each {rate.interval / SECOND:.4g} s"
        return f"{self.name} ({pace}, by {self.key.source}{without}{counts}{only})"

    def told(self, decision: Decision) -> bytes:
        """In `RateLimit`."""
        if decision.remaining:
            return b"%b%d" % (self._begins, decision.remaining)
        return b"%b0;t=%d" % (self._begins, whole_seconds(decision.until_next))
