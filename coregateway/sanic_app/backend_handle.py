"""A backend as the application's code has it: `app.backend("coredinator")`."""

from typing import TYPE_CHECKING, Any, cast

from sanic.mixins.middleware import MiddlewareMixin
from sanic.models.futures import FutureMiddleware

if TYPE_CHECKING:
    from httpx import AsyncClient

    from coregateway.sanic_app.gateway import Gateway


class BackendHandle(MiddlewareMixin):
    """Its client, and its own middleware: `on_request`, `on_response` and `middleware` are a blueprint's.

    They take effect where Sanic's do: registered before the workers serve, or within `app.amend()`.
    """

    __slots__ = ("_app", "_future_middleware", "name")

    def __init__(self, app: "Gateway", name: str) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType] -- untyped
        self.name = name
        self._app = app

    @property
    def client(self) -> "AsyncClient":
        """Asks the backend over the connections of this worker.

        Raises RuntimeError: the worker has not started; listeners of `after_server_start` may use it.
        """
        backend = self._app.ctx.backends.get(self.name)
        if backend is None:
            raise RuntimeError(f"the client of backend {self.name!r} is there once the worker has started")
        return backend.client

    def _apply_middleware(self, middleware: FutureMiddleware) -> None:
        function = cast(Any, middleware).middleware
        self._app.register_named_middleware(  # pyright: ignore[reportUnknownMemberType] -- untyped
            function, self._app.routes_of_backend(self.name), middleware.attach_to
        )
