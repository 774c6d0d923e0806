"""The gateway with all of sanic-ext that it is meant for: `sanic tests.sanic_app.extended_app:app`.

EXTENDED_BY says how the user extends it: "Extend", "extend", "without injection", or nothing at all.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field
from sanic import Blueprint, Request, json
from sanic_ext import Extend, openapi, validate

from coregateway import Backends
from coregateway.app import app

if TYPE_CHECKING:
    from collections.abc import Coroutine  # what handlers say of themselves need not be there at run time

# ruff: noqa: ARG001 -- handlers are called with what Sanic has for them
# Decorators of Sanic and sanic-ext are typed in part:
# pyright: reportUnknownMemberType=false, reportUntypedFunctionDecorator=false, reportMissingTypeArgument=false
# pyright: reportUnknownParameterType=false, reportUnknownVariableType=false

BY = os.environ.get("EXTENDED_BY", "")

if BY == "Extend":
    Extend(app)
elif BY == "extend":
    app.extend(config={"oas_url_prefix": "/other"})
elif BY == "without injection":
    Extend(app, built_in_extensions=False)


class Agent(BaseModel):
    name: str
    load: float | None = Field(default=None, ge=0)


class Directory:
    """A service of the user's that depends on the backends."""

    def __init__(self, backends: Backends) -> None:
        self.names = list(backends)

    @classmethod
    async def create(cls, request: Request, backends: Backends) -> Directory:
        assert request.app is app
        return cls(backends)


if BY != "without injection":
    app.ext.add_dependency(Directory, Directory.create)
    app.ext.openapi.add_security_scheme("key", "apiKey", name="X-API-Key", location="header")

    @app.get("/directory")
    async def directory(request: Request, found: Directory) -> Any:
        """The names of the backends."""
        return json(found.names)

    @app.get("/both")
    @openapi.summary("What two backends say")
    @openapi.response(200, {"application/json": list[str]}, "Their answers.")
    @openapi.secured("key")
    async def both(request: Request, backends: Backends) -> Any:
        answers = await asyncio.gather(*(backends[name].client.get("/x") for name in backends))
        return json([answer.text for answer in answers])


agents = Blueprint("agents", url_prefix="/agents")


@agents.post("/<group:str>")
@openapi.definition(
    operation="health",  # the gateway has one of that name
    body={"application/json": openapi.Component(Agent)},
    response=openapi.definitions.Response({"application/json": Agent}, 201, "It is there now."),
)
@validate(json=Agent)
async def add(request: Request, group: str, body: Agent) -> Any:
    return json({"group": group, "name": body.name}, status=201)


@app.get("/plain")
async def plain(request: Request) -> Any:
    return json("plain")


@app.get("/hidden")
@openapi.exclude()
async def hidden(request: Request, later: Coroutine[Any, Any, Any] | None = None) -> Any:
    return json("hidden")


app.blueprint(agents)
