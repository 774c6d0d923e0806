"""What this worker has met at one upstream: when it answered last, and in what way it failed since.

Nobody asks the upstream for this: it is what exchanges and probes came upon. Success costs its writer one
number, everything else is written down on failure.
"""


class Record:
    """Of one upstream in one worker. Times are seconds of the monotonic clock, 0.0: never."""

    __slots__ = ("answered", "cause", "connects", "failed", "failing_since", "failures", "refusals")

    def __init__(self) -> None:
        self.answered = 0.0
        """When an exchange with an answer ended last."""
        self.failed = 0.0
        """When it failed last: no connection, or no sound answer on one that was made for the request."""
        self.failing_since = 0.0
        """When the first of the failures came that no answer has followed."""
        self.failures = 0
        """How many of them there were."""
        self.cause = ""
        """The cause token of the last one."""
        self.connects = 0
        """Connections that were tried, from the beginning."""
        self.refusals = 0
        """Those of them that could not be had."""

    def fail(self, cause: str, now: float) -> None:
        """It failed once more."""
        if self.answered >= self.failed:
            self.failures = 0
            self.failing_since = now
        self.failures += 1
        self.failed = now
        self.cause = cause
