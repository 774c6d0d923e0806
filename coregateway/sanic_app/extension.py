"""sanic-ext on the gateway: which of its parts are on, and the backends as a dependency of handlers.

Sanic extends an application by itself when it starts (`AUTO_EXTEND`), unless the user has done so before:
`Extend(app)`, `app.extend(…)` and `app.ext` mean what they mean on any Sanic application, and there is one
extension of it. `OPTIONS` are values of `app.config`, which sanic-ext prefers to its own: they leave CORS,
methods and the pages of the API to the gateway, and a user may set them otherwise before the extension.

What costs proxied traffic something is the signal to which its injector listens: it needs handlers of own
routes alone, so it does not count among those that observe requests (`is_injector`).
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from sanic.exceptions import SanicException
from sanic.request import Request
from sanic_ext import Extend, Extension
from sanic_ext.extensions.injection import injector

from coregateway.sanic_app.backends import Backends

if TYPE_CHECKING:
    from coregateway.sanic_app.gateway import Gateway

OPTIONS: Mapping[str, object] = MappingProxyType(
    {
        "CORS": False,  # `[cors]` of the settings
        "HTTP_ALL_METHODS": False,  # TRACE and CONNECT are refused
        "HTTP_AUTO_HEAD": False,  # as on plain Sanic: a route has the methods that it names
        "HTTP_AUTO_OPTIONS": False,
        "OAS": False,  # its pages load from other hosts; `/docs` and `/openapi.json` are the gateway's
    }
)


class BackendsExtension(Extension):
    """Lets every extension of a gateway know `Backends`; of other applications it does nothing."""

    name = "coregateway"

    def startup(self, bootstrap: Extend) -> None:
        from coregateway.sanic_app.gateway import Gateway

        if isinstance(cast(object, self.app), Gateway):  # pyright: ignore[reportUnknownMemberType] -- its parameters are left open
            with suppress(SanicException):  # a user has extended it without the injection
                bootstrap.add_dependency(Backends, _backends_of)


def _backends_of(request: Request) -> Backends:  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType] -- sanic-ext looks for this very class
    return Backends(cast("Gateway", request.app))


def is_injector(subscriber: Callable[..., Any]) -> bool:
    """Whether a subscriber of Sanic's signals is sanic-ext's injector."""
    return subscriber.__module__ == injector.__name__


def known_hints(handler: Any) -> dict[str, Any]:
    """The annotations of a handler that mean something at run time.

    sanic-ext asks for those of every handler, and what a type checker alone imports would end the start.
    """
    try:
        return get_type_hints(handler)
    except NameError:
        known: dict[str, Any] = {}
        for name, annotation in handler.__annotations__.items():
            single = SimpleNamespace(__annotations__={name: annotation})
            with suppress(NameError):
                known |= get_type_hints(single, getattr(handler, "__globals__", None))
        return known


injector.get_type_hints = known_hints  # pyright: ignore[reportPrivateImportUsage] -- no public way
Extend.register(BackendsExtension)
