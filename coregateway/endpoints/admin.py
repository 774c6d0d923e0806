"""The admin address: what operators may see of the node, on a listener of its own.

All workers accept on its one socket, and whichever answers speaks for the node.
"""

from asyncio import sleep
from collections.abc import Awaitable
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, cast

import orjson
from sanic import Blueprint
from sanic.response import HTTPResponse
from sanic.server import AsyncioServer

from coregateway import __version__
from coregateway.model.addresses import is_unspecified
from coregateway.model.errors import Misdirected
from coregateway.observability.metrics.families import REQUESTS
from coregateway.observability.metrics.reading import Reader, Snapshot
from coregateway.observability.status.callers import COUNTED, callers_of
from coregateway.observability.status.overview import Counted, overview
from coregateway.sanic_app.protocol import Entrance
from coregateway.sanic_app.request import GatewayRequest
from coregateway.settings import AdminSettings, Settings
from coregateway.settings.values import split_authority
from coregateway.shared_memory import Board

if TYPE_CHECKING:
    from socket import socket

    from coregateway.sanic_app.gateway import Gateway


def blueprint(gateway: "Gateway") -> Blueprint:
    """`/status` of a gateway, and `/`, which links to all that there is."""
    routes = Blueprint("admin")
    settings = gateway.ctx.settings  # of which only what takes a restart is used
    front = _front_page(settings)
    readers: dict[Board, Reader] = {}

    @routes.route("/status", methods=["GET", "HEAD"], ignore_body=True)
    async def status(request: GatewayRequest) -> HTTPResponse:
        context = request.app.ctx
        counted = snapshot = None
        if settings.metrics.enabled:
            reader = readers.setdefault(context.board, Reader(context.board))
            snapshot = Snapshot()
            counted = await count(reader, snapshot)
        served = gateway.ctx
        certificates = served.security.certificates()
        state = await overview(
            served.settings, context.board, context.node, counted, served.drained, certificates
        )
        body = orjson.dumps(state | callers_of(served.settings, context.board, snapshot))
        return HTTPResponse(body, headers={"Cache-Control": "no-store"}, content_type="application/json")

    @routes.route("/", methods=["GET", "HEAD"])
    async def root(_: GatewayRequest) -> HTTPResponse:
        return HTTPResponse(front, headers=FRONT_HEADERS, content_type="text/html; charset=utf-8")

    return routes


FRONT_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def _front_page(settings: Settings) -> bytes:
    pages = {"status": "the state of the node, as JSON"}
    if settings.metrics.enabled:
        pages["metrics"] = "for Prometheus"
    if settings.dashboard.enabled:
        pages["dashboard"] = "the live page"
    links = "".join(f'<li><a href="/{name}">/{name}</a>: {what}</li>\n' for name, what in pages.items())
    if settings.dashboard.enabled:
        links += "<li>/requests/ID: what became of a request that failed or was slow</li>\n"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<title>CoreGateway</title>\n'
        f"<h1>CoreGateway {__version__}</h1>\n<ul>\n{links}</ul>\n</html>\n"
    ).encode()


def answers_for(host: str, settings: AdminSettings) -> bool:
    """Whether a `Host` leads to the admin address: an IP address, "localhost", or the configured host.

    Any other name may be a stranger's, made to lead here so that the browser of an operator shows the node
    to the stranger's page (DNS rebinding). An admin address on every interface is reached by names of which
    the gateway knows nothing, and answers for all of them.
    """
    found = split_authority(host)
    if found is None:
        return False
    name = found[0].lower()
    own = settings.endpoint
    if own is not None and is_unspecified(own[0]):
        return True
    with suppress(ValueError):
        ip_address(name)
        return True
    return name == "localhost" or (own is not None and name == own[0].lower())


def refuse_strangers(operators: "Gateway", settings: AdminSettings) -> None:
    """Have the application of the admin address answer 421 to a `Host` that does not lead there."""

    async def check(request: GatewayRequest) -> None:
        host = request.parsed.noted.get(b"host")  # absent from HTTP/1.0 only, which no browser speaks
        if host is not None and not answers_for(host.decode("latin-1"), settings):
            raise Misdirected

    operators.register_middleware(check, "request")  # pyright: ignore[reportUnknownMemberType] -- its types are


async def count(reader: Reader, snapshot: Snapshot) -> Counted:
    """Read the node's metrics: the requests of each backend, and those that failed."""
    for _ in reader.steps(snapshot, REQUESTS, *COUNTED):
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
        protocol=Entrance,
        return_asyncio_server=True,
        asyncio_server_kwargs={"start_serving": False},
    )
    server = cast(AsyncioServer, server)
    await server.startup()
    await cast(Awaitable[None], server.start_serving())
    return server
