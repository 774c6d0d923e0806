"""One line for every request, however it ended: a subscriber of `coregateway.turn.ended`.

What a line shows, which requests get one and how it is written is decided once, at start-up: `recorder` puts
the subscriber together from no more steps than the settings ask for.
"""

from collections.abc import Callable
from time import time
from zlib import crc32

from coregateway.exchange import Exchange
from coregateway.log_line import CORE, Encode, encode, timestamp
from coregateway.settings.model import AccessLogSettings

type Extra = Callable[[Exchange, dict[str, object]], None]
"""Adds to the fields of a finished exchange's line."""

MAX_PATH = 1024
"""Characters of a path that a line shows. With every character of it escaped, and all else that a client
chooses at its longest, a line stays below 4,096 bytes and need not be clipped."""

MAX_METHOD = 32


def request_fields(exchange: Exchange, now: float, worker: str) -> dict[str, object]:
    """All that a line tells of a finished exchange: no query, no header and no body."""
    fields: dict[str, object] = {
        "time": timestamp(now),
        "level": "INFO",
        "event": "request",
        "worker": worker,
    }
    _describe(exchange, fields)
    return fields


def _describe(exchange: Exchange, fields: dict[str, object]) -> None:
    """Set all fields of an exchange, in the place of those of the one before."""
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


def recorder(
    write: Callable[[list[bytes]], None],
    worker: str,
    settings: AccessLogSettings,
    *,
    encode: Encode = encode,
    extra: Extra | None = None,
) -> Callable[..., None]:
    """The subscriber that writes the lines of finished exchanges.

    `extra` adds further fields to those of every line.
    """
    # One for all lines: it costs a third of what it takes to make one for each.
    fields = request_fields(Exchange(0.0, ""), 0.0, worker)
    if extra is not None:
        extra(Exchange(0.0, ""), fields)
    chosen = settings.fields
    names = tuple(name for name in fields if name in CORE or name in chosen) if chosen else ()

    def record(exchanges: list[Exchange]) -> None:
        fields["time"] = timestamp(time())
        lines: list[bytes] = []
        for exchange in exchanges:
            _describe(exchange, fields)
            if extra is not None:
                extra(exchange, fields)
            lines.append(encode({name: fields[name] for name in names} if names else fields))
        write(lines)

    if settings.sample == 1.0:
        return record

    share, slow = settings.sample, settings.slow

    def record_wanted(exchanges: list[Exchange]) -> None:
        wanted = [
            exchange
            for exchange in exchanges
            if is_notable(exchange, slow) or is_sampled(exchange.request_id, share)
        ]
        if wanted:
            record(wanted)

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
