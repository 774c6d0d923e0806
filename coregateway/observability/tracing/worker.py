"""Tracing in one worker: what a gateway does besides passing contexts on."""

from typing import Any

from sanic import Sanic

from coregateway.logs import events as logs
from coregateway.sanic_app.signals import TURN_ENDED
from coregateway.settings import TracingSettings

type App = Sanic[Any, Any]


def attach(app: App, settings: TracingSettings) -> None:
    """Send the spans of sampled exchanges to the collector, if tracing is enabled.

    To be called before other listeners of an end are registered that may end exchanges: what they end is
    recorded, too.
    """
    if not settings.enabled:
        return
    # Only these need the extra "otel", and take memory for it.
    from coregateway.observability.tracing.export import Exporter

    exporter = Exporter(settings.endpoint, logs.WORKER)

    async def start(_: App) -> None:
        exporter.start()

    async def close(_: App) -> None:
        await exporter.close()

    app.add_signal(exporter.waiting.record, TURN_ENDED)
    app.register_listener(start, "before_server_start")
    app.register_listener(close, "after_server_stop")
