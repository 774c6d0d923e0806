"""A stand-in for CoreTelemetry, which answers what agents measured: made-up values (see `series`).

    python -m coregateway.demo.coretelemetry --port 7001

What is below `/demo/` the real service does not have: a WebSocket, to see one pass the gateway.
"""

import asyncio
import json
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import cast

from pydantic import BaseModel, Field, ValidationError
from sanic import HTTPResponse, Request, Sanic, Websocket

from coregateway.demo import series
from coregateway.demo.contract import (
    DETAIL,
    STRING,
    VERSION,
    App,
    Contract,
    RefusalError,
    Schema,
    answer,
    query,
)
from coregateway.demo.machine import Load, read_disk, read_memory
from coregateway.demo.process import run

TIME: Schema = {"type": "string", "description": "RFC 3339, or seconds since 1970"}
ROW: Schema = {
    "type": "object",
    "properties": {"timestamp": {"type": "string", "format": "date-time"}, "value": {"type": "number"}},
    "required": ["timestamp", "value"],
}
VALUE: Schema = {
    "type": "object",
    "properties": {"metric": STRING, **ROW["properties"]},
    "required": ["metric", "timestamp", "value"],
}
HEALTH: Schema = {
    "type": "object",
    "properties": {"status": STRING, "version": STRING},
    "required": ["status", "version"],
}
CONFIG_PATH: Schema = {"type": "object", "properties": {"config_path": STRING}, "required": ["config_path"]}
CLEARED: Schema = {"type": "object", "properties": {"cleared": {"type": "integer"}}, "required": ["cleared"]}
PERCENT: Schema = {"type": "object", "properties": {"percent": {"type": "number"}}, "required": ["percent"]}
PERCENTS: Schema = {
    "type": "object",
    "properties": {"percent": {"type": "array", "items": {"type": "number"}}},
    "required": ["percent"],
}
USAGE: Schema = {
    "type": "object",
    "properties": {name: {"type": "number"} for name in ("percent", "used_gb", "total_gb")},
    "required": ["percent", "used_gb", "total_gb"],
}
PLATFORM: Schema = {"type": "object", "properties": {"platform": STRING}, "required": ["platform"]}
NO_METRIC = ("No such metric", DETAIL)

SERIES_CACHED = 1024


class MetricQuery(BaseModel):
    metric: str


class DataQuery(MetricQuery):
    start_time: datetime | None = None
    end_time: datetime | None = None


class PathQuery(BaseModel):
    path: str = Field(min_length=1)


def create_app(clock: Callable[[], float] = time.time) -> App:
    """The application; `clock` gives seconds since 1970."""
    app: App = Sanic("CoreTelemetry", configure_logging=False)
    app.config.AUTO_EXTEND = False  # what its environment has installed changes nothing here
    contract = Contract(
        app, "CoreTelemetry (demo)", "Measurements of agents, and of the machine they run on."
    )

    @contract.route("GET", "/health", "Whether the service is well", {200: ("It is", HEALTH)})
    async def health(_: Request) -> HTTPResponse:
        return answer({"status": "healthy", "version": VERSION})

    cached_series = lru_cache(SERIES_CACHED)(series.Series.of)

    def find(agent_id: str, metric: str) -> series.Series:
        try:
            return cached_series(agent_id, metric)
        except KeyError:
            raise RefusalError(404, f"Metric {metric} not found for agent {agent_id}") from None

    _add_data(app, contract, find, clock)
    _add_socket(contract, find, clock)
    _add_system(contract)

    config_path = "demo/telemetry.yaml"

    @contract.route("GET", "/api/config/path", "Where the configuration is", {200: ("Its path", CONFIG_PATH)})
    async def get_config_path(_: Request) -> HTTPResponse:
        return answer({"config_path": config_path})

    @contract.route(
        "POST",
        "/api/config/path",
        "Use another configuration",
        {200: ("The new path", CONFIG_PATH)},
        query={"path": (STRING, True)},
    )
    async def set_config_path(request: Request) -> HTTPResponse:
        nonlocal config_path
        config_path = query(request, PathQuery).path
        return answer({"config_path": config_path})

    @contract.route(
        "POST", "/api/config/clear_cache", "Forget what was computed", {200: ("Series forgotten", CLEARED)}
    )
    async def clear_cache(_: Request) -> HTTPResponse:
        cleared = cached_series.cache_info().currsize
        cached_series.cache_clear()
        return answer({"cleared": cleared})

    return app


def _add_data(
    app: App, contract: Contract, find: Callable[[str, str], series.Series], clock: Callable[[], float]
) -> None:
    stopping = asyncio.Event()

    @app.before_server_stop
    async def end_streams(_: App) -> None:
        stopping.set()

    @contract.route(
        "GET",
        "/api/data/{agent_id}",
        "Measurements in a span of time, newest first; without times the newest alone",
        {
            200: ("One row a second", {"type": "array", "items": ROW}),
            404: NO_METRIC,
            413: (f"More than {series.MAX_ROWS} rows", DETAIL),
        },
        query={"metric": (STRING, True), "start_time": (TIME, False), "end_time": (TIME, False)},
    )
    async def data(request: Request, agent_id: str) -> HTTPResponse:
        asked = query(request, DataQuery)
        found = find(agent_id, asked.metric)
        try:
            seconds = series.window(_epoch(asked.start_time), _epoch(asked.end_time), clock())
        except series.TooManyRowsError as error:
            limit = f"at most {series.MAX_ROWS} are answered at once: ask for less time"
            raise RefusalError(413, f"{error.rows} rows; {limit}") from None
        return answer([_row(second, value) for second, value in series.rows(found, seconds)])

    @contract.route(
        "GET",
        "/api/data/{agent_id}/metrics",
        "What an agent measures",
        {200: ("Names of metrics", {"type": "array", "items": STRING})},
    )
    async def metrics(_: Request, agent_id: str) -> HTTPResponse:  # noqa: ARG001 (Sanic passes it by name)
        return answer(sorted(series.METRICS))

    @contract.route(
        "GET",
        "/api/data/{agent_id}/live",
        "Measurements as they are taken, one event a second, until you leave",
        {200: ("Server-sent events; each one's data is a row", ROW), 404: NO_METRIC},
        query={"metric": (STRING, True)},
        media_type="text/event-stream",
    )
    async def live(request: Request, agent_id: str) -> None:
        found = find(agent_id, query(request, MetricQuery).metric)
        head = HTTPResponse(headers={"cache-control": "no-cache"}, content_type="text/event-stream")
        stream = cast("HTTPResponse", await request.respond(head))
        second = int(clock())
        while not stopping.is_set():
            await stream.send(f"id: {second}\ndata: {json.dumps(_row(second, found.value(second)))}\n\n")
            try:
                async with asyncio.timeout(second + series.PERIOD - clock()):
                    await stopping.wait()
            except TimeoutError:
                # Not the clock's second: a timer may fire a little early. But never behind the clock either.
                second = max(second + series.PERIOD, int(clock()))
        await stream.eof()


def _add_socket(
    contract: Contract, find: Callable[[str, str], series.Series], clock: Callable[[], float]
) -> None:
    def newest(agent_id: str, message: str | bytes) -> dict[str, object]:
        try:
            metric = MetricQuery.model_validate_json(message).metric
            found = find(agent_id, metric)
        except ValidationError:
            return {"detail": 'Expected {"metric": "NAME"}'}
        except RefusalError as refusal:
            return {"detail": refusal.detail}
        second = int(clock())
        return {"metric": metric, **_row(second, found.value(second))}

    @contract.route(
        "GET",
        "/demo/data/{agent_id}/socket",
        'A WebSocket: {"metric": "NAME"} is answered by the newest row (of the demo alone)',
        {101: ("Each message is answered by one", VALUE)},
        websocket=True,
    )
    async def socket(_: Request, websocket: Websocket, agent_id: str) -> None:
        async for message in websocket:
            await websocket.send(json.dumps(newest(agent_id, message or b"")))


def _add_system(contract: Contract) -> None:
    load = Load()
    cores = Load()

    @contract.route("GET", "/api/system/platform", "The operating system", {200: ("In words", PLATFORM)})
    async def system_platform(_: Request) -> HTTPResponse:
        return answer({"platform": platform.platform()})

    @contract.route("GET", "/api/system/cpu", "CPU load", {200: ("Since the last question", PERCENT)})
    async def cpu(_: Request) -> HTTPResponse:
        return answer({"percent": load.percents()[0]})

    @contract.route(
        "GET",
        "/api/system/cpu_per_core",
        "CPU load of each core",
        {200: ("Since the last question", PERCENTS)},
    )
    async def cpu_per_core(_: Request) -> HTTPResponse:
        return answer({"percent": cores.percents()[1:]})

    @contract.route("GET", "/api/system/ram", "Memory", {200: ("In percent and GiB", USAGE)})
    async def ram(_: Request) -> HTTPResponse:
        return answer(read_memory().described())

    @contract.route("GET", "/api/system/disk", "Disk", {200: ("In percent and GiB", USAGE)})
    async def disk(_: Request) -> HTTPResponse:
        return answer(read_disk().described())


def _epoch(moment: datetime | None) -> float | None:
    """Seconds since 1970. A time without a zone is taken as UTC."""
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _row(second: int, value: float) -> dict[str, str | float]:
    return {"timestamp": f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%SZ}", "value": value}


if __name__ == "__main__":
    sys.exit(run(create_app(), sys.argv[1:]))
