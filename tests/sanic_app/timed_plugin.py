"""A plugin whose middleware holds the loop when a request asks for it."""

import time

from sanic import Request

from coregateway.sanic_app.gateway import Gateway


def attach(app: Gateway) -> None:
    def sometimes_slow(request: Request) -> None:  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType] -- Sanic's own defaults
        if "X-Slow" in request.headers:
            time.sleep(0.02)

    app.register_middleware(sometimes_slow, "request")  # pyright: ignore[reportUnknownMemberType] -- typed in part
