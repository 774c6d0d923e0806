"""The names of a line's fields, in the order in which a line has them: written down here and nowhere else."""

from typing import Final

CORE: Final = ("time", "level", "event", "worker")
"""Every line of the log begins with these."""

REQUEST: Final = (
    *("request_id", "client", "method", "path", "protocol", "backend", "upstream"),
    *("status", "upstream_status", "duration_ms", "upstream_ms", "overhead_ms"),
    *("attempts", "bytes_in", "bytes_out", "error"),
)
"""Every request line goes on with these."""

TRACE: Final = ("trace_id", "span_id")
"""Then these, while tracing is on."""

RARE: Final = (
    "route",
    "client_cert",
    "consumer",
    "auth",
    "auth_error",
    "limited_by",
    "share",
    "validation",
    "reason",
)
"""Last come those that a line has only when there is something to tell."""

CHOOSABLE: Final = (*REQUEST, *TRACE, *RARE)
"""What `access_log.fields` may name."""
