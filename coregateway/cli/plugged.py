"""The middleware of the plugins, by its names, for commands: nothing of it is called."""

from collections.abc import Awaitable

from coregateway.http1.request import RequestHead
from coregateway.proxy.admission import Refusal
from coregateway.proxy.client import Client
from coregateway.proxy.middleware import MiddlewareOf, RouteMiddleware, no_middleware
from coregateway.settings import Settings


class Uncalled:
    """Stands for request middleware, which says something only when a request comes."""

    policy = "request middleware"

    def ask(self, client: Client, head: RequestHead) -> Awaitable[Refusal | None]:  # noqa: ARG002 -- a `Step`
        """A `Step`."""
        return _unknown()


async def _unknown() -> None: ...


def middleware_of(settings: Settings) -> MiddlewareOf:
    """That of the plugins of these settings; one that cannot be attached ends the process with status 2."""
    if not settings.plugins:
        return no_middleware
    # These import Sanic, which takes longer than all else.
    from coregateway.sanic_app.blueprints import Listed
    from coregateway.sanic_app.gateway import Gateway
    from coregateway.sanic_app.plugins import attach_plugins

    app = Gateway("inspected", settings)
    Listed(app, settings)
    attach_plugins(app, settings)
    app.finalize()
    real = app.ctx.middleware.on_routes(app, settings)

    def named(name: str, identity: frozenset[bytes], reserved: frozenset[bytes]) -> RouteMiddleware | None:
        known = real(name, identity, reserved)
        if known is None:
            return None
        return RouteMiddleware(
            admit=None if known.admit is None else Uncalled().ask,
            admit_own=None if known.admit_own is None else Uncalled().ask,
            review=known.review,
            answer=known.answer,
            names=known.names,
        )

    return named
