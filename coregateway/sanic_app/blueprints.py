"""The routes of a backend, as Sanic lists, names and documents them."""

from typing import Any, cast

from sanic import Blueprint
from sanic.constants import HTTP_METHODS

from coregateway.http1.request import RequestHead
from coregateway.model.errors import NoRoute
from coregateway.proxy.forwarded_request import ForwardedRequest
from coregateway.sanic_app.documents import excluded
from coregateway.sanic_app.request import GatewayRequest
from coregateway.sanic_app.stream import SanicStream
from coregateway.settings import BackendSettings


def blueprint(name: str, row: BackendSettings) -> Blueprint:
    """The routes of one backend.

    Requests are forwarded without a walk through Sanic's router, unless a middleware or a signal observes
    that walk (`Worker.via_sanic`); then they reach this handler.
    """
    routes = Blueprint(name, url_prefix=row.prefix)

    async def forward(request: GatewayRequest, path: str = "") -> None:  # noqa: ARG001 -- the raw target counts
        stream = cast(SanicStream, request.stream)
        client = stream.client
        forwarding = client.forwarding
        if forwarding is None:  # a reload has taken the backend away, which Sanic's router does not know
            raise NoRoute
        head = cast(RequestHead, client.head)
        await stream.relay(ForwardedRequest(forwarding, client, head, stream.exchange).carry())

    excluded(forward)
    methods: Any = [method for method in row.methods if method in HTTP_METHODS]
    routes.add_route(forward, "/", methods=methods, name="root", stream=True)
    routes.add_route(forward, "/<path:path>", methods=methods, name="path", stream=True)
    return routes
