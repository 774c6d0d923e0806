"""A stand-in for Coredinator, which starts and stops agents and their CoreIO services. State is in memory.

    python -m coregateway.demo.coredinator --port 7000

Configurations are YAML files of the machine that it runs on; a path that begins with `demo/` need not exist.
What is below `/demo/` the real service does not have: uploads, to see them pass the gateway.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from pydantic import BaseModel
from sanic import HTTPResponse, Request, Sanic
from sanic.http import Http

from coregateway.demo.agents import Plant, Service, UnknownServiceError, UnnamedServiceError, service_id
from coregateway.demo.contract import (
    DETAIL,
    STRING,
    VERSION,
    App,
    Contract,
    RefusalError,
    Schema,
    answer,
    body,
)
from coregateway.demo.process import run

STATE: Schema = {"type": "string", "enum": ["running", "stopped", "failed"]}
START: Schema = {
    "type": "object",
    "properties": {"config_path": STRING, "coreio_id": {"type": ["string", "null"]}},
    "required": ["config_path"],
    "example": {"config_path": "demo/pump.yaml"},
}
AGENT: Schema = {
    "type": "object",
    "properties": {"id": STRING, "state": STATE, "config_path": {"type": ["string", "null"]}},
    "required": ["id", "state", "config_path"],
}
COREIO: Schema = {
    "type": "object",
    "properties": {"service_id": STRING, "status": STATE},
    "required": ["service_id", "status"],
}
COREIOS: Schema = {
    "type": "object",
    "properties": {"coreio_services": {"type": "array", "items": COREIO}},
    "required": ["coreio_services"],
}
HEALTH: Schema = {
    "type": "object",
    "properties": {"status": STRING, "process_id": {"type": "integer"}, "version": STRING},
    "required": ["status", "process_id", "version"],
}
UPLOAD: Schema = {
    "type": "object",
    "properties": {"name": STRING, "bytes": {"type": "integer"}, "sha256": STRING},
    "required": ["name", "bytes", "sha256"],
}
NO_CONFIG = ("The configuration file does not exist", DETAIL)
NO_COREIO = ("No CoreIO service of this id was ever started", DETAIL)


class Start(BaseModel):
    """The body that starts an agent or a CoreIO service."""

    config_path: str
    coreio_id: str | None = None


def create_app(clock: Callable[[], float] = time.monotonic) -> App:
    """The application; `clock` gives seconds and decides when flaky services fail."""
    app: App = Sanic("Coredinator", configure_logging=False)
    app.config.AUTO_EXTEND = False  # what its environment has installed changes nothing here
    contract = Contract(app, "Coredinator (demo)", "Starts, stops and watches agents and CoreIO services.")
    plant = Plant()

    @contract.route("GET", "/api/healthcheck", "Whether the service is well", {200: ("It is", HEALTH)})
    async def healthcheck(_: Request) -> HTTPResponse:
        return answer({"status": "healthy", "process_id": os.getpid(), "version": VERSION})

    _add_agents(contract, plant, clock)
    _add_coreio(contract, plant, clock)
    _add_uploads(contract)
    return app


def _add_agents(contract: Contract, plant: Plant, clock: Callable[[], float]) -> None:
    ids: Schema = {"type": "array", "items": STRING}

    @contract.route("GET", "/api/agents/", "The ids of all agents", {200: ("Ids, the oldest first", ids)})
    async def list_agents(_: Request) -> HTTPResponse:
        return answer([agent.id for agent in plant.agents])

    @contract.route(
        "POST",
        "/api/agents/start",
        "Start an agent",
        {200: ("The agent's id", STRING), 400: NO_CONFIG},
        body=START,
    )
    async def start_agent(request: Request) -> HTTPResponse:
        start = _existing(body(request, Start))
        return answer(plant.start_agent(start.config_path, start.coreio_id, clock()).id)

    @contract.route(
        "POST",
        "/api/agents/{agent_id}/stop",
        "Stop an agent",
        {200: ("Stopped, or never started", {"type": "null"})},
    )
    async def stop_agent(_: Request, agent_id: str) -> HTTPResponse:
        plant.stop_agent(agent_id)
        return answer(None)

    @contract.route(
        "GET",
        "/api/agents/{agent_id}/status",
        "How an agent is",
        {200: ("Unknown agents are stopped", AGENT)},
    )
    async def agent_status(_: Request, agent_id: str) -> HTTPResponse:
        try:
            agent = plant.agents[agent_id]
        except UnknownServiceError:
            return answer({"id": agent_id, "state": "stopped", "config_path": None})
        return answer({"id": agent.id, "state": agent.state(clock()), "config_path": agent.config_path})


def _add_coreio(contract: Contract, plant: Plant, clock: Callable[[], float]) -> None:
    def described(service: Service) -> dict[str, str]:
        return {"service_id": service.id, "status": service.state(clock())}

    @contract.route("GET", "/api/io/", "All CoreIO services", {200: ("The oldest first", COREIOS)})
    async def list_coreio(_: Request) -> HTTPResponse:
        return answer({"coreio_services": [described(service) for service in plant.coreio]})

    @contract.route(
        "POST",
        "/api/io/start",
        "Start a CoreIO service",
        {200: ("It runs", COREIO), 400: NO_CONFIG},
        body=START,
    )
    async def start_coreio(request: Request) -> HTTPResponse:
        start = _existing(body(request, Start))
        return answer(described(plant.start_coreio(start.config_path, start.coreio_id, clock())))

    @contract.route(
        "POST",
        "/api/io/{service_id}/stop",
        "Stop a CoreIO service",
        {200: ("It is stopped", COREIO), 404: NO_COREIO},
    )
    async def stop_coreio(_: Request, service_id: str) -> HTTPResponse:
        try:
            return answer(described(plant.coreio.stop(service_id)))
        except UnknownServiceError:
            raise _no_coreio(service_id) from None

    @contract.route(
        "GET",
        "/api/io/{service_id}/status",
        "How a CoreIO service is",
        {200: ("Its state", COREIO), 404: NO_COREIO},
    )
    async def coreio_status(_: Request, service_id: str) -> HTTPResponse:
        try:
            return answer(described(plant.coreio[service_id]))
        except UnknownServiceError:
            raise _no_coreio(service_id) from None


def _add_uploads(contract: Contract) -> None:
    @contract.route(
        "PUT",
        "/demo/uploads/{name}",
        "Take a file of any size in, and forget it (of the demo alone)",
        {200: ("What has arrived", UPLOAD)},
        upload=True,
    )
    async def upload(request: Request, name: str) -> HTTPResponse:
        digest, size = hashlib.sha256(), 0
        stream = cast("Http", request.stream)  # it is an ASGI application's, otherwise
        while chunk := await stream.read():
            digest.update(chunk)
            size += len(chunk)
        return answer({"name": name, "bytes": size, "sha256": digest.hexdigest()})


def _existing(start: Start) -> Start:
    """Raises `RefusalError` with 400 if there is no such configuration."""
    if start.config_path.startswith("demo/") or Path(start.config_path).is_file():
        try:
            service_id(start.config_path)
        except UnnamedServiceError:
            raise RefusalError(400, f"Config file has no name: {start.config_path}") from None
        return start
    raise RefusalError(400, f"Config file not found at {start.config_path}")


def _no_coreio(service_id: str) -> RefusalError:
    return RefusalError(404, f"CoreIO service {service_id} not found")


if __name__ == "__main__":
    sys.exit(run(create_app(), sys.argv[1:]))
