"""The generic cell rate algorithm: how many requests a key may send. Pure; the clock is an argument.

One number is kept for a key: the time at which all that it has sent is paid for, one request each `interval`
(its "theoretical arrival time", ITU-T I.371). A request is admitted while it lies no more than a burst ahead
of now. So `burst` may come at once, and then one each `interval`; a key that rests has its burst back.

Times are whole nanoseconds of one clock: sums are exact, whatever the order of requests.
"""

from math import ceil
from typing import Final

from mypy_extensions import mypyc_attr

SECOND: Final = 1_000_000_000


class Rate:
    """So many requests in so many seconds, and how many of them at once.

    `quota` is the burst; `window` the whole seconds in which as much comes back, rounded up.
    """

    __slots__ = ("burst", "interval", "quota", "window")

    def __init__(self, amount: int, seconds: int, burst: int = 0) -> None:
        """`amount`, `seconds`: 1 or more. `burst`: 0: what one second brings, at least 1."""
        self.quota = burst or max(amount // seconds, 1)
        self.interval = max(seconds * SECOND // amount, 1)
        """Nanoseconds from one request to the next."""
        self.burst = self.quota * self.interval
        """Nanoseconds that a key may be ahead."""
        self.window = max(ceil(self.burst / SECOND), 1)


@mypyc_attr(acyclic=True)
class Decision:
    """What a rate says of one request. Times are in nanoseconds from now on."""

    __slots__ = ("admitted", "paid", "remaining", "until_next", "wait")

    def __init__(self, admitted: bool, paid: int, remaining: int, wait: int, until_next: int) -> None:
        self.admitted = admitted
        self.paid = paid
        """What is to be kept of the key, if the request goes: the time at which all is paid for."""
        self.remaining = remaining
        """Requests that could go now; after this one, if it is admitted."""
        self.wait = wait
        """Until this request would be admitted; 0: it is."""
        self.until_next = until_next
        """Until one more may go; 0: one may go now."""


def decide(rate: Rate, paid: int, now: int, cost: int = 1) -> Decision:
    """Whether a request that counts as `cost` may go now; `paid`: what is kept of its key, 0: nothing."""
    start = max(paid, now)
    after = start + cost * rate.interval
    wait = after - rate.burst - now
    if wait > 0:
        left = rate.burst - (start - now)
        return _decision(rate, paid, left, wait)
    return _decision(rate, after, rate.burst - (after - now), 0)


def state(rate: Rate, paid: int, now: int) -> Decision:
    """What stands of a key, where no request goes: as after one that counts as nothing."""
    start = max(paid, now)
    return _decision(rate, start, rate.burst - (start - now), 0)


def _decision(rate: Rate, paid: int, left: int, wait: int) -> Decision:
    """Of a key that may be `left` nanoseconds further ahead."""
    remaining = max(left // rate.interval, 0)
    return Decision(not wait, paid, remaining, wait, 0 if remaining else rate.interval - left)


def whole_seconds(nanoseconds: int) -> int:
    """For `Retry-After`: rounded up, at least 1."""
    return max(-(-nanoseconds // SECOND), 1)
