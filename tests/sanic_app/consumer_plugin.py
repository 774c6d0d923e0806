"""A plugin that tells who a request comes from: a middleware the backend, a handler the client."""

from typing import Any

from sanic import Request
from sanic.response import HTTPResponse, text

from coregateway.sanic_app.gateway import Gateway


def attach(app: Gateway) -> None:
    def tell(request: Request[Any, Any]) -> None:
        caller = request.ctx.consumer
        if caller is not None:
            request.headers["X-Seen"] = f"{caller.name} {','.join(caller.roles)} {dict(caller.claims)}"

    async def who(request: Request[Any, Any]) -> HTTPResponse:
        caller = request.ctx.consumer
        claims = "x-consumer" in request.headers
        return text(f"{caller.name if caller else 'nobody'}{' who says more' * claims}")

    app.register_middleware(tell, "request")  # pyright: ignore[reportUnknownMemberType] -- typed in part
    app.add_route(who, "/who")  # pyright: ignore[reportUnknownMemberType] -- likewise
