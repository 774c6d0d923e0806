"""Sanic's router, which learns of the routes of the settings where a walk through it is observed."""

from typing import Any

from sanic.exceptions import MethodNotAllowed
from sanic.request import Request
from sanic.router import Router

from coregateway.sanic_app.request import GatewayRequest
from coregateway.sanic_app.stream import SanicStream


class GatewayRouter(Router):
    """Finds the handler of a backend for the requests of its routes, whatever their paths.

    One that the gateway refuses gets none, wherever Sanic would find one: what it is refused with is raised.
    Which route a request takes is known before Sanic is asked (`proxy.routes`), and changes with a reload;
    Sanic's own table is made once.
    """

    def get(self, path: str, method: str, host: str | None) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride] -- Sanic's is wrapped by a cache
        """As Sanic's: route, handler, and what was matched."""
        request = Request._current.get(None)  # pyright: ignore[reportPrivateUsage] -- `get_current` raises
        stream = request.stream if isinstance(request, GatewayRequest) else None
        if not isinstance(stream, SanicStream) or stream.client.route is None:
            return super().get(path, method, host)
        if stream.client.pending_error is not None:
            raise stream.client.pending_error
        taken = stream.client.route
        if taken.told_as is None or taken.label != taken.name or taken.forwarding is None:
            return super().get(path, method, host)  # it is none of the settings
        if method not in taken.allowed:
            head = stream.client.head
            allowed = taken.methods if head is None else stream.client.worker.plan.routes.methods_of(head)
            raise MethodNotAllowed(f"Method {method} not allowed", method=method, allowed_methods=allowed)
        forwarding = stream.client.forwarding or taken.forwarding
        row = stream.protocol.app.ctx.settings.backends[forwarding.backend.name]
        route, handler, _ = super().get(f"{row.prefix}/", row.methods[0], None)
        return route, handler, {}
