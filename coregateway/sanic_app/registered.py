"""Which middleware the application has for forwarded requests, as Sanic has sorted it."""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from coregateway.proxy.middleware import MiddlewareOf, RouteMiddleware
from coregateway.sanic_app.middleware import Chain
from coregateway.sanic_app.middleware_calls import Function
from coregateway.settings import Settings

if TYPE_CHECKING:
    from coregateway.sanic_app.gateway import Gateway

READABLE: Final = 16
"""How often `limits.request.gather` a middleware may read of a request's body."""


class Functions(NamedTuple):
    """What is called on requests and on responses; and of the former what a backend has of its own."""

    on_request: tuple[Function, ...] = ()
    on_response: tuple[Function, ...] = ()
    own_on_request: tuple[Function, ...] = ()


class RegisteredMiddleware:
    """That of the whole application, and that of each backend with it."""

    __slots__ = ("_everywhere", "_of_backends")

    def __init__(self) -> None:
        self._everywhere = Functions()
        self._of_backends: dict[str, Functions] = {}

    def of(self, name: str) -> Functions:
        """What a backend has; empty: what a route has that leads to none, or to several."""
        return self._of_backends.get(name, self._everywhere)

    def take_over(self, app: "Gateway") -> None:
        """Take what Sanic has sorted from its routes of backends, so that nothing runs twice."""
        everywhere = app.request_middleware
        self._everywhere = Functions(_functions(everywhere), _functions(app.response_middleware))
        by_name: dict[str, Any] = {route.name: route for route in app.router.routes}
        for name in app.ctx.settings.backends:
            for route in (by_name[route] for route in app.routes_of_backend(name) if route in by_name):
                extra = route.extra
                self._of_backends[name] = Functions(
                    _functions(extra.request_middleware),
                    _functions(extra.response_middleware),
                    _functions(one for one in extra.request_middleware if not _is_among(everywhere, one)),
                )
                extra.request_middleware = deque[Any]()
                extra.response_middleware = deque[Any]()

    def on_routes(self, app: "Gateway", settings: Settings) -> MiddlewareOf:
        """What the request path calls on each route, under these settings."""
        most_body = settings.limits.request.gather * READABLE

        def of(name: str, identity: frozenset[bytes], reserved: frozenset[bytes]) -> RouteMiddleware | None:
            functions = self.of(name)
            around = app.ctx.http_events.around
            chain = Chain(
                app,
                [around(one, "request") for one in functions.on_request],
                [around(one, "response") for one in functions.on_response],
                [around(one, "request") for one in functions.own_on_request],
                most_body=most_body,
                identity=identity,
                reserved=reserved,
            )
            return chain.on_route()

        return of


def _functions(middleware: Iterable[Any]) -> tuple[Function, ...]:
    return tuple(one.func for one in middleware)


def _is_among(registered: Iterable[Any], middleware: Any) -> bool:
    """By identity: the same function may be registered for one backend besides."""
    return any(each is middleware for each in registered)
