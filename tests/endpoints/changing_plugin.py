"""A plugin whose middleware changes what passes to one backend and back, with values that are secrets."""

# Sanic's decorators have no types:
# pyright: reportUnknownMemberType=false

from asyncio import sleep
from typing import Any

from coregateway.sanic_app.gateway import Gateway
from coregateway.sanic_app.request import GatewayRequest


def look(request: GatewayRequest) -> None:
    """See them, and change nothing."""
    assert "cookie" in request.headers


def exchange(request: GatewayRequest) -> None:
    request.headers["X-Tenant"] = "value-of-a-middleware"
    del request.headers["cookie"]


async def exchange_later(request: GatewayRequest) -> None:
    await sleep(0)
    request.headers["X-Waited"] = "value-of-a-middleware"


def sign(request: GatewayRequest, response: Any) -> None:
    request.headers["X-Too-Late"] = "value-of-a-middleware"
    response.headers["X-Signature"] = "value-of-a-middleware"
    response.headers.pop("X-Powered-By")


def attach(app: Gateway) -> None:
    app.backend("looked").on_request(look)
    for function in (exchange, exchange_later):
        app.backend("exchanged").on_request(function)
    app.backend("exchanged").on_response(sign)
