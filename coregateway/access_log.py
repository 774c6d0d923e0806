"""One line for every request, however it ended: a subscriber of `coregateway.exchange.finished`.

What a line shows, which requests get one and how it is written is decided once, at start-up: `recorder` puts
the subscriber together from no more steps than the settings ask for.
"""

from collections.abc import Callable
from time import time
from zlib import crc32

from coregateway.exchange import Exchange
from coregateway.log_line import CORE, Encode, encode, timestamp
from coregateway.settings.model import AccessLogSettings

type Describe = Callable[[Exchange, float, str], dict[str, object]]
"""The fields of a line: of an exchange, at seconds since the epoch, in a worker."""

type Extra = Callable[[Exchange, dict[str, object]], None]
"""Adds to the fields of a finished exchange's line."""

MAX_PATH = 1024
"""Characters of a path that a line shows. With every character of it escaped, and all else that a client
chooses at its longest, a line stays below 4,096 bytes and need not be clipped."""

MAX_METHOD = 32


def request_fields(exchange: Exchange, now: float, worker: str) -> dict[str, object]:
    """All that a line tells of a finished exchange: no query, no header and no body."""
    # Whole microseconds make the cheaper rounding, and parts that add up. `int` cuts, hence the half.
    upstream_started = exchange.upstream_started
    duration = int((exchange.ended - exchange.started) * 1e6 + 0.5)
    if upstream_started:
        upstream = int(((exchange.upstream_ended or exchange.ended) - upstream_started) * 1e6 + 0.5)
    else:
        upstream = 0
    method = exchange.method
    path = exchange.path
    return {
        "time": timestamp(now),
        "level": "INFO",
        "event": "request",
        "worker": worker,
        "request_id": exchange.request_id or None,
        "client": exchange.client,
        "method": method and method[:MAX_METHOD],
        "path": path and path[:MAX_PATH],
        "protocol": exchange.protocol,
        "backend": exchange.backend,
        "upstream": exchange.upstream,
        "status": exchange.status,
        "upstream_status": exchange.upstream_status,
        "duration_ms": duration / 1000,
        "upstream_ms": upstream / 1000 if upstream_started else None,
        "overhead_ms": (duration - upstream) / 1000,
        "attempts": exchange.attempts,
        "bytes_in": exchange.bytes_in,
        "bytes_out": exchange.bytes_out,
        "error": exchange.error,
    }


def recorder(
    write: Callable[[bytes], None],
    worker: str,
    settings: AccessLogSettings,
    *,
    encode: Encode = encode,
    extra: Extra | None = None,
) -> Callable[..., None]:
    """The subscriber that writes the line of each finished exchange.

    `extra` adds further fields to those of every line.
    """
    describe = _describer(settings.fields, extra)

    def record(exchange: Exchange) -> None:
        write(encode(describe(exchange, time(), worker)))

    if settings.sample == 1.0:
        return record

    share, slow = settings.sample, settings.slow

    def record_wanted(exchange: Exchange) -> None:
        if is_notable(exchange, slow) or is_sampled(exchange.request_id, share):
            record(exchange)

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


def _describer(chosen: tuple[str, ...], extra: Extra | None) -> Describe:
    describe = request_fields if extra is None else _with(request_fields, extra)
    if not chosen:
        return describe
    there = describe(Exchange(0.0, ""), 0.0, "")
    return _only(describe, tuple(name for name in there if name in CORE or name in chosen))


def _with(describe: Describe, extra: Extra) -> Describe:
    def described(exchange: Exchange, now: float, worker: str) -> dict[str, object]:
        fields = describe(exchange, now, worker)
        extra(exchange, fields)
        return fields

    return described


def _only(describe: Describe, names: tuple[str, ...]) -> Describe:
    def described(exchange: Exchange, now: float, worker: str) -> dict[str, object]:
        fields = describe(exchange, now, worker)
        return {name: fields[name] for name in names}

    return described
