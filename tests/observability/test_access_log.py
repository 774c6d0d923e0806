import json
from time import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.http1.rules import TWO_LENGTHS
from coregateway.logs.fields import CHOOSABLE, CORE, RARE, REQUEST, TRACE
from coregateway.logs.line import encode, timestamp
from coregateway.model.errors import BadRequest
from coregateway.model.exchange import Exchange
from coregateway.model.trace import Tracer
from coregateway.observability.access_log import is_sampled, recorder, request_fields
from coregateway.observability.request_line import between
from coregateway.settings import AccessLogSettings

quick = settings(max_examples=200, deadline=None, derandomize=True)

MAX_LINE = 4096

FIELDS = [
    "time", "level", "event", "worker", "request_id", "client", "method", "path", "protocol", "backend",
    "upstream", "status", "upstream_status", "duration_ms", "upstream_ms", "overhead_ms", "attempts",
    "bytes_in", "bytes_out", "error",
]  # fmt: skip


def exchange(**known: Any) -> Exchange:
    """A finished one that took 1.5 s; what is not given stays unknown."""
    made = Exchange(100.0, "192.0.2.7")
    made.ended = 101.5
    for name, value in known.items():
        setattr(made, name, value)
    return made


def line_of(finished: Exchange, *, now: float = 0.0, worker: str = "Sanic-Server-0-0") -> dict[str, Any]:
    raw = encode(request_fields(finished, now, worker))
    assert raw.endswith(b"\n")
    assert raw.count(b"\n") == 1
    assert len(raw) <= MAX_LINE
    return json.loads(raw)


def test_a_line_has_the_fields_of_the_contract() -> None:
    told = line_of(
        exchange(
            request_id="id-1",
            method="POST",
            path="/api/v1/coredinator/x",
            protocol="HTTP/1.1",
            backend="coredinator",
            upstream="localhost:7000",
            status=504,
            upstream_status=200,
            upstream_started=100.0625,
            upstream_ended=101.0,
            attempts=2,
            bytes_in=3,
            bytes_out=4,
            error="read_timeout",
        ),
        now=1767323045.6789,
    )
    assert list(told) == FIELDS
    assert told == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "INFO",
        "event": "request",
        "worker": "Sanic-Server-0-0",
        "request_id": "id-1",
        "client": "192.0.2.7",
        "method": "POST",
        "path": "/api/v1/coredinator/x",
        "protocol": "HTTP/1.1",
        "backend": "coredinator",
        "upstream": "localhost:7000",
        "status": 504,
        "upstream_status": 200,
        "duration_ms": 1500.0,
        "upstream_ms": 937.5,
        "overhead_ms": 562.5,
        "attempts": 2,
        "bytes_in": 3,
        "bytes_out": 4,
        "error": "read_timeout",
    }


def test_what_a_malformed_head_leaves_unknown_is_null() -> None:
    told = line_of(exchange(status=400, error="bad_request"))
    unknown = [name for name in FIELDS if told[name] is None]
    assert list(told) == FIELDS
    assert unknown == [*FIELDS[4:5], *FIELDS[6:11], "upstream_status", "upstream_ms"]
    assert (told["attempts"], told["bytes_in"], told["bytes_out"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("now", "shown"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (951782399.9999, "2000-02-28T23:59:59.999Z"),
        (951782400.0, "2000-02-29T00:00:00.000Z"),
        (1767225600.001, "2026-01-01T00:00:00.001Z"),
    ],
)
def test_the_time_is_rfc_3339_in_utc_with_milliseconds(now: float, shown: str) -> None:
    assert line_of(exchange(), now=now)["time"] == shown


LONGEST: dict[str, Any] = {
    "request_id": "~" * 128,
    "client": "2001:0db8:ffff:ffff:ffff:ffff:255.255.255.255",
    "method": "M" * 16_000,
    "path": "/" + '"' * 16_000,
    "protocol": "HTTP/1.1",
    "backend": "b" * 63,
    "upstream": "h" * 253 + ":65535",
    "status": 599,
    "upstream_status": 999,
    "started": 0.0,
    "ended": 31_536_000.123_456_7,
    "upstream_started": 0.000_1,
    "upstream_ended": 31_536_000.123,
    "attempts": 2**31,
    "bytes_in": 2**63 - 1,
    "bytes_out": 2**63 - 1,
    "error": "method_not_allowed",
}


@pytest.mark.parametrize("filler", ['"', "\\", "x", "%"])
def test_a_line_at_its_longest_fits_with_every_field(filler: str) -> None:
    told = line_of(exchange(**LONGEST | {"path": filler * 16_000}), worker="Sanic-Server-1023-0")
    assert list(told) == FIELDS
    assert told["path"] == filler * 1024
    assert told["method"] == "M" * 32
    assert told["bytes_out"] == 2**63 - 1


@pytest.mark.parametrize(
    "names",
    [{"backend": "b" * 5000}, {"upstream": "h" * 5000}, {"backend": "b" * 900, "upstream": "h" * 900}],
)
def test_names_of_any_length_cost_neither_the_line_nor_its_limit(names: dict[str, str]) -> None:
    told = line_of(exchange(**LONGEST | names))
    assert told["clipped"] is True
    assert told["status"] == 599
    assert told["request_id"] == "~" * 128


PATHS = st.text("/\\\"%ax{}<'~", max_size=5000) | st.just('"' * 1024)
NAMES = st.text('ab-.:[\\"', max_size=2500)


@quick
@given(PATHS, NAMES, NAMES, st.integers(0, 2**80), st.floats(0, 1e9))
def test_whatever_the_fields_hold_the_line_is_one_of_json_and_short_enough(
    path: str, backend: str, upstream: str, size: int, ended: float
) -> None:
    finished = exchange(path=path, backend=backend, upstream=upstream, bytes_in=size, bytes_out=size)
    finished.started, finished.ended = 0.0, ended
    told = line_of(finished)
    assert (told["event"], told["level"], told["client"]) == ("request", "INFO", "192.0.2.7")


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [(0.0, 0.0), (0.0000004, 0.0), (0.0000006, 0.001), (0.0012344, 1.234), (0.0012346, 1.235), (7.0, 7000.0)],
)
def test_times_are_rounded_to_microseconds(seconds: float, milliseconds: float) -> None:
    finished = exchange(started=0.0, ended=seconds)
    assert line_of(finished)["duration_ms"] == milliseconds


def test_the_overhead_is_what_the_upstream_did_not_take() -> None:
    told = line_of(exchange(upstream_started=100.1, upstream_ended=101.3))
    assert told["duration_ms"] == pytest.approx(told["upstream_ms"] + told["overhead_ms"], abs=0.002)
    nothing_sent = line_of(exchange())
    assert nothing_sent["overhead_ms"] == nothing_sent["duration_ms"] == 1500.0


def test_a_recorder_writes_one_line_for_each_exchange() -> None:
    written: list[bytes] = []
    record = recorder(written.append, "Sanic-Server-0-0", AccessLogSettings())
    before = time()
    record(exchanges=[exchange(request_id="first", error="read_timeout"), exchange(request_id="second")])
    (data,) = written
    told = [json.loads(line) for line in data.splitlines()]
    assert [(line["request_id"], line["worker"]) for line in told] == [
        ("first", "Sanic-Server-0-0"),
        ("second", "Sanic-Server-0-0"),
    ]
    assert [line["error"] for line in told] == ["read_timeout", None]
    assert all(timestamp(before) <= line["time"] <= timestamp(time()) for line in told)


def test_every_field_can_be_chosen_but_those_that_every_line_has() -> None:
    assert [*CORE, *REQUEST] == FIELDS
    assert list(CHOOSABLE) == [*FIELDS[4:], "trace_id", "span_id", *RARE]


CALLED = {"consumer": "dashboard", "auth": "key", "auth_outcome": "ok"}


def shared() -> Exchange:
    made = exchange(path="/x", upstream_started=100.1, backend="next")
    made.share = "next"
    return made


def refused() -> Exchange:
    made = exchange(status=400, path="/x", upstream_started=100.1)
    made.fail(BadRequest(TWO_LENGTHS))
    return made


def limited() -> Exchange:
    made = exchange(path="/x", upstream_started=100.1, route_name="start-agent", share="next")
    made.limited_by = "per-client"
    return made


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(
    "finished",
    [
        exchange(),  # nothing is known: encoded
        exchange(path="/x", upstream_started=100.1),  # put together
        exchange(
            path="/x", upstream_started=100.1, trace=Tracer(1.0).begin({})
        ),  # put together, with its trace
        exchange(path='/"', upstream_started=100.1, trace=Tracer(1.0).begin({})),  # encoded, with its trace
        shared(),  # put together, with a choice
        exchange(path="/x", upstream_started=100.1, route_name="start-agent"),  # put together
        exchange(path="/x", upstream_started=100.1, **CALLED),  # put together, with a trace too
        exchange(path="/x", upstream_started=100.1, **CALLED, trace=Tracer(1.0).begin({})),
        exchange(path="/x", upstream_started=100.1, **CALLED | {"consumer": '"', "auth_error": "role"}),
        exchange(path='/"', upstream_started=100.1, route_name="start-agent"),  # encoded
        exchange(path="/x", upstream_started=100.1, route_name="start-agent", share="next"),
        exchange(path='/"', upstream_started=100.1, route_name="start-agent", share="next"),
        refused(),
        limited(),
        exchange(path="/x", upstream_started=100.1, validation="ok", share="next"),  # put together
        exchange(path='/"', upstream_started=100.1, validation="failed", share="next"),
    ],
    ids=[
        *("unknown", "usual", "traced", "escaped", "shared", "named", "called"),
        *("called and traced", "forbidden", "named and escaped", "both", "both and escaped", "refused"),
        *("limited", "validated", "validated and escaped"),
    ],
)
def test_a_line_has_the_fields_that_are_written_down_in_their_order(finished: Exchange, traced: bool) -> None:
    """Whichever way writes it."""
    caller = finished.consumer, finished.auth, finished.auth_error
    why = finished.limited_by, finished.share, finished.validation, finished.rule
    rare = (finished.route_name, finished.client_cert, *caller, *why)
    told = [name for name, value in zip(RARE, rare, strict=True) if value is not None]
    expected = (*CORE, *REQUEST, *(TRACE if traced else ()), *told)
    (line,) = written(AccessLogSettings(), finished, traced=traced)
    assert tuple(line) == expected
    assert tuple(request_fields(finished, 0.0, "w", traced=traced)) == expected
    (chosen,) = written(AccessLogSettings(fields=CHOOSABLE), finished, traced=traced)
    assert tuple(chosen) == expected


@pytest.mark.parametrize("name", ["route", "auth", "times"])
def test_a_field_without_a_value_cannot_be_put_into_a_line(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        between((*REQUEST[:1], name), {})


def written(settings: AccessLogSettings, *finished: Exchange, **options: Any) -> list[dict[str, Any]]:
    """The lines that these exchanges get."""
    data: list[bytes] = []
    record = recorder(data.append, "w", settings, **options)
    record(exchanges=list(finished))
    return [json.loads(line) for line in b"".join(data).splitlines()]


def test_a_line_has_the_chosen_fields_in_their_usual_order() -> None:
    settings = AccessLogSettings(fields=("error", "status"))
    (line,) = written(settings, exchange(status=200))
    assert list(line) == ["time", "level", "event", "worker", "status", "error"]


@pytest.mark.parametrize(
    ("chosen", "shown"),
    [
        ((), [*FIELDS, "trace_id", "span_id"]),
        (("trace_id", "status"), [*FIELDS[:4], "status", "trace_id"]),
        (("status",), [*FIELDS[:4], "status"]),
    ],
)
def test_the_ids_of_a_trace_end_the_line_and_are_not_those_of_the_one_before(
    chosen: tuple[str, ...], shown: list[str]
) -> None:
    settings = AccessLogSettings(fields=chosen)
    trace = Tracer(1.0).begin({})
    with_trace, without = written(settings, exchange(trace=trace), exchange(), traced=True)
    assert list(with_trace) == list(without) == shown
    assert with_trace.get("trace_id", trace.trace_id) == trace.trace_id
    assert with_trace.get("span_id", trace.span_id) == trace.span_id
    assert (without.get("trace_id"), without.get("span_id")) == (None, None)


REASON_LAST: list[tuple[dict[str, Any], tuple[str, ...], list[str]]] = [
    ({}, (), [*FIELDS, "reason"]),
    ({"traced": True}, (), [*FIELDS, "trace_id", "span_id", "reason"]),
    ({}, ("reason", "status"), [*FIELDS[:4], "status", "reason"]),
    ({}, ("status",), [*FIELDS[:4], "status"]),
]


@pytest.mark.parametrize(("options", "chosen", "shown"), REASON_LAST)
def test_a_reason_ends_the_line_of_the_request_that_has_one_and_no_other(
    options: dict[str, Any], chosen: tuple[str, ...], shown: list[str]
) -> None:
    relayed = exchange(status=200, upstream_started=100.1, path="/x")
    refused = exchange(status=400, path="/x", upstream_started=100.1)
    refused.fail(BadRequest(TWO_LENGTHS))
    settings = AccessLogSettings(fields=chosen)
    first, second, third = written(settings, relayed, refused, relayed, **options)
    assert list(second) == shown
    assert list(first) == list(third) == [name for name in shown if name != "reason"]
    assert second.get("reason", "two Content-Length fields") == "two Content-Length fields"


def test_a_chosen_field_that_nobody_gives_is_left_out() -> None:
    (line,) = written(AccessLogSettings(fields=("trace_id", "status")), exchange())
    assert list(line) == [*FIELDS[:4], "status"]


QUICK: dict[str, Any] = {"status": 200, "ended": 100.25}


@pytest.mark.parametrize(
    ("known", "always"),
    [
        (QUICK, False),
        (QUICK | {"status": 499}, False),
        (QUICK | {"status": 500}, True),
        (QUICK | {"status": 503, "upstream_status": 503}, True),
        (QUICK | {"status": 404, "error": "no_route"}, True),
        (QUICK | {"error": "upstream_closed"}, True),
        (QUICK | {"status": None}, True),
        (QUICK | {"ended": 100.5}, True),
    ],
)
def test_errors_and_slow_requests_always_have_a_line(known: dict[str, Any], always: bool) -> None:
    finished = exchange(request_id="id", **known)
    assert len(written(AccessLogSettings(sample=0.0, slow=0.5), finished)) == always
    assert len(written(AccessLogSettings(sample=1.0, slow=0.5), finished)) == 1


@pytest.mark.parametrize("kind", ["{:032x}", "id-{}", "{}"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_the_share_holds_for_ids_of_any_kind_and_is_the_same_ones_each_time(kind: str, share: float) -> None:
    ids = [kind.format(number) for number in range(20_000)]
    sampled = [each for each in ids if is_sampled(each, share)]
    assert len(sampled) == pytest.approx(share * len(ids), rel=0.2)
    assert sampled == [each for each in ids if is_sampled(each, share)]
    assert {each for each in ids if is_sampled(each, share / 2)} < set(sampled)
