"""A request line names the trace that its request was part of."""

from coregateway.exchange import Exchange
from coregateway.tracing.context import Tracer
from coregateway.tracing.line import add_ids


def test_the_ids_are_those_of_the_exchange_and_not_of_the_one_before() -> None:
    fields: dict[str, object] = {"status": 200}
    exchange = Exchange(0.0, "192.0.2.7")
    exchange.trace = trace = Tracer(1.0).begin({})
    trace.begin_attempt(1.0)
    add_ids(exchange, fields)
    assert fields == {"status": 200, "trace_id": trace.trace_id, "span_id": trace.span_id}
    add_ids(Exchange(0.0, "192.0.2.7"), fields)
    assert fields == {"status": 200, "trace_id": None, "span_id": None}
