"""Which middleware the application has for forwarded requests, as Sanic has sorted it."""

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from coregateway.proxy.middleware import MiddlewareOf, RouteMiddleware
from coregateway.sanic_app.middleware import Chain, Function
from coregateway.settings import Settings

if TYPE_CHECKING:
    from coregateway.sanic_app.gateway import Gateway

READABLE: Final = 16
"""How often `limits.request.gather` a middleware may read of a request's body."""

type _Functions = tuple[tuple[Function, ...], tuple[Function, ...]]
"""On requests, and on responses."""


class RegisteredMiddleware:
    """That of the whole application, and that of each backend with it."""

    __slots__ = ("_everywhere", "_of_backends")

    def __init__(self) -> None:
        self._everywhere: _Functions = ((), ())
        self._of_backends: dict[str, _Functions] = {}

    def take_over(self, app: "Gateway") -> None:
        """Take what Sanic has sorted from its routes of backends, so that nothing runs twice."""
        self._everywhere = _functions(app.request_middleware), _functions(app.response_middleware)
        by_name: dict[str, Any] = {route.name: route for route in app.router.routes}
        for name in app.ctx.settings.backends:
            for route in (by_name[route] for route in app.routes_of_backend(name) if route in by_name):
                extra = route.extra
                self._of_backends[name] = (
                    _functions(extra.request_middleware),
                    _functions(extra.response_middleware),
                )
                extra.request_middleware = deque[Any]()
                extra.response_middleware = deque[Any]()

    def on_routes(self, app: "Gateway", settings: Settings) -> MiddlewareOf:
        """What the request path calls on each route, under these settings."""
        most_body = settings.limits.request.gather * READABLE

        def of(name: str, identity: frozenset[bytes], reserved: frozenset[bytes]) -> RouteMiddleware | None:
            on_request, on_response = self._of_backends.get(name, self._everywhere)
            events = app.ctx.http_events
            on_request = tuple(events.around(one, "request") for one in on_request)
            on_response = tuple(events.around(one, "response") for one in on_response)
            chain = Chain(
                app, on_request, on_response, most_body=most_body, identity=identity, reserved=reserved
            )
            return chain.on_route()

        return of


def _functions(middleware: Any) -> tuple[Function, ...]:
    return tuple(one.func for one in middleware)
