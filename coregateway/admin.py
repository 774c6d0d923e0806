"""The admin address: what operators may see of the node, on a listener of its own.

All workers accept on its one socket, and whichever answers speaks for the node.
"""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, cast

import orjson
from sanic import Blueprint
from sanic.response import HTTPResponse
from sanic.server import AsyncioServer

from coregateway import __version__
from coregateway.server.connection import ClientConnection
from coregateway.server.node import Node
from coregateway.server.request import GatewayRequest
from coregateway.settings import Settings

if TYPE_CHECKING:
    from socket import socket

    from coregateway.server.gateway import Gateway


def blueprint(settings: Settings) -> Blueprint:
    """`/status`."""
    routes = Blueprint("admin")

    @routes.route("/status", methods=["GET", "HEAD"])
    async def status(request: GatewayRequest) -> HTTPResponse:
        body = orjson.dumps(describe(settings, request.app.ctx.node))
        return HTTPResponse(body, headers={"Cache-Control": "no-store"}, content_type="application/json")

    return routes


def describe(settings: Settings, node: Node) -> dict[str, object]:
    """The state of the node: its version, its backends and its workers, whose `since` is in Unix seconds."""
    return {
        "version": __version__,
        "ready": node.ready(),
        "backends": {
            name: {"prefix": row.prefix, "upstreams": [{"url": url} for url in row.urls]}
            for name, row in settings.backends.items()
        },
        "workers": [
            {
                "name": f"Sanic-Server-{worker.number}-0",
                "pid": worker.pid,
                "state": worker.state,
                "since": worker.since,
                "restarts": worker.restarts,
            }
            for worker in node.workers()
        ],
    }


async def serve(app: "Gateway", sock: "socket") -> AsyncioServer:
    """Serve an application on the admin socket, in the running loop and beside the gateway itself."""
    # Sanic compiles its own classes for the signals of one application, once per process: the gateway's.
    app.config.TOUCHUP = False
    server = await app.create_server(  # pyright: ignore[reportUnknownMemberType] -- its options are
        sock=sock,
        protocol=ClientConnection,
        return_asyncio_server=True,
        asyncio_server_kwargs={"start_serving": False},
    )
    server = cast(AsyncioServer, server)
    await server.startup()
    await cast(Awaitable[None], server.start_serving())
    return server
