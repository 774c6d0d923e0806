import re
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.http1.request import RequestHead
from coregateway.model.exchange import Exchange, request_id
from coregateway.model.trace import Tracer

quick = settings(max_examples=200, deadline=None, derandomize=True)


@pytest.mark.parametrize(
    "given_id",
    [b"a", b"0", b"-", b"~._-", b"3f2504e0-4f89-11d3-9a0c-0305e82c3301", b"A" * 128, b"Root.1~x_y"],
)
def test_a_client_s_id_that_fits_is_kept(given_id: bytes) -> None:
    assert request_id(given_id) == given_id.decode()


@pytest.mark.parametrize(
    "given_id",
    [
        None, b"", b" ", b"a b", b" a", b"a ", b"a,b", b"a, a", b"a/b", b"a+b", b"a=", b"a:b", b'"a"',
        b"a\n", b"\na", b"a\r\nX: y", b"a\0", b"\xe9", b"a\xb2", b"<a>", b"%61", b"A" * 129,
    ],
)  # fmt: skip
def test_any_other_is_replaced_by_a_new_one(given_id: bytes | None) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", request_id(given_id))
    assert request_id(given_id) != request_id(given_id)


@quick
@given(st.binary(max_size=140) | st.text("aZ09._~-\n ", max_size=140).map(str.encode))
def test_an_id_is_always_fit_for_headers_and_logs(given_id: bytes) -> None:
    used = request_id(given_id)
    assert set(used) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-")
    assert 1 <= len(used) <= 128
    if used.encode() != given_id:
        assert not re.fullmatch(rb"[A-Za-z0-9._~-]{1,128}", given_id)


def test_an_exchange_begins_with_nothing_known_but_who_and_when() -> None:
    exchange = Exchange(100.0, "192.0.2.7")
    assert (exchange.started, exchange.client) == (100.0, "192.0.2.7")
    known = {"started", "client"}
    assert not any(getattr(exchange, name) for name in Exchange.__slots__ if name not in known)


TRACEPARENT = b"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("lines", "request_id", "shared"),
    [
        ((), None, True),
        ((b"X-Request-ID: mine",), "mine", False),
        ((b"X-Request-ID: not fit",), None, False),
        ((TRACEPARENT,), None, False),
        ((TRACEPARENT, b"X-Request-ID: mine"), "mine", False),
    ],
)
def test_a_trace_that_begins_here_lends_its_id_to_a_request_without_one(
    lines: tuple[bytes, ...], request_id: str | None, shared: bool
) -> None:
    head = RequestHead(b"\r\n".join((b"GET /x?y HTTP/1.1", b"Host: gw.test", *lines)))
    exchange = Exchange(100.0, "192.0.2.7")
    exchange.describe(head, Tracer(0.5))
    assert exchange.trace is not None
    assert (exchange.request_id == exchange.trace.trace_id) is shared
    assert request_id is None or exchange.request_id == request_id
    assert re.fullmatch(r"mine|[0-9a-f]{32}", exchange.request_id)
    untraced = Exchange(100.0, "192.0.2.7")
    untraced.describe(head, None)
    assert untraced.trace is None
    assert (untraced.method, untraced.path, untraced.protocol) == ("GET", "/x", "HTTP/1.1")


def test_times_are_measured_from_the_first_byte() -> None:
    exchange = Exchange(100.0, "192.0.2.7")
    exchange.upstream_started = 100.25
    exchange.upstream_ended = 101.0
    exchange.ended = 101.5
    assert (exchange.duration, exchange.upstream_duration) == (1.5, 0.75)


@pytest.mark.parametrize(
    ("upstream_started", "upstream_ended", "duration"),
    [(0.0, 0.0, 0.0), (100.5, 0.0, 1.0), (100.5, 101.0, 0.5)],
)
def test_the_upstream_s_time_ends_with_the_exchange_at_the_latest(
    upstream_started: float, upstream_ended: float, duration: float
) -> None:
    exchange = Exchange(100.0, "192.0.2.7")
    exchange.upstream_started = upstream_started
    exchange.upstream_ended = upstream_ended
    exchange.ended = 101.5
    assert exchange.upstream_duration == duration


def test_an_exchange_under_way_has_lasted_until_now() -> None:
    started = monotonic() - 60.0
    exchange = Exchange(started, "192.0.2.7")
    assert 60.0 <= exchange.duration <= monotonic() - started
    assert exchange.upstream_duration == 0.0
    exchange.upstream_started = started + 10.0
    assert 50.0 <= exchange.upstream_duration <= monotonic() - exchange.upstream_started
