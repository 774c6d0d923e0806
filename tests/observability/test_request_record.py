"""What is kept of one request, and that there is room for it whatever it says."""

from typing import Any

import orjson
import pytest

from coregateway.cli.explained_request import text
from coregateway.http1.rules import REQUEST_LINE
from coregateway.model.errors import ConnectFailed
from coregateway.model.exchange import Exchange
from coregateway.observability.request_record import ATTEMPTS, record
from coregateway.shared_memory.ring import MAX_TEXT


def ended(**values: Any) -> Exchange:
    exchange = Exchange(100.0, "192.0.2.1")
    exchange.ended = 101.0
    exchange.request_id = "an-id"
    for name, value in values.items():
        setattr(exchange, name, value)
    return exchange


def kept(exchange: Exchange) -> dict[str, Any]:
    return orjson.loads(record(None, exchange, "failed", 0.5))


def test_what_is_not_known_is_not_told() -> None:
    assert kept(ended()).keys() == {
        *("kind", "time", "id", "method", "path", "client", "bytes_in", "bytes_out"),
        *("ms", "duration_ms", "waited_ms", "attempts", "skipped"),
    }


def test_times_are_milliseconds_from_the_first_byte() -> None:
    exchange = ended(
        attempts=1, upstream="a:1", upstream_started=100.25, responded=100.5, upstream_ended=100.75
    )
    exchange.upstream_status = exchange.status = 200
    assert kept(exchange)["attempts"] == [
        {
            "upstream": "a:1",
            "began_ms": 0.0,
            "sent_ms": 250.0,
            "answered_ms": 500.0,
            "ended_ms": 750.0,
            "status": 200,
        }
    ]


def test_of_many_tries_the_first_ones_and_the_last_are_told() -> None:
    exchange = ended()
    for number in range(20):
        exchange.begin_attempt()
        exchange.fail_attempt(ConnectFailed(sent=False, upstream=f"a:{number}"))
    upstreams = [each["upstream"] for each in kept(exchange)["attempts"]]
    assert upstreams == [*(f"a:{number}" for number in range(ATTEMPTS - 1)), "a:19"]


@pytest.mark.parametrize("character", ["a", '"', "\\", "é"])
def test_it_fits_whatever_the_request_says(character: str) -> None:
    exchange = ended(
        method="M" * 5000,
        path="/" + character * 20_000,
        request_id="i" * 128,
        upstream="u" * 300,
        backend=character * 300,
        route="r" * 300,
        consumer=character * 300,
        auth="a" * 300,
        limited_by="l" * 300,
        rule=REQUEST_LINE,
        error="upstream_protocol",
        status=502,
    )
    for _ in range(20):
        exchange.begin_attempt()
        exchange.fail_attempt(ConnectFailed(sent=False, upstream="u" * 300))
    told = record(None, exchange, "failed", 0.5)
    assert len(told) <= MAX_TEXT
    assert orjson.loads(told)["path"].startswith("/" + character)
    assert "left out" in text(orjson.loads(told) | {"worker": 0}) or "cut" not in orjson.loads(told)


def test_it_is_told_in_words() -> None:
    exchange = ended(method="GET", path="/x", status=504, error="read_timeout", backend="a", attempts=1)
    exchange.upstream, exchange.upstream_started, exchange.waited = "a:1", 100.25, 0.125
    told = text(kept(exchange) | {"worker": 1, "skipped": 3})
    assert told.startswith("GET /x\n  an-id, ended ")
    for words in (
        " in worker 1\n",
        "  a:1: read_timeout, began after 0 ms, sent after 250 ms, over after 1000 ms\n",
        "answer    504 read_timeout\n",
        "500 ms to the answer, 1000 ms in all, 125 ms of it in the queue for a connection\n",
        "3 like it before were not kept\n",
    ):
        assert words in told
