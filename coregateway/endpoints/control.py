"""What operators may change of a node that runs, on the admin address alone: `POST /reload`,
`/upstreams/drain` and `/upstreams/undrain`.

A web page of a stranger can have an operator's browser send a POST, but no header field of its own without
asking first (the Fetch standard, preflights), and this address answers no preflight: hence `HEADER`.
"""

from typing import Any, cast

import orjson
from sanic import Blueprint
from sanic.exceptions import BadRequest, Forbidden
from sanic.response import HTTPResponse

from coregateway.node.control import NoAnswer
from coregateway.node.reload import TAKEN_WITHIN
from coregateway.sanic_app.request import GatewayRequest

HEADER = "X-CoreGateway-Admin"
"""Its value must be 1."""

PATIENCE = TAKEN_WITHIN + 25.0
"""Seconds for the main process to answer: to read the settings of a thousand backends takes some of them."""

STATUSES = {
    "reloaded": 200,
    "drained": 200,
    "undrained": 200,
    "rejected": 422,
    "unavailable": 409,
    "no_backend": 404,
    "no_upstream": 404,
    "too_many": 409,
    "no_answer": 503,
}
"""Of the answers, by their outcomes."""


def blueprint() -> Blueprint:
    """The routes, for the application of the admin address."""
    routes = Blueprint("control")

    @routes.post("/reload")
    async def reload(request: GatewayRequest) -> HTTPResponse:
        return await _ask(request, {"do": "reload"})

    @routes.post("/upstreams/drain")
    async def drain(request: GatewayRequest) -> HTTPResponse:
        return await _ask(request, {"do": "drain", **_upstream(request)})

    @routes.post("/upstreams/undrain")
    async def undrain(request: GatewayRequest) -> HTTPResponse:
        return await _ask(request, {"do": "undrain", **_upstream(request)})

    return routes


def _upstream(request: GatewayRequest) -> dict[str, str]:
    body = cast(object, request.json)  # pyright: ignore[reportUnknownMemberType] -- anything
    if not isinstance(body, dict):
        raise BadRequest('expected JSON such as {"backend": "name", "url": "http://host:port"}')
    told = cast(dict[str, object], body)
    found = {name: value for name in ("backend", "url") if isinstance(value := told.get(name), str)}
    if len(found) < 2 or len(told) > 2:
        raise BadRequest('expected JSON such as {"backend": "name", "url": "http://host:port"}')
    return found


async def _ask(request: GatewayRequest, question: dict[str, Any]) -> HTTPResponse:
    if request.headers.get(HEADER) != "1":
        raise Forbidden(f"the header {HEADER}: 1 is required")
    running = request.app.ctx.running
    told: dict[str, Any] = {"outcome": "unavailable"}
    if running is not None:
        try:
            told = await running.control.ask(question, PATIENCE)
        except NoAnswer:
            told = {"outcome": "no_answer"}
    return HTTPResponse(
        orjson.dumps(told),
        status=STATUSES.get(told["outcome"], 400),
        headers={"Cache-Control": "no-store"},
        content_type="application/json",
    )
