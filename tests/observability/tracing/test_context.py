"""Whose trace a request belongs to, and what its upstreams are told."""

import re

import pytest
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from coregateway.model.trace import MAX_STATE, Trace, Tracer, bounded_state

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
GIVEN = f"00-{TRACE_ID}-{PARENT_ID}-01".encode()


def noted(traceparent: bytes = GIVEN, tracestate: bytes | None = None) -> dict[bytes, bytes]:
    fields = {b"host": b"gw:8001", b"traceparent": traceparent}
    return fields if tracestate is None else {**fields, b"tracestate": tracestate}


def told(fields: bytes) -> tuple[str, str, str]:
    """Trace id, span id and flags of the one field line."""
    match = re.fullmatch(rb"traceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\r\n", fields)
    assert match is not None
    trace_id, span_id, flags = (each.decode() for each in match.groups())
    return trace_id, span_id, flags


@pytest.mark.parametrize(
    ("flags", "sampled"),
    [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True), ("fe", False)],
)
@pytest.mark.parametrize("sample", [0.0, 1.0])
def test_a_trace_that_comes_is_continued_and_sampled_as_its_caller_says(
    flags: str, sampled: bool, sample: float
) -> None:
    trace = Tracer(sample).begin(noted(GIVEN[:-2] + flags.encode()))
    assert (trace.trace_id, trace.parent_id, trace.sampled) == (TRACE_ID, PARENT_ID, sampled)
    trace.begin_attempt(1.0)
    trace_id, span_id, told_flags = told(trace.fields)
    assert trace_id == TRACE_ID
    assert PARENT_ID not in (span_id, trace.span_id)
    assert (span_id != trace.span_id) == sampled
    assert told_flags == ("01" if sampled else "00")


def test_a_later_version_is_continued_as_ours() -> None:
    trace = Tracer(0.0).begin(noted(b"cc" + GIVEN[2:] + b"-what-the-future-brings"))
    trace.begin_attempt(1.0)
    assert told(trace.fields)[0] == TRACE_ID


@pytest.mark.parametrize(
    "given",
    [
        b"",
        GIVEN[:-1],
        GIVEN + b"-",
        b"ff" + GIVEN[2:],
        GIVEN.upper(),
        b"00-" + b"0" * 32 + GIVEN[35:],
        GIVEN[:36] + b"0" * 16 + GIVEN[52:],
        GIVEN + b", " + GIVEN,
    ],
)
def test_after_a_broken_one_a_trace_begins_here_without_the_state_that_came(given: bytes) -> None:
    trace = Tracer(1.0).begin(noted(given, b"vendor=1"))
    trace.begin_attempt(1.0)
    assert trace.trace_id != TRACE_ID
    assert trace.parent_id == ""
    assert told(trace.fields)[0] == trace.trace_id


def test_a_state_without_a_trace_is_dropped() -> None:
    trace = Tracer(1.0).begin({b"tracestate": b"vendor=1"})
    assert b"tracestate" not in trace.fields


def test_traces_begun_here_have_ids_of_their_own() -> None:
    traces = [Tracer(0.5).begin({}) for _ in range(1000)]
    assert len({trace.trace_id for trace in traces}) == len({trace.span_id for trace in traces}) == 1000


@pytest.mark.parametrize("sample", [0.0, 0.1, 0.5, 1.0])
def test_the_share_is_chosen_as_opentelemetry_chooses_it(sample: float) -> None:
    sampler = TraceIdRatioBased(sample)
    tracer = Tracer(sample)
    traces = [tracer.begin({}) for _ in range(4000)]
    for trace in traces:
        decision = sampler.should_sample(None, int(trace.trace_id, 16), "").decision
        assert trace.sampled == (decision == Decision.RECORD_AND_SAMPLE)
    share = sum(trace.sampled for trace in traces) / len(traces)
    assert share == pytest.approx(sample, abs=0.04)  # five standard deviations


def told_by_attempts(trace: Trace) -> list[str]:
    seen: list[str] = []
    for now in (1.0, 2.0, 3.0):
        trace.begin_attempt(now)
        seen.append(told(trace.fields)[1])
    return seen


def test_each_attempt_of_a_sampled_exchange_tells_a_span_id_of_its_own() -> None:
    trace = Tracer(1.0).begin({})
    seen = told_by_attempts(trace)
    assert len({trace.span_id, *seen}) == 4
    assert [attempt.span_id for attempt in trace.attempts] == seen


def test_attempts_that_nobody_records_tell_the_span_id_of_their_exchange() -> None:
    trace = Tracer(0.0).begin({})
    assert told_by_attempts(trace) == [trace.span_id] * 3
    assert trace.attempts == ()


def member(number: int, length: int) -> bytes:
    return b"k%d=" % number + b"v" * (length - len(b"k%d=" % number))


LONG = member(1, 200)
SHORT = [member(number, 100) for number in range(2, 9)]


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (b"", b""),
        (b"congo=t61rcWkgMzE", b"congo=t61rcWkgMzE"),
        (b"rojo=00f067aa0ba902b7 ,\tcongo=t61rcWkgMzE", b"rojo=00f067aa0ba902b7 ,\tcongo=t61rcWkgMzE"),
        (b"a=1,,b=2,", b"a=1,,b=2,"),
        (b"t1-_*/@s1-_*/=!\x22#$~ x", b"t1-_*/@s1-_*/=!\x22#$~ x"),
        (b"1a=1", b"1a=1"),
        (b",".join(b"k%d=v" % number for number in range(32)),) * 2,
        # not sound
        (b"no value", b""),
        (b"A=1", b""),
        (b"a=1,b", b""),
        (b"a==1", b""),
        (b"a=", b""),
        (b"a@=1", b""),
        (b"a@1b=1", b""),
        (b"a@b@c=1", b""),
        (b"a=\xff", b""),
        (b"a" * 257 + b"=1", b""),
        (b"a" * 242 + b"@s=1", b""),
        (b"a@" + b"s" * 15 + b"=1", b""),
        (b"a=" + b"v" * 257, b""),
        (b",".join(b"k%d=v" % number for number in range(33)), b""),
        # too long
        (b",".join([SHORT[0], LONG, *SHORT[1:4]]), b",".join(SHORT[:4])),
        (b",".join(SHORT), b",".join(SHORT[:5])),
        (b",".join([LONG, *SHORT]), b",".join(SHORT[:5])),
        (b",".join([member(1, 150), member(2, 200), member(3, 250)]), member(1, 150) + b"," + member(2, 200)),
    ],
)
def test_a_state_passes_within_the_limits(given: bytes, passed: bytes) -> None:
    assert bounded_state(given) == passed
    assert len(passed) <= MAX_STATE
    trace = Tracer(0.0).begin(noted(tracestate=given))
    assert trace.fields.partition(b"\r\n")[2] == (b"tracestate: %b\r\n" % passed if passed else b"")
