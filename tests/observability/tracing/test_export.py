"""Spans on their way to a collector: what arrives, what is tried again, what is lost, and who is told."""

import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from coregateway import __version__
from coregateway.observability.tracing import export
from coregateway.observability.tracing.collector import MAX_ANSWER
from coregateway.observability.tracing.collector import Collector as Receiver
from coregateway.observability.tracing.export import Exporter
from coregateway.observability.tracing.waiting import ENOUGH
from tests.observability.tracing.collector import Collector, attributes, until
from tests.observability.tracing.test_spans import exchange_of


class Events(list[dict[str, Any]]):
    """What is logged, in the place of `logs.event`."""

    def __call__(self, name: str, **fields: Any) -> None:
        self.append({"event": name, **fields})


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Events:
    events = Events()
    monkeypatch.setattr(export, "event", events)
    return events


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction] -- by pytest
    monkeypatch.setattr(export, "INTERVAL", 0.02)
    monkeypatch.setattr(export, "RETRY", 0.05)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest_asyncio.fixture
async def exporter(collector: Collector) -> AsyncIterator[Exporter]:
    exporter = Exporter(collector.url, "worker-3")
    exporter.start()
    yield exporter
    await exporter.close()


def record(exporter: Exporter, count: int = 1) -> None:
    """Take exchanges of two spans each."""
    for _ in range(count):
        exporter.waiting.record([exchange_of()[0]])


async def test_spans_come_with_who_sent_them(collector: Collector, exporter: Exporter) -> None:
    record(exporter)
    await until(lambda: len(collector.spans) == 2)
    (message,) = collector.messages
    (resource,) = message.resource_spans
    (scope,) = resource.scope_spans
    assert attributes(resource.resource.attributes) == {
        "service.name": "coregateway",
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}/worker-3",
    }
    assert (scope.scope.name, scope.scope.version) == ("coregateway", __version__)
    ((path, fields),) = collector.heads
    assert path == "/v1/traces"
    assert fields["content-type"] == "application/x-protobuf"


async def test_times_are_those_of_the_calendar(collector: Collector, exporter: Exporter) -> None:
    begun = time.time_ns()
    now = time.monotonic()
    exchange, _ = exchange_of(started=now, ended=now + 0.5)
    exporter.waiting.record([exchange])
    await until(lambda: len(collector.spans) == 2)
    assert abs(collector.spans[0].start_time_unix_nano - begun) < 100_000_000


async def test_a_collector_may_be_below_a_path(collector: Collector) -> None:
    exporter = Exporter(f"{collector.url}/otlp", "worker")
    exporter.start()
    record(exporter)
    await exporter.close()
    assert [path for path, _ in collector.heads] == ["/otlp/v1/traces"]


async def test_many_spans_come_in_messages_of_bounded_size(
    collector: Collector, exporter: Exporter, events: Events
) -> None:
    record(exporter, 3000)
    await until(lambda: len(collector.spans) == 6000)
    assert len({span.span_id for span in collector.spans}) == 6000
    sizes = [len(message.resource_spans[0].scope_spans[0].spans) for message in collector.messages]
    assert max(sizes) <= export.BATCH
    assert events == []


async def test_enough_of_them_wait_for_no_others(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "INTERVAL", 60.0)
    exporter = Exporter(collector.url, "worker")
    exporter.start()
    for rounds in range(1, 4):
        record(exporter, ENOUGH // 2)
        await until(lambda: len(collector.spans) == rounds * ENOUGH)  # noqa: B023 -- called at once
    await exporter.close()


async def test_messages_share_a_connection(collector: Collector, exporter: Exporter) -> None:
    for count in (2, 4, 6):
        record(exporter)
        await until(lambda: len(collector.spans) == count)  # noqa: B023 -- called at once
    assert (len(collector.heads), len(collector.connections)) == (3, 1)


async def test_a_connection_that_was_closed_at_rest_is_made_anew(
    collector: Collector, exporter: Exporter, events: Events
) -> None:
    for count in (2, 4):
        record(exporter)
        await until(lambda: len(collector.spans) == count)  # noqa: B023 -- called at once
        collector.close_connections()
    assert len(collector.connections) == 2
    assert events == []


async def test_an_answer_too_long_to_be_read_costs_the_connection_alone(
    collector: Collector, exporter: Exporter, events: Events
) -> None:
    collector.answers.append((200, b"\0" * (2 * MAX_ANSWER)))
    for count in (2, 4):
        record(exporter)
        await until(lambda: len(collector.spans) == count)  # noqa: B023 -- called at once
    assert len(collector.connections) == 2
    assert events == []


async def test_no_more_of_an_answer_is_read_than_may_be(collector: Collector) -> None:
    """However much of it has come before anybody looks."""
    collector.answers.append((200, b"\0" * (MAX_ANSWER + MAX_ANSWER // 2)))
    receiver = Receiver(collector.url)
    for _ in range(2):
        await receiver.post(b"")
    receiver.close()
    assert len(collector.connections) == 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_collector_with_too_much_to_do_gets_them_later(
    collector: Collector, exporter: Exporter, events: Events, status: int
) -> None:
    collector.answers.extend([(status, b"later"), (status, b"later")])
    record(exporter)
    await until(lambda: len(collector.spans) == 2)
    record(exporter)
    await until(lambda: len(collector.spans) == 4)
    (event,) = events
    assert (event["reason"], event["dropped"], event["waiting"]) == (f"status {status}", 0, 2)


@pytest.mark.parametrize("status", [400, 401, 404, 500, 302])
async def test_what_a_collector_refuses_is_lost_and_counted(
    collector: Collector, exporter: Exporter, events: Events, status: int
) -> None:
    collector.answers.append((status, b"no"))
    record(exporter)
    await until(lambda: len(events) == 1)
    assert (events[0]["reason"], events[0]["dropped"]) == (f"status {status}", 2)
    record(exporter)
    await until(lambda: len(collector.spans) == 2)


async def test_what_a_collector_takes_but_in_part_is_counted(
    collector: Collector, exporter: Exporter, events: Events
) -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 1
    answer.partial_success.error_message = "too old"
    collector.answers.append((200, answer.SerializeToString()))
    record(exporter)
    await until(lambda: len(events) == 1)
    assert (events[0]["reason"], events[0]["dropped"]) == ("too old", 1)


async def test_an_answer_that_is_no_protobuf_is_left_alone(
    collector: Collector, exporter: Exporter, events: Events
) -> None:
    collector.answers.append((200, b"<html>"))
    record(exporter)
    await until(lambda: len(collector.spans) == 2)
    record(exporter)
    await until(lambda: len(collector.spans) == 4)
    assert events == []


async def test_what_finds_no_room_is_dropped_and_told_once_a_minute(
    collector: Collector, events: Events
) -> None:
    collector.answers.extend([(503, b"")] * 1000)
    exporter = Exporter(collector.url, "worker", most=10)
    record(exporter, 20)
    exporter.start()
    await until(lambda: len(collector.heads) >= 10)
    await exporter.close()
    (event,) = events
    assert (event["event"], event["level"], event["endpoint"]) == (
        "tracing.failing",
        "WARNING",
        collector.url,
    )
    assert (event["dropped"], event["waiting"]) == (30, 10)


async def test_it_is_told_again_after_a_minute(
    collector: Collector, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "REPORT", 0.2)
    collector.answers.extend([(400, b"")] * 1000)
    exporter = Exporter(collector.url, "worker")
    exporter.start()
    record(exporter)
    await until(lambda: len(events) == 1)
    record(exporter)
    await until(lambda: len(events) == 2)
    await exporter.close()
    assert [event["dropped"] for event in events] == [2, 2]


async def test_nobody_listening_is_no_more_than_a_line(events: Events) -> None:
    with Collector() as collector:
        url = collector.url
    exporter = Exporter(url, "worker")
    exporter.start()
    record(exporter)
    await until(lambda: len(events) == 1)
    await exporter.close()
    assert events[0]["reason"].startswith("ConnectionRefusedError")
    assert len(events) == 1


async def test_a_host_that_cannot_be_one_is_no_more_than_a_line(events: Events) -> None:
    exporter = Exporter(f"http://{'a' * 64}.test:4318", "worker")
    exporter.start()
    record(exporter)
    await until(lambda: len(events) == 1)
    await exporter.close()


async def test_what_waits_is_sent_at_the_end(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "INTERVAL", 60.0)
    exporter = Exporter(collector.url, "worker")
    exporter.start()
    record(exporter)
    await exporter.close()
    assert len(collector.spans) == 2


async def test_the_end_waits_a_second_at_most(events: Events) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1)
        exporter = Exporter(f"http://127.0.0.1:{deaf.getsockname()[1]}", "worker")
        exporter.start()
        record(exporter)
        begun = time.monotonic()
        await exporter.close()
        assert 0.9 < time.monotonic() - begun < 10
    assert [event["dropped"] for event in events] == [2]
