"""Distributed tracing: W3C Trace Context from hop to hop, and spans for an OpenTelemetry collector.

spans       what one exchange looks like to OpenTelemetry
wire        how that is written in protobuf
export      the way of finished spans to a collector, in the background
collector   the connection to it
waiting     finished exchanges that wait to be sent
worker      starts and ends it in a worker

Only `export` needs the extra `otel`; nothing imports it, nor what is only there for it, before tracing is
enabled.
"""
