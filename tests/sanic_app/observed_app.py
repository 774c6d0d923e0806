"""The gateway with subscribers: `sanic tests.sanic_app.observed_app:app`, with the settings
of the environment.

What they were told goes to the log as `test.told`. With OBSERVED_BY_SANIC set, somebody also looks at
requests by Sanic's own means.
"""

import asyncio
import os
import time
from typing import Any, cast

from sanic import Request
from sanic.response import BaseHTTPResponse, HTTPResponse

from coregateway.app import app
from coregateway.logs import events as logs
from coregateway.model.exchange import Exchange
from coregateway.sanic_app.request import GatewayRequest
from coregateway.sanic_app.signals import FINISHED, RESPONSE, STARTED, TURN_ENDED

__all__ = ["app"]


def started(exchange: Exchange) -> None:
    logs.event("test.told", signal="started", id=exchange.request_id, outcome=exchange.status)


def finished(exchange: Exchange) -> None:
    logs.event(
        "test.told", signal="finished", id=exchange.request_id, outcome=exchange.status, error=exchange.error
    )


async def finished_slowly(exchange: Exchange) -> None:
    outcome = exchange.status
    await asyncio.sleep(2.0)
    logs.event("test.told", signal="finished slowly", id=exchange.request_id, outcome=outcome)


def failing(exchange: Exchange) -> None:
    if exchange.request_id.startswith("fail"):
        raise ValueError("a subscriber's own fault")


def turn_ended(exchanges: list[Exchange]) -> None:
    for exchange in exchanges:
        if exchange.request_id.startswith("takes-"):
            time.sleep(float(exchange.request_id[6:]))
        logs.event("test.told", signal="turn ended", id=exchange.request_id, outcome=exchange.status)


def sign(request: GatewayRequest, response: HTTPResponse) -> None:
    response.headers["X-Signed"] = request.exchange.request_id


@app.route("/pieces/<length:strorempty>", methods=["GET", "HEAD"], name="pieces")
async def pieces(request: Request, length: str) -> None:
    """Ten bytes in three pieces, with their length or in chunks."""
    headers = {"Content-Length": length} if length else {}
    response = cast(HTTPResponse, await request.respond(headers=headers))  # pyright: ignore[reportUnknownMemberType] -- Sanic's own types
    for piece in (b"one", b"two", b"last"):
        await response.send(piece)  # pyright: ignore[reportUnknownMemberType] -- likewise
    await response.eof()


app.add_signal(started, STARTED)
app.add_signal(turn_ended, TURN_ENDED)
app.add_signal(sign, RESPONSE)
for subscriber in (finished, finished_slowly, failing):
    app.add_signal(subscriber, FINISHED)

if os.environ.get("OBSERVED_BY_SANIC"):

    async def seen(request: Any, **_: Any) -> None:
        logs.event("test.told", signal="http.lifecycle.handle", id=request.id)

    async def before(request: Any) -> None:
        logs.event("test.told", signal="on_request", id=request.id)

    async def after(request: Any, response: BaseHTTPResponse) -> None:
        logs.event("test.told", signal="on_response", id=request.id, outcome=response.status)

    app.add_signal(seen, "http.lifecycle.handle")
    app.register_middleware(before, "request")  # pyright: ignore[reportUnknownMemberType] -- Sanic's own types
    app.register_middleware(after, "response")  # pyright: ignore[reportUnknownMemberType] -- likewise
