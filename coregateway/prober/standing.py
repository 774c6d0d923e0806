"""An address of an upstream by its checks. Pure; the rules are HAProxy's `fall`, `rise` and `init-state up`.

    unchecked --first check passes--> up      <--`rise` passes in a row--+
        |                              |                                 |
        +-------first check fails------+--`fall` failures in a row---> down

Nothing is known of an address before its first check, so that decides alone: a node that starts beside a dead
upstream need not send it requests until `fall` checks have failed.
"""

from dataclasses import dataclass
from typing import Literal

type State = Literal["unchecked", "up", "down"]
"""An address that is `unchecked` is used like one that is `up`."""


@dataclass(slots=True)
class Standing:
    """Times in seconds since the epoch; 0.0: never."""

    state: State = "unchecked"
    passes: int = 0
    """Checks in a row that passed, and nothing else since; one of the two is 0."""
    failures: int = 0
    reason: str = ""
    """What was wrong at the last check, in words; empty when it passed."""
    since: float = 0.0
    """When the state began."""
    checked: float = 0.0
    """When the last check ended."""
    took: float = 0.0
    """Seconds that it took."""

    def take(self, reason: str, now: float, *, took: float, fall: int, rise: int) -> bool:
        """Take in a check, which passed if `reason` is empty; whether that changes the state."""
        self.reason = reason
        self.checked = now
        self.took = took
        if reason:
            self.passes = 0
            self.failures += 1
        else:
            self.failures = 0
            self.passes += 1
        state: State = self.state
        if state == "unchecked":
            state = "down" if reason else "up"
        elif state == "up" and self.failures >= fall:
            state = "down"
        elif state == "down" and self.passes >= rise:
            state = "up"
        if state == self.state:
            return False
        self.state = state
        self.since = now
        return True
