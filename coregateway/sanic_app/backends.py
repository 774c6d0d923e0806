"""The backends of a worker by their names, as handlers of users get them injected."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from coregateway.sanic_app.backend_handle import BackendHandle

if TYPE_CHECKING:
    from coregateway.sanic_app.gateway import Gateway


class Backends(Mapping[str, BackendHandle]):
    """Every backend of the settings, as `app.backend(name)` returns it: `client` asks it, by httpx over the
    connections of this worker.

    A handler asks for it by an annotation, and gets it by sanic-ext's injection:

        @app.get("/both")
        async def both(request, backends: Backends):
            answer = await backends["coredinator"].client.get("/api/agents/")
    """

    def __init__(self, app: "Gateway") -> None:
        self._app = app

    def __getitem__(self, name: str) -> BackendHandle:
        """Raises `KeyError` for a name that is none of the settings."""
        if name not in self._app.ctx.settings.backends:
            raise KeyError(name)
        return self._app.backend(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._app.ctx.settings.backends)

    def __len__(self) -> int:
        return len(self._app.ctx.settings.backends)
