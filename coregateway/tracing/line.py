"""What a request line tells of the trace that its request was part of."""

from coregateway.exchange import Exchange


def add_ids(exchange: Exchange, fields: dict[str, object]) -> None:
    """Add the ids of trace and span to the fields of a line; both are None where no head was read."""
    trace = exchange.trace
    if trace is None:
        fields["trace_id"] = fields["span_id"] = None
    else:
        fields["trace_id"] = trace.trace_id
        fields["span_id"] = trace.span_id
