"""Spans that wait to be sent: whose they are, when they are written, and how many there may be."""

from collections.abc import Callable

from coregateway.observability.tracing.waiting import ENOUGH, TOGETHER, WaitingSpans
from tests.observability.tracing.test_spans import exchange_of


def waiting(most: int = 4096, enough: Callable[[], None] = lambda: None) -> WaitingSpans:
    return WaitingSpans(most, enough, epoch=0)


def test_only_exchanges_that_are_sampled_have_spans() -> None:
    exchange, _ = exchange_of()
    not_sampled, trace = exchange_of()
    trace.sampled = False
    without, _ = exchange_of()
    without.trace = None
    spans = waiting()
    spans.record([not_sampled, exchange, without])
    spans.write()
    assert len(spans.spans) == 2


def test_spans_are_written_when_some_have_come_together_or_on_demand() -> None:
    spans = waiting()
    spans.record([exchange_of()[0] for _ in range(TOGETHER - 1)])
    assert not spans.spans
    spans.record([exchange_of()[0]])
    assert len(spans.spans) == 2 * TOGETHER
    spans.record([exchange_of()[0]])
    spans.write()
    assert len(spans.spans) == 2 * TOGETHER + 2


def test_it_is_told_when_so_many_wait_that_they_need_not_wait_for_others() -> None:
    told: list[int] = []
    spans = waiting(enough=lambda: told.append(len(spans.spans)))
    while len(spans.spans) < ENOUGH:
        assert told == []
        spans.record([exchange_of()[0]])
    assert told == [ENOUGH]


def test_what_finds_no_room_is_dropped_and_counted() -> None:
    spans = waiting(most=10)
    spans.record([exchange_of()[0] for _ in range(TOGETHER)])
    assert (len(spans.spans), spans.dropped) == (10, 2 * TOGETHER - 10)
