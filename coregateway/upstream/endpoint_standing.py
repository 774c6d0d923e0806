"""How one address of a backend stands: by an operator's hand, its checks, its connects, what failed there.

It counts what requests meet, and tells the pool when the endpoint stands otherwise than before; `tiers` says
what that means beside the others. The node's part of it (`ejection`, `breaker`) lies in shared memory.
"""

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Final

from coregateway.model.errors import UpstreamClosed, UpstreamError
from coregateway.upstream.breaker import Breaker
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.ejection import Ejection
from coregateway.upstream.endpoint_health import EndpointHealth
from coregateway.upstream.tiers import DRAINED, EJECTED, UNFIT, USABLE

AVOIDED: Final = 5.0
"""Seconds between two tries of an endpoint whose last connect failed, while others take its requests."""


class EndpointStanding:
    """See the module. `Endpoint` adds the connections."""

    __slots__ = (
        "_loop",
        "avoided_at",
        "breaker",
        "drained",
        "ejected",
        "ejection",
        "eligible",
        "health",
        "on_change",
        "on_failing",
        "on_news",
        "picks_seen",
        "retired",
        "reviving",
    )

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self.eligible = True
        """Whether it may get requests, beside the others and as they stand; the pool says so."""
        self.drained = False
        """Whether an operator has taken it out."""
        self.ejection: Ejection | None = None
        """None: the node does not eject it, or knows nothing of it yet."""
        self.ejected = False
        """Whether it has, by the requests that failed there; as this worker knows it."""
        self.breaker: Breaker | None = None
        """Of its backend; None: off."""
        self.avoided_at = 0.0
        """When its last connect failed, or took too long (monotonic); 0.0: it did not."""
        self.reviving = False
        """Whether a connect is under way that no request waits for, to see whether it is there again."""
        self.picks_seen = -1
        """How many requests its balancer had sent on their way when the last one was begun."""
        self.retired = False
        """Whether the backend no longer has this address."""
        self.on_failing: Callable[[EndpointStanding, str, float], None] | None = None
        """Called with a cause when so much has failed that it should be ejected, if that may be."""
        self.on_news: Callable[[], None] | None = None
        """Called when the node has decided something by what was met here."""
        self.on_change: Callable[[], None] | None = None
        """Called when it stands otherwise than before."""
        self.health = EndpointHealth()

    @property
    def now(self) -> float:
        """The time of its loop."""
        return self._loop.time()

    @property
    def standing(self) -> int:
        """As `tiers` has them."""
        if self.drained:
            return DRAINED
        if self.health.check_failed or self.avoided_at:
            return UNFIT
        return EJECTED if self.ejected else USABLE

    @property
    def is_due(self) -> bool:
        """Whether it is ejected, and one request of the node may see whether it is well again."""
        return (
            self.ejection is not None
            and not (self.drained or self.avoided_at or self.health.check_failed)
            and self.ejection.is_due(self._loop.time())
        )

    def begin_trial(self) -> None:
        """A request goes to it, which sees whether it is well again."""
        if self.ejection is not None:
            self.ejection.begin_trial(self._loop.time())

    def avoid(self) -> None:
        """A connect has failed, or takes too long: let others have the requests, if there are others."""
        self.avoided_at = self._loop.time()
        self._tell()

    def note_failure(self, cause: str, now: float) -> None:
        """A connect or a request has failed, by the upstream's fault."""
        self.health.fail(cause, now)
        ejection = self.ejection
        if ejection is not None and ejection.fail(now) and self.on_failing is not None:
            self.on_failing(self, cause, now)
        breaker = self.breaker
        if breaker is not None and breaker.note(True, now) and self.on_news is not None:
            self.on_news()

    def _note_answer(self, connection: UpstreamConnection) -> None:
        """An exchange was answered: tell those that count."""
        now = connection.idle_since
        ejection = self.ejection
        if ejection is not None and ejection.succeed(now):
            self.ejected = False
            self._tell()
            if self.on_news is not None:
                self.on_news()
        breaker = self.breaker
        head = connection.response.head
        if breaker is not None and head is not None:
            failed = head.status >= 500
            if breaker.note(failed, now) and self.on_news is not None:
                self.on_news()

    def _tell(self) -> None:
        if self.on_change is not None:
            self.on_change()

    def _note_end(self, connection: UpstreamConnection) -> None:
        """An exchange was the last on its connection: note how the endpoint is."""
        error = connection.error
        if not isinstance(error, UpstreamError):
            if connection.answered:
                self.health.answered = connection.idle_since
                self._note_answer(connection)
        elif not (error.reused and isinstance(error, UpstreamClosed)):  # else its idle time was over
            self.note_failure(error.cause, connection.idle_since)

    def _fail_to_connect(self, cause: str) -> None:
        self.note_failure(cause, self._loop.time())
        self.avoid()
