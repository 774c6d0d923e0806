"""One line for every request, however it ended: a subscriber of `coregateway.exchange.finished`."""

from collections.abc import Callable
from time import time

from coregateway.exchange import Exchange
from coregateway.log_line import encode, timestamp

MAX_PATH = 1024
"""Characters of a path that a line shows. With every character of it escaped, and all else that a client
chooses at its longest, a line stays below 4,096 bytes and need not be clipped."""

MAX_METHOD = 32


def request_line(exchange: Exchange, *, now: float, worker: str) -> bytes:
    """The line of a finished exchange, with its line end. `now`: seconds since the epoch.

    It shows no query, no header and no body.
    """
    duration = exchange.duration
    upstream = exchange.upstream_duration
    return encode(
        {
            "time": timestamp(now),
            "level": "INFO",
            "event": "request",
            "worker": worker,
            "request_id": exchange.request_id or None,
            "client": exchange.client,
            "method": exchange.method and exchange.method[:MAX_METHOD],
            "path": exchange.path and exchange.path[:MAX_PATH],
            "protocol": exchange.protocol,
            "backend": exchange.backend,
            "upstream": exchange.upstream,
            "status": exchange.status,
            "upstream_status": exchange.upstream_status,
            "duration_ms": round(duration * 1000, 3),
            "upstream_ms": round(upstream * 1000, 3) if exchange.upstream_started else None,
            "overhead_ms": round((duration - upstream) * 1000, 3),
            "attempts": exchange.attempts,
            "bytes_in": exchange.bytes_in,
            "bytes_out": exchange.bytes_out,
            "error": exchange.error,
        }
    )


def recorder(write: Callable[[bytes], None], worker: str) -> Callable[..., None]:
    """The subscriber that writes the line of each finished exchange."""

    def record(exchange: Exchange) -> None:
        write(request_line(exchange, now=time(), worker=worker))

    return record
