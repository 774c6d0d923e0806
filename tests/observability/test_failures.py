"""Failed requests by their causes, from all workers, within bounds."""

from typing import Any

import orjson

from coregateway.model.exchange import Exchange
from coregateway.observability.failures import GROUPS, HOUR, Failures, joined
from coregateway.shared_memory.board import FAILURES

NOON = 1_764_417_600.0


def failed(
    error: str | None = "read_timeout", status: int = 504, name: str = "a", path: str = "1"
) -> Exchange:
    exchange = Exchange(0.0, "192.0.2.1")
    exchange.error, exchange.status, exchange.request_id = error, status, f"id-{path}"
    exchange.backend = exchange.route_name = name
    exchange.upstream = f"{name}:80"
    return exchange


def told(*workers: Failures, now: float = NOON) -> list[dict[str, Any]]:
    return joined([worker.take_text() or b"" for worker in workers], now)


def test_what_failed_alike_is_one_group_over_all_workers() -> None:
    one, other = Failures(), Failures()
    one.count(failed(), NOON - 50)
    one.count(failed(), NOON - 10).example = "of one"
    other.count(failed(), NOON - 90).example = "of the other"
    other.count(failed(None, 503), NOON - 5)
    first, second = told(one, other)
    assert first == {
        "error": "read_timeout",
        "status": 504,
        "backend": "a",
        "route": "a",
        "upstream": "a:80",
        "count": 3,
        "first": NOON - 90,
        "last": NOON - 10,
        "example": "of one",
    }
    assert (second["error"], second["status"], second["count"]) == (None, 503, 1)


def test_the_first_example_is_there_at_once() -> None:
    worker = Failures()
    worker.count(failed(path="7"), NOON)
    assert told(worker)[0]["example"] == "id-7"


def test_nothing_is_written_where_nothing_has_changed() -> None:
    worker = Failures()
    assert worker.take_text() is None
    worker.count(failed(), NOON)
    assert worker.take_text() is not None
    assert worker.take_text() is None


def test_a_process_goes_on_from_what_another_has_left() -> None:
    killed, successor = Failures(), Failures()
    killed.count(failed(), NOON - 20)
    successor.load(killed.take_text() or b"")
    successor.count(failed(), NOON)
    (group,) = told(successor)
    assert (group["count"], group["first"], group["last"]) == (2, NOON - 20, NOON)


def test_what_is_over_for_an_hour_is_not_shown_and_begins_anew() -> None:
    worker = Failures()
    worker.count(failed(), NOON)
    text = worker.take_text() or b""
    assert joined([text], NOON + HOUR + 1) == []
    worker.count(failed(), NOON + HOUR + 1)
    (group,) = told(worker, now=NOON + HOUR + 1)
    assert (group["count"], group["first"]) == (1, NOON + HOUR + 1)


def test_groups_are_bounded_and_have_room_at_their_longest() -> None:
    worker = Failures()
    for number in range(2 * GROUPS):
        exchange = failed(name=f"{'n' * 300}", path="i" * 125)
        exchange.error = f"{'e' * 90}{number}"
        exchange.upstream = f"{'u' * 300}{number}"
        worker.count(exchange, NOON + number)
    text = worker.take_text() or b""
    assert len(orjson.loads(text)) == GROUPS
    assert len(text) <= FAILURES
    worker.count(failed(path="late"), NOON + 9 * GROUPS)
    assert len(told(worker, now=NOON + 9 * GROUPS)) <= GROUPS
