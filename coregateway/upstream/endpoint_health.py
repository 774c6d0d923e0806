"""What this worker knows of one endpoint: when it answered last, in what way it failed since, and what the
node's checks say of it.

Success costs its writer one number, everything else is written down on failure.
"""

from collections.abc import Callable
from socket import gaierror
from typing import Final

from coregateway.net.tls_failure import failure_of

DISTRUST: Final = 10.0
"""Seconds after a surplus for which the worker sends one request on each connection to that endpoint."""

_REFUSED: Final = "[Errno 111]"
"""ECONNREFUSED on Linux, in the one text in which asyncio tells of several addresses of a name."""


class EndpointHealth:
    """Of one endpoint in one worker. Times are seconds of the monotonic clock, 0.0: never."""

    __slots__ = (
        "answered",
        "cause",
        "check_failed",
        "check_reason",
        "checked",
        "connects",
        "distrusted_until",
        "failed",
        "failing_since",
        "failures",
        "on_change",
        "refusals",
        "surpluses",
        "timeouts",
        "unreachable",
        "unresolved",
    )

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
        """Those of them that its host refused."""
        self.timeouts = 0
        """Those that were not there in time."""
        self.unresolved = 0
        """Those for which its name could not be resolved."""
        self.unreachable = 0
        """Those that could not be opened for another reason: no route, no file or port left here."""
        self.surpluses = 0
        """How often a connection brought bytes that no request asked for, from the beginning."""
        self.distrusted_until = 0.0
        """Until when no connection is used twice."""
        self.checked = 0.0
        """When the result of its checks came last."""
        self.check_failed = False
        """Whether that says that it is down."""
        self.check_reason = ""
        """In words."""
        self.on_change: Callable[[], None] | None = None
        """Called when the result of its checks is another one."""

    def note_check(self, passed: bool, reason: str, now: float) -> None:
        """The node's checks say that it is up, or down; `reason`: why, in words.

        A passing check does not end an ejection: a request does.
        """
        self.checked = now
        self.check_reason = reason
        if self.check_failed is passed:
            self.check_failed = not passed
            if self.on_change is not None:
                self.on_change()

    def miss(self, error: OSError) -> None:
        """A connection could not be had."""
        if isinstance(error, TimeoutError):
            self.timeouts += 1
        elif isinstance(error, ConnectionRefusedError) or _REFUSED in str(error):
            self.refusals += 1
        elif isinstance(error, gaierror):
            self.unresolved += 1
        elif failure_of(error) is None:  # what TLS has refused was reached
            self.unreachable += 1

    def fail(self, cause: str, now: float) -> None:
        """It failed once more."""
        if self.answered >= self.failed:
            self.failures = 0
            self.failing_since = now
        self.failures += 1
        self.failed = now
        self.cause = cause

    def distrust(self, now: float) -> None:
        """Bytes came that no request asked for: what shifts one connection by a response may shift others."""
        self.surpluses += 1
        self.distrusted_until = now + DISTRUST
