"""What is known of one request: its ids, times, bytes, attempts and outcome."""

import re
from time import monotonic
from typing import Final, NamedTuple

from mypy_extensions import mypyc_attr

from coregateway.http1.request import RequestHead, sound_start
from coregateway.http1.rules import Rule
from coregateway.model.caller import Caller
from coregateway.model.errors import GatewayError, UpstreamError
from coregateway.model.ids import new_id
from coregateway.model.trace import Trace, Tracer

_is_request_id: Final = re.compile(rb"[A-Za-z0-9._~\-]{1,128}").fullmatch

REQUEST_ID: Final = 16
"""Bytes."""


def request_id(given: bytes | None) -> str:
    """The client's request id where it is fit for headers and logs, otherwise a new one (128 random bits)."""
    if given is not None and _is_request_id(given):
        return given.decode()
    return new_id(REQUEST_ID)


NOT_REFUSED: Final = 0
"""In the place of the number of a step of admission: none has refused the request."""

BY_METHOD: Final = -1
"""Likewise: its method was refused, before all steps."""


class FailedAttempt(NamedTuple):
    """A try at an upstream that has failed. Times as in `Exchange`."""

    upstream: str | None
    cause: str
    """The token of its error."""
    status: int | None
    """Of its response, if one had begun."""
    began: float
    """0.0: it is the first."""
    sent: float
    """When the request was handed to the upstream; 0.0: it was not."""
    ended: float


@mypyc_attr(acyclic=True)
class Holding:
    """What a request holds until its exchange is on record."""

    __slots__ = ()

    def give_back(self) -> None:
        """Give it back; once."""
        raise NotImplementedError


@mypyc_attr(acyclic=True)
class Exchange:
    """One request and its response, from the first byte of its head to the recorded outcome.

    Times are seconds of the monotonic clock, 0.0 while unknown. `bytes_in` and `bytes_out` count bodies,
    without heads and chunk framing. Every exchange ends in exactly one `coregateway.exchange.finished`.
    """

    __slots__ = (
        "attempt_began",
        "attempts",
        "auth",
        "auth_error",
        "auth_outcome",
        "backend",
        "bytes_in",
        "bytes_out",
        "caller",
        "chosen_by",
        "client",
        "client_cert",
        "consumer",
        "ended",
        "error",
        "explanation",
        "failed_attempts",
        "held",
        "limited_by",
        "method",
        "path",
        "protocol",
        "quota_left",
        "quotas",
        "refused_at",
        "request_id",
        "responded",
        "route",
        "route_name",
        "rule",
        "share",
        "started",
        "status",
        "template",
        "trace",
        "upstream",
        "upstream_ended",
        "upstream_started",
        "upstream_status",
        "validation",
        "validation_mode",
        "verdicts_waited",
        "waited",
    )

    def __init__(self, started: float, client: str) -> None:
        self.started = started
        self.ended = 0.0
        self.client = client
        self.caller: Caller | None = None
        """None: no credentials were asked for, or none were accepted."""
        self.client_cert: str | None = None
        """The subject of the certificate that it has proven to hold, if any."""
        self.consumer: str | None = None
        """The name of the caller, where its credentials are known; whether or not they suffice."""
        self.auth: str | None = None
        """The kind of the credentials that were looked at: see `Caller.method`."""
        self.auth_error: str | None = None
        """Why they are refused, as a token."""
        self.auth_outcome: str | None = None
        """One of `policy.requirement.OUTCOMES`; None: the route is open."""
        self.request_id = ""
        self.method: str | None = None
        self.path: str | None = None
        self.protocol: str | None = None
        self.backend: str | None = None
        self.route: str | None = None
        """How metrics know it: a route of the settings by its name, a backend's prefix by that, and an own
        answer by its path as it was registered."""
        self.route_name: str | None = None
        """The route's name, where the settings name any; a backend's prefix has the backend's."""
        self.template: str | None = None
        """What the paths of the route have in common, if it is not `route`."""
        self.share: str | None = None
        """The backend that was chosen among several; None: there was but one."""
        self.chosen_by = ""
        """How: see `policy.shares.WAYS`."""
        self.upstream: str | None = None
        self.status: int | None = None
        self.upstream_status: int | None = None
        self.waited = 0.0
        """Seconds in the queue for a connection, over all attempts."""
        self.upstream_started = 0.0
        self.responded = 0.0
        """When the head of the upstream's response had come."""
        self.upstream_ended = 0.0
        self.attempts = 0
        self.attempt_began = 0.0
        """When the last attempt began, if it is not the first."""
        self.failed_attempts: tuple[FailedAttempt, ...] = ()
        self.refused_at = NOT_REFUSED
        """Which step of admission has refused it, from 1 on."""
        self.verdicts_waited: tuple[tuple[int, float], ...] = ()
        """The numbers of those that it had to wait for, and how many seconds."""
        self.bytes_in = 0
        self.bytes_out = 0
        self.error: str | None = None
        self.rule: Rule | None = None
        """The one that the request breaks, if it is refused for that."""
        self.explanation = b""
        """A field line that the response gets: what became of the request; empty: it does not ask."""
        self.held: Holding | None = None
        """Its places among the requests in flight, where these are limited."""
        self.limited_by: str | None = None
        """The rate, or the limit of requests in flight, that has refused it, or would if it were enforced."""
        self.quotas = b""
        """The members of `RateLimit-Policy` that its answer has; empty: it has no such field."""
        self.quota_left = b""
        """Those of `RateLimit`."""
        self.validation: str | None = None
        """Whether it fits the document of its backend: `ok`, `failed` or `skipped`; None: that is switched
        off."""
        self.validation_mode = ""
        """What becomes of one that does not: `report` or `enforce`."""
        self.trace: Trace | None = None
        """None: tracing is off, or no head was read."""

    def describe(self, head: RequestHead, tracer: Tracer | None) -> None:
        """Take down what a request's head says of it.

        A trace that begins here lends its id to a request that has none: so both are found by one.
        """
        noted = head.noted
        given = noted.get(b"x-request-id")
        if tracer is None:
            self.request_id = new_id(REQUEST_ID) if given is None else request_id(given)
        else:
            self.trace = trace = tracer.begin(noted)
            self.request_id = trace.trace_id if given is None and not trace.parent_id else request_id(given)
        self.method = head.method
        self.path = head.path
        self.protocol = "HTTP/1.1" if head.minor else "HTTP/1.0"

    def describe_refused(self, begun: bytes) -> None:
        """As `describe`, of a head that is refused or was not completed: what is sound of its first line."""
        self.method, self.path, self.protocol = sound_start(begun)

    def begin_attempt(self) -> None:
        """Another attempt begins."""
        if self.attempts:
            self.attempt_began = monotonic()
        self.attempts += 1
        if self.trace is not None and self.trace.sampled:
            self.trace.begin_attempt(monotonic())

    def fail_attempt(self, error: UpstreamError) -> None:
        """Take down what an attempt has failed by, and where."""
        self.upstream = error.upstream or self.upstream
        began = self.attempt_began
        sent = self.upstream_started if self.upstream_started > began else 0.0
        failed = FailedAttempt(self.upstream, error.cause, self.upstream_status, began, sent, monotonic())
        self.failed_attempts = (*self.failed_attempts, failed)
        if self.trace is not None:
            self.trace.fail_attempt(self.upstream, self.upstream_status, error.cause, monotonic())

    def fail(self, error: GatewayError) -> None:
        """Take down what it ends with."""
        self.error = error.cause
        self.rule = error.rule

    def rate_fields(self) -> bytes:
        """The field lines that tell a client of the rates that it was asked for, each with its line end."""
        return b"RateLimit-Policy: %b\r\nRateLimit: %b\r\n" % (self.quotas, self.quota_left)

    @property
    def duration(self) -> float:
        """Seconds from the request's first byte to the outcome."""
        return (self.ended or monotonic()) - self.started

    @property
    def upstream_duration(self) -> float:
        """Seconds from handing the request to the upstream to the last byte of its response."""
        if not self.upstream_started:
            return 0.0
        return (self.upstream_ended or self.ended or monotonic()) - self.upstream_started
