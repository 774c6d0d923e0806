"""When a worker that died is started again, and when a node gives up."""

from dataclasses import dataclass

LONG_LIFE = 60.0
"""Seconds of service after which a worker's earlier deaths do not count any more."""

LONGEST_PAUSE = 30.0
"""Seconds, at most, between a worker's death and its restart."""

TRIES = 3
"""Times in a row that a worker may fail to come up before the node gives up, if none has ever come up."""


def pause_before_restart(deaths: int) -> float:
    """Seconds to wait after so many deaths in a row, the last one included: 0, 1, 2, 4, … 30."""
    # without the lesser of the two, a day of deaths would be more than a float holds
    return min(2.0 ** (min(deaths, 10) - 2), LONGEST_PAUSE) if deaths > 1 else 0.0


def deaths_in_a_row(before: int, served: float) -> int:
    """How many there are with that of a process that has served for so many seconds."""
    return 1 if served >= LONG_LIFE else before + 1


@dataclass(slots=True)
class Life:
    """What is known of a worker: its present process, and the deaths in a row before."""

    pid: int | None = None
    up_at: float | None = None
    """When its process began to serve; None: it has not yet."""
    deaths: int = 0
    restart_at: float | None = None
    """When to start it again; None while it lives."""

    def begin(self, pid: int | None) -> None:
        """Another process has taken its place."""
        self.pid = pid
        self.up_at = None
        self.restart_at = None

    def end(self, now: float) -> float:
        """Its process has died; returns the seconds to wait before the next one."""
        self.deaths = deaths_in_a_row(self.deaths, 0.0 if self.up_at is None else now - self.up_at)
        pause = pause_before_restart(self.deaths)
        self.restart_at = now + pause
        return pause
