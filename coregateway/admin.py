"""The admin address: what operators may see of the node, on a listener of its own.

All workers accept on its one socket, and whichever answers speaks for the node.
"""

from asyncio import sleep
from collections.abc import Awaitable
from typing import TYPE_CHECKING, cast

import orjson
from sanic import Blueprint
from sanic.response import HTTPResponse
from sanic.server import AsyncioServer

from coregateway.metrics.families import REQUESTS
from coregateway.metrics.reading import Reader, Snapshot
from coregateway.server.connection import ClientConnection
from coregateway.server.request import GatewayRequest
from coregateway.settings import Settings
from coregateway.shared import Board
from coregateway.status.overview import Counted, overview

if TYPE_CHECKING:
    from socket import socket

    from coregateway.server.gateway import Gateway


def blueprint(settings: Settings) -> Blueprint:
    """`/status`."""
    routes = Blueprint("admin")
    readers: dict[Board, Reader] = {}

    @routes.route("/status", methods=["GET", "HEAD"])
    async def status(request: GatewayRequest) -> HTTPResponse:
        context = request.app.ctx
        counted = None
        if settings.metrics.enabled:
            reader = readers.setdefault(context.board, Reader(context.board))
            counted = await count(reader, Snapshot())
        body = orjson.dumps(await overview(settings, context.board, context.node, counted))
        return HTTPResponse(body, headers={"Cache-Control": "no-store"}, content_type="application/json")

    return routes


async def count(reader: Reader, snapshot: Snapshot) -> Counted:
    """Read the node's metrics: the requests of each backend, and those that failed."""
    for _ in reader.steps(snapshot, REQUESTS):
        await sleep(0)
    counted: Counted = {}
    for (backend, _, _, code), number in snapshot.values(REQUESTS).items():
        requests, errors = counted.get(backend, (0, 0))
        failed = int(number) if code.startswith("5") else 0
        counted[backend] = requests + int(number), errors + failed
    return counted


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
