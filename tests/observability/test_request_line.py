import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coregateway.http1.rules import CHUNK_SIZE
from coregateway.logs.line import encode, timestamp
from coregateway.model.errors import ReadTimeout
from coregateway.model.exchange import Exchange
from coregateway.model.trace import Tracer
from coregateway.observability.access_log import request_fields
from coregateway.observability.request_line import LONGEST, MAX_PATH, REMEMBERED, RequestLines

NOW = 1_795_000_000.125
MAX_LINE = 4096

USUAL: dict[str, Any] = {
    "request_id": "4f60dec39e47351a412ec265754c56ab",
    "method": "GET",
    "path": "/api/v1/coredinator/agents",
    "protocol": "HTTP/1.1",
    "backend": "coredinator",
    "upstream": "localhost:7000",
    "status": 200,
    "upstream_status": 200,
    "upstream_started": 100.0001,
    "upstream_ended": 101.0,
    "attempts": 1,
    "bytes_in": 0,
    "bytes_out": 214,
}


def exchange(**known: Any) -> Exchange:
    """A finished one that took 1.5 s."""
    made = Exchange(100.0, "192.0.2.7")
    made.ended = 101.5
    for name, value in known.items():
        setattr(made, name, value)
    return made


def quick_line(finished: Exchange, lines: RequestLines | None = None) -> str | None:
    lines = lines or RequestLines("Sanic-Server-0-0", traced=False)
    return lines.line(finished, lines.beginning(timestamp(NOW)))


texts = st.text(st.characters(codec="ascii", min_codepoint=0x21, max_codepoint=0x7E), max_size=40)
names = st.none() | texts
counts = st.integers(0, 1 << 62)
seconds = st.floats(0, 1e6)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    known=st.fixed_dictionaries(
        {
            "method": names,
            "path": names | st.just("/" + "x" * MAX_PATH),
            "protocol": names,
            "backend": names,
            "upstream": names,
            "status": st.none() | st.integers(100, 599),
            "upstream_status": st.none() | st.integers(100, 599),
            "attempts": st.integers(0, 9),
            "bytes_in": counts,
            "bytes_out": counts,
            "error": names,
            "route_name": names,
            "consumer": names,
            "auth": names,
            "auth_error": names,
            "auth_outcome": st.just("ok"),
        }
    ),
    times=st.lists(seconds, min_size=4, max_size=4),
    traced=st.booleans(),
    read=st.booleans(),
)
@example(known=USUAL | {"path": '/"quoted"\\'}, times=[100.0, 100.1, 101.0, 101.5], traced=True, read=True)
@example(known=USUAL, times=[100.0, 0.0, 0.0, 101.5], traced=False, read=True)
def test_a_line_says_what_its_fields_would_say(
    known: dict[str, Any], times: list[float], traced: bool, read: bool
) -> None:
    finished = exchange(**USUAL | known)
    finished.started, finished.upstream_started, finished.upstream_ended, finished.ended = times
    if read:
        finished.trace = Tracer(1.0).begin({})
    line = quick_line(finished, RequestLines('the "first"', traced=traced))
    if line is not None:
        said = json.loads(line)
        expected = json.loads(encode(request_fields(finished, NOW, 'the "first"', traced=traced)))
        assert said == expected
        assert list(said) == list(expected)
        assert line.endswith("}\n")
        assert line.count("\n") == 1
        assert len(line) <= MAX_LINE


def test_a_usual_line_is_put_together() -> None:
    line = quick_line(exchange(**USUAL))
    assert line is not None
    assert '"duration_ms":1500.000,"upstream_ms":999.900,"overhead_ms":500.100' in line


@pytest.mark.parametrize(
    "known",
    [
        {"method": "POST"},
        {"status": 504},
        {"error": ReadTimeout.cause},
        {"upstream_status": 201},
        {"attempts": 2},
        {"upstream": "localhost:7002"},
        {"protocol": "HTTP/1.0"},
        {"backend": "coretelemetry"},
        {"route_name": "start-agent"},
        {"auth": "key", "auth_outcome": "ok"},
        {"consumer": "dashboard", "auth_outcome": "ok"},
    ],
)
def test_the_pieces_of_one_kind_do_not_serve_another(known: dict[str, Any]) -> None:
    lines = RequestLines("w", traced=False)
    for finished in (exchange(**USUAL | more) for more in ({}, known, {}, known)):
        line = quick_line(finished, lines)
        assert line is not None
        assert json.loads(line) == json.loads(encode(request_fields(finished, NOW, "w")))


def test_a_line_with_a_reason_is_left_to_others_also_behind_one_of_its_kind() -> None:
    lines = RequestLines("w", traced=False)
    assert quick_line(exchange(**USUAL | {"error": "bad_request"}), lines) is not None
    assert quick_line(exchange(**USUAL | {"error": "bad_request", "rule": CHUNK_SIZE}), lines) is None


def test_what_clients_make_up_is_not_kept_for_ever() -> None:
    lines = RequestLines("w", traced=False)
    for number in range(3 * REMEMBERED):
        line = quick_line(exchange(**USUAL | {"method": f"M{number}"}), lines)
        assert line is not None
        assert json.loads(line)["method"] == f"M{number}"
    assert lines.kinds <= REMEMBERED


def test_a_line_that_could_be_too_long_is_left_to_others() -> None:
    assert quick_line(exchange(**USUAL | {"path": "/" + "x" * MAX_PATH})) is None
    assert quick_line(exchange(**USUAL | {"backend": "b" * LONGEST})) is None
    longest = exchange(**USUAL | {"path": "/" + "x" * (MAX_PATH - 1), "request_id": "i" * 128})
    line = quick_line(longest)
    assert line is not None
    assert len(line) <= MAX_LINE
