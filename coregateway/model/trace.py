"""Whose trace an exchange belongs to, and what its upstreams are told of it. Pure.

W3C Trace Context, level 1 (https://www.w3.org/TR/trace-context-1/): a sound `traceparent` is continued, with
its `tracestate`; otherwise a trace begins here, and a `tracestate` that came is dropped. Each attempt has a
span id of its own, which is the parent that its upstream sees.
"""

import re
from typing import Final

from mypy_extensions import mypyc_attr

from coregateway.http1.request import is_traceparent
from coregateway.model.ids import new_id

PROPAGATED: Final = (b"traceparent", b"tracestate")
"""The fields, in lower case, that a trace replaces."""

MAX_STATE: Final = 512
"""Characters of a `tracestate` that are passed on (§3.3.1.5)."""

MAX_MEMBERS: Final = 32
LONG_MEMBER: Final = 128
"""Characters of a member above which it is left out before others are, when not all can stay (§3.3.1.5)."""

_KEY: Final = rb"(?:[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}|[a-z0-9][a-z0-9_\-*/]{0,255})"
_VALUE: Final = rb"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
TRACE_ID: Final = 16
SPAN_ID: Final = 8
"""Bytes of each (W3C Trace Context §3.2.2)."""

_is_member: Final = re.compile(_KEY + rb"=" + _VALUE).fullmatch


@mypyc_attr(acyclic=True)
class Attempt:
    """One try at an upstream, of an exchange that is sampled. Times are seconds of the monotonic clock.

    `ended` is 0.0, and nothing is known of the end, while it has not failed: the exchange knows.
    """

    __slots__ = ("ended", "error", "span_id", "started", "status", "upstream")

    def __init__(self, span_id: str, started: float) -> None:
        self.span_id = span_id
        self.started = started
        self.ended = 0.0
        self.upstream: str | None = None
        self.status: int | None = None
        self.error: str | None = None


@mypyc_attr(acyclic=True)
class Trace:
    """The trace that an exchange is part of. Ids are lower-case hexadecimal, 32 and 16 digits."""

    __slots__ = ("attempts", "fields", "host", "parent_id", "path", "sampled", "span_id", "state", "trace_id")

    def __init__(
        self, trace_id: str, span_id: str, parent_id: str, sampled: bool, state: bytes, host: bytes
    ) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        """Of the exchange."""
        self.parent_id = parent_id
        """Of the sender of the request; empty when the trace begins here."""
        self.sampled = sampled
        self.state = state
        """The value of `tracestate`; empty: none."""
        self.host = host
        """What the client said in `Host`, if it is sampled."""
        self.path = b""
        """What an upstream is asked for, without the query, if it is sampled."""
        self.attempts: tuple[Attempt, ...] = ()
        """Of an exchange that is sampled."""
        self.fields = self._fields(span_id)
        """The field lines, each with its line end, that tell an upstream of this attempt."""

    def _fields(self, span_id: str) -> bytes:
        line = b"traceparent: 00-%b-%b-%b\r\n" % (
            self.trace_id.encode(),
            span_id.encode(),
            b"01" if self.sampled else b"00",
        )
        return b"%btracestate: %b\r\n" % (line, self.state) if self.state else line

    def begin_attempt(self, now: float) -> None:
        """Another try begins. `now`: seconds of the monotonic clock."""
        if self.sampled:  # otherwise no span has it, and the exchange's id serves as well
            span_id = new_id(SPAN_ID)
            self.attempts = (*self.attempts, Attempt(span_id, now))
            self.fields = self._fields(span_id)

    def fail_attempt(self, upstream: str | None, status: int | None, error: str, now: float) -> None:
        """The try has failed. `upstream`: its name; `status`: of its response, if one had begun."""
        if self.sampled:
            attempt = self.attempts[-1]
            attempt.upstream = upstream
            attempt.status = status
            attempt.error = error
            attempt.ended = now


class Tracer:
    """Finds the trace of each exchange. `sample`: the share of the traces begun here that is sampled.

    What comes is sampled where its caller says so. Of the others the trace id decides, in its lower half, as
    OpenTelemetry's `TraceIdRatioBased` has it: gateways with the same share choose the same traces.

    None is made before one is asked for, so that processes that fork before they serve share none.
    """

    __slots__ = ("_bound",)

    def __init__(self, sample: float) -> None:
        bound = round(sample * (1 << 64))
        self._bound = f"{bound:016x}" if bound < 1 << 64 else "g"
        """Digits that stand, in their order, behind those of an id that is sampled."""

    def begin(self, noted: dict[bytes, bytes]) -> Trace:
        """The trace of a request. `noted`: the values of its fields by lower-case name."""
        given = noted.get(b"traceparent")
        if given is not None and (match := is_traceparent(given)):
            trace_id, parent_id, flags = match.groups()
            return Trace(
                trace_id.decode(),
                new_id(SPAN_ID),
                parent_id.decode(),
                int(flags, 16) & 1 == 1,
                bounded_state(noted.get(b"tracestate", b"")),
                noted.get(b"host", b""),
            )
        # An id of zeros is none; one comes up once in centuries of 10⁹ requests/s.
        trace_id = new_id(TRACE_ID)
        sampled = trace_id[16:] < self._bound
        host = noted.get(b"host", b"") if sampled else b""
        return Trace(trace_id, new_id(SPAN_ID), "", sampled, b"", host)


def bounded_state(value: bytes) -> bytes:
    """The value of `tracestate` that is passed on: as it came, if it is sound and within the limits.

    One that cannot be parsed, or has more than 32 members, is dropped whole (§3.3.1). Of one with more than
    512 characters members of more than 128 go first, then the last ones.
    """
    if not value:
        return b""
    members = [member for part in value.split(b",") if (member := part.strip(b" \t"))]
    if len(members) > MAX_MEMBERS or not all(map(_is_member, members)):
        return b""
    if len(value) <= MAX_STATE:
        return value
    size = sum(map(len, members)) + len(members) - 1
    for at in reversed(range(len(members))):
        if size > MAX_STATE and len(members[at]) > LONG_MEMBER:
            size -= len(members.pop(at)) + 1
    while size > MAX_STATE:
        size -= len(members.pop()) + 1
    return b",".join(members)
