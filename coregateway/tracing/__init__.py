"""Distributed tracing: W3C Trace Context from hop to hop, and spans for an OpenTelemetry collector.

context     whose trace an exchange belongs to, and what its upstreams are told of it
spans       what one exchange looks like to OpenTelemetry
wire        how that is written in protobuf
export      the way of finished spans to a collector, in the background
collector   the connection to it
timing      `Server-Timing`: what a client is told of the time that its request took
worker      what a worker does for tracing besides

Only `export` needs the extra `otel`; nothing imports it, nor what is only there for it, before tracing is
enabled.
"""

from importlib.util import find_spec


def is_installed() -> bool:
    """Whether the extra `otel` is there."""
    try:
        return find_spec("opentelemetry.proto") is not None
    except ModuleNotFoundError:  # nothing of OpenTelemetry is
        return False
