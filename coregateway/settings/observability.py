"""What operators see: the tables `[access_log]`, `[metrics]`, `[tracing]` and `[dashboard]`."""

from collections.abc import Mapping
from types import MappingProxyType

from coregateway.settings.contradiction import KeyPath
from coregateway.settings.table import Table
from coregateway.settings.values import CollectorURL, LineFields, Seconds, Share, Switch

OPTIONAL_PATHS: Mapping[KeyPath, str] = MappingProxyType(
    {("metrics", "on_main_port"): "/metrics", ("dashboard", "on_main_port"): "/dashboard"}
)
"""Paths that the gateway answers on the main port when a setting says so, with all that lies under them."""


class AccessLogSettings(Table):
    """Which requests get a line, and what it shows. Errors and slow requests always get one."""

    sample: Share = 1.0
    """Of the other requests; chosen by their ids."""
    slow: Seconds = 1.0
    """Seconds from which on a request is slow."""
    fields: LineFields = ()
    """Shown besides `time`, `level`, `event` and `worker`; empty: all."""


class MetricsSettings(Table):
    enabled: Switch = True
    """Count, and answer `/metrics` on the admin address. Off, nothing is counted."""
    on_main_port: Switch = False
    """Answer it to clients, too."""


class TracingSettings(Table):
    enabled: Switch = False
    """Off, a sound `traceparent` of a client passes untouched."""
    sample: Share = 0.1
    """Of the traces that begin here; those that come are sampled where their caller does so."""
    endpoint: CollectorURL = "http://localhost:4318"
    """Of an OpenTelemetry collector, OTLP over HTTP; `/v1/traces` is added."""
    server_timing: Switch = False
    """Tell clients the time taken here and at the backend; whether or not tracing is enabled."""


class DashboardSettings(Table):
    enabled: Switch = True
    """Answer `/dashboard` on the admin address, and keep the failed and slow requests that it shows."""
    on_main_port: Switch = False
    """Answer it to clients, too."""
