"""The routes of a backend, as Sanic lists, names and documents them."""

from typing import TYPE_CHECKING, Any, cast

from sanic import Blueprint
from sanic.constants import HTTP_METHODS

from coregateway.http1.request import RequestHead
from coregateway.model.errors import NoRoute
from coregateway.proxy.forwarded_request import ForwardedRequest
from coregateway.sanic_app.documents import excluded
from coregateway.sanic_app.request import GatewayRequest
from coregateway.sanic_app.stream import SanicStream
from coregateway.settings import BackendSettings, Settings

if TYPE_CHECKING:
    from coregateway.sanic_app.gateway import Gateway


class Listed:
    """Has an application list the routes of its backends, those that a reload brings, too.

    The routes of one that is gone stay: what they get then is answered with 404 (`blueprint`).
    """

    def __init__(self, app: "Gateway", settings: Settings) -> None:
        self._app = app
        self._prefixes: set[tuple[str, str]] = set()
        self._list(settings)

    def follow(self, settings: Settings) -> None:
        """List the routes that are new, if requests pass through the router: to make it anew takes long."""
        named = {(name, row.prefix) for name, row in settings.backends.items()}
        if not self._app.ctx.worker.via_sanic or named <= self._prefixes:
            return
        self._app.router.reset()
        self._list(settings)
        self._app.finalize()

    def _list(self, settings: Settings) -> None:
        for name, row in settings.backends.items():
            if (name, row.prefix) not in self._prefixes:
                earlier = sum(name == each for each, _ in self._prefixes)
                self._prefixes.add((name, row.prefix))
                self._app.blueprint(blueprint(f"{name}-{earlier + 1}" if earlier else name, row))


def blueprint(name: str, row: BackendSettings) -> Blueprint:
    """The routes of one backend.

    Requests are forwarded without a walk through Sanic's router, unless a subscriber of Sanic's own events
    observes that walk (`Worker.via_sanic`); then they reach this handler.
    """
    routes = Blueprint(name, url_prefix=row.prefix)

    async def forward(request: GatewayRequest, path: str = "") -> None:  # noqa: ARG001 -- the raw target counts
        stream = cast(SanicStream, request.stream)
        client = stream.client
        if client.pending_error is not None:  # which the router raises, too: no refused request may pass
            raise client.pending_error
        forwarding = client.forwarding
        if forwarding is None:  # a reload has taken the backend away, which Sanic's router does not know
            raise NoRoute
        head = cast(RequestHead, client.head)
        forwarded = client.forwarded or ForwardedRequest(forwarding, client, head, stream.exchange)
        await stream.relay(forwarded.carry())

    excluded(forward)
    methods: Any = [method for method in row.methods if method in HTTP_METHODS]
    routes.add_route(forward, "/", methods=methods, name="root", stream=True)
    routes.add_route(forward, "/<path:path>", methods=methods, name="path", stream=True)
    return routes
