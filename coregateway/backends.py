"""The backends: a row of the settings each, with its routes, its pool and its httpx client."""

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, cast

import httpx
from sanic import Blueprint
from sanic.constants import HTTP_METHODS

from coregateway import __version__
from coregateway.cors import Cors
from coregateway.headers import Inbound, Outbound
from coregateway.proxy import serve
from coregateway.server.request import GatewayRequest
from coregateway.server.stream import ClientStream
from coregateway.service import Service
from coregateway.settings import BackendSettings, Settings
from coregateway.upstream.pool import Pool
from coregateway.upstream.transport import PoolTransport


class Backend:
    """One backend in one worker: opened when the worker starts, closed after its last exchange.

    `client` is how everything but the forwarding path talks to the backend: probes, documents, plugins.
    """

    def __init__(self, name: str, row: BackendSettings, settings: Settings, cors: Cors) -> None:
        self.name = name
        self.health_path = row.health.path
        self.pool = Pool(name, row.urls, settings.limits, row.timeouts)
        self.service = Service(
            name,
            row.prefix,
            row.methods,
            self.pool,
            Outbound(row.prefix, host=settings.forwarding.host),
            Inbound(row.prefix, cors, __version__, maps_cookies=row.cookies == "map"),
            attempts=settings.retries.attempts,
            client_timeout=row.timeouts.client,
            tunnel_idle=row.timeouts.idle,
            tells_time=settings.tracing.server_timing,
        )
        self.client = httpx.AsyncClient(
            transport=PoolTransport(self.pool),
            base_url=row.urls[0],
            timeout=httpx.Timeout(
                connect=row.timeouts.connect,
                read=row.timeouts.read,
                write=row.timeouts.write,
                pool=row.timeouts.pool,
            ),
            headers={"User-Agent": f"coregateway/{__version__}"},
            # What a backend sets for one caller must not be sent for another.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
        )

    async def close(self) -> None:
        """End the client, and with it the pool's connections."""
        await self.client.aclose()


def blueprint(name: str, row: BackendSettings) -> Blueprint:
    """The routes of one backend, as Sanic lists, names and documents them.

    Forwarded requests reach the same handler without a walk through Sanic's router, unless something
    observes that walk (`Gateway.handle`).
    """
    routes = Blueprint(name, url_prefix=row.prefix)

    async def forward(request: GatewayRequest, path: str = "") -> None:  # noqa: ARG001 -- the raw target counts
        await serve(request.app.ctx.backends[name].service, cast(ClientStream, request.stream))

    methods: Any = [method for method in row.methods if method in HTTP_METHODS]
    routes.add_route(forward, "/", methods=methods, name="root", stream=True)
    routes.add_route(forward, "/<path:path>", methods=methods, name="path", stream=True)
    return routes
