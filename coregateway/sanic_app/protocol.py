"""What Sanic's server makes for a connection that it has accepted: the gateway takes it over."""

from asyncio import Protocol, Transport
from typing import TYPE_CHECKING, Any, cast, override

from coregateway.net.acceptor import take_over

if TYPE_CHECKING:
    from coregateway.sanic_app.gateway import Gateway


class Entrance(Protocol):
    """Sanic's protocol class, for `Sanic.prepare` and `create_server`.

    Sanic ends the connections in the set `connections` when it stops: `close_if_idle`, and `abort` later.
    """

    def __init__(self, *, app: "Gateway", connections: set[Any], **_options: Any) -> None:
        self._app = app
        app.ctx.worker.connections = connections

    @override
    def connection_made(self, transport: object) -> None:
        """The loop has accepted it, rather than an `Acceptor`."""
        accepted = take_over(cast(Transport, transport))
        if accepted is not None:
            self._app.serve_socket(accepted)
