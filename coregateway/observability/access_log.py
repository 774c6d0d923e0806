"""One line for every request, however it ended: a subscriber of `coregateway.turn.ended`.

The start decides what a line shows, which requests get one and how it is written: `recorder` puts the
subscriber together from no more steps than the settings ask for. `logs.fields` has the names of the fields.
Where all of them are wanted, as JSON, `request_line` writes most lines, which is quicker.
"""

from collections.abc import Callable
from time import time
from typing import cast
from zlib import crc32

from coregateway.logs import line as log_line
from coregateway.logs.fields import CHOOSABLE, CORE, RARE, REQUEST, TRACE
from coregateway.logs.line import Encode, encode, timestamp
from coregateway.model.exchange import Exchange
from coregateway.observability.request_line import MAX_METHOD, MAX_PATH, RequestLines
from coregateway.settings.observability import AccessLogSettings


def request_fields(exchange: Exchange, now: float, worker: str, *, traced: bool = False) -> dict[str, object]:
    """All that a line tells of a finished exchange: no query, no header and no body.

    `traced`: also the ids of its trace and span, which are None where no head was read.
    """
    names = (*CORE, *REQUEST, *TRACE) if traced else (*CORE, *REQUEST)
    fields = cast(dict[str, object], dict.fromkeys(names))
    fields |= {"time": timestamp(now), "level": "INFO", "event": "request", "worker": worker}
    _describe(exchange, fields, traced=traced)
    return fields


def _describe(exchange: Exchange, fields: dict[str, object], *, traced: bool) -> None:
    """Set all fields of an exchange, in the place of those of the one before; they keep their order."""
    # Whole microseconds make the cheaper rounding, and parts that add up. `int` cuts, hence the half.
    upstream_started = exchange.upstream_started
    duration = int((exchange.ended - exchange.started) * 1e6 + 0.5)
    if upstream_started:
        upstream = int(((exchange.upstream_ended or exchange.ended) - upstream_started) * 1e6 + 0.5)
    else:
        upstream = 0
    method = exchange.method
    path = exchange.path
    fields["request_id"] = exchange.request_id or None
    fields["client"] = exchange.client
    fields["method"] = method and method[:MAX_METHOD]
    fields["path"] = path and path[:MAX_PATH]
    fields["protocol"] = exchange.protocol
    fields["backend"] = exchange.backend
    fields["upstream"] = exchange.upstream
    fields["status"] = exchange.status
    fields["upstream_status"] = exchange.upstream_status
    fields["duration_ms"] = duration / 1000
    fields["upstream_ms"] = upstream / 1000 if upstream_started else None
    fields["overhead_ms"] = (duration - upstream) / 1000
    fields["attempts"] = exchange.attempts
    fields["bytes_in"] = exchange.bytes_in
    fields["bytes_out"] = exchange.bytes_out
    fields["error"] = exchange.error
    if traced:
        trace = exchange.trace
        fields["trace_id"] = None if trace is None else trace.trace_id
        fields["span_id"] = None if trace is None else trace.span_id
    # What only some lines have takes the place of what the line before had, or goes.
    for name in RARE:
        fields.pop(name, None)
    if exchange.route_name is not None:
        fields["route"] = exchange.route_name
    if exchange.client_cert is not None:
        fields["client_cert"] = exchange.client_cert
    if exchange.auth_outcome is not None:
        _describe_caller(exchange, fields)
    if exchange.limited_by is not None:
        fields["limited_by"] = exchange.limited_by
    if exchange.share is not None:
        fields["share"] = exchange.share
    if exchange.validation is not None:
        fields["validation"] = exchange.validation
    if exchange.rule is not None:
        fields["reason"] = exchange.rule.words


def _describe_caller(exchange: Exchange, fields: dict[str, object]) -> None:
    if exchange.consumer is not None:
        fields["consumer"] = exchange.consumer
    if exchange.auth is not None:
        fields["auth"] = exchange.auth
    if exchange.auth_error is not None:
        fields["auth_error"] = exchange.auth_error


def recorder(
    write: Callable[[bytes], None],
    worker: str,
    settings: AccessLogSettings,
    *,
    encode: Encode = encode,
    traced: bool = False,
) -> Callable[..., None]:
    """The subscriber that writes the lines of finished exchanges, those of one turn together.

    `traced`: they tell of traces.
    """
    # One for all lines: it costs a third of what it takes to make one for each.
    fields = request_fields(Exchange(0.0, ""), 0.0, worker, traced=traced)
    chosen = settings.fields
    names = (*CORE, *(name for name in CHOOSABLE if name in chosen)) if chosen else ()

    def encoded(exchange: Exchange) -> bytes:
        _describe(exchange, fields, traced=traced)
        return encode({name: fields[name] for name in names if name in fields} if names else fields)

    def record(exchanges: list[Exchange]) -> None:
        fields["time"] = timestamp(time())
        write(b"".join([encoded(exchange) for exchange in exchanges]))

    if encode is log_line.encode and not names:
        quick = RequestLines(worker, traced=traced)

        def record_quickly(exchanges: list[Exchange]) -> None:
            fields["time"] = shown = timestamp(time())
            beginning = quick.beginning(shown)
            lines: list[str] = []
            for exchange in exchanges:
                line = quick.line(exchange, beginning)
                lines.append(encoded(exchange).decode() if line is None else line)
            write("".join(lines).encode())

        every = record_quickly
    else:
        every = record

    if settings.sample == 1.0:
        return every

    share, slow = settings.sample, settings.slow

    def record_wanted(exchanges: list[Exchange]) -> None:
        wanted = [
            exchange
            for exchange in exchanges
            if is_notable(exchange, slow) or is_sampled(exchange.request_id, share)
        ]
        if wanted:
            every(wanted)

    return record_wanted


def is_notable(exchange: Exchange, slow: float) -> bool:
    """Whether it has a line whatever the share: it failed, here or at the backend, or took `slow` seconds."""
    status = exchange.status
    return (
        exchange.error is not None
        or status is None
        or status >= 500
        or exchange.ended - exchange.started >= slow
    )


def is_sampled(request_id: str, share: float) -> bool:
    """Whether a request is of the share: by its id, so that all workers and gateways on its way agree."""
    return crc32(request_id.encode()) < share * 0x1_0000_0000
