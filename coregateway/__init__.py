"""CoreGateway: an HTTP API gateway in Python.

The life of a request, from the bytes of a client to a line in the log:

    net.plain_transport      reads the bytes
    downstream.connection    finds a whole head among them, opens an `Exchange`, and admits the request
    http1.request            parses the head strictly; what two parsers could read differently is refused
    http1.path_safety        refuses a path that could leave its prefix
    proxy.routes             finds the route; own paths go to Sanic's router (`sanic_app.stream`)
    proxy.admission          asks the policies of the route
    proxy.forwarded_request  takes a connection, sends the request, answers what comes back
    upstream.pool            gives an idle connection, or a new one, or a place in the queue
    proxy.attempts           tries again what may be tried again
    http1.reader             parses the response as strictly
    proxy.answer             shows it to middleware, renders its head, and writes it
    proxy.relay, net.splice  stream what is too long to come at once, one way or both
    proxy.tunnel             carries bytes both ways once a backend has agreed to speak WebSocket
    model.errors, problem    tell the client what went wrong, in one form
    proxy.exchange_events    tell of the end of the exchange, exactly once
    observability            writes its line, counts it, sends its spans

`app` puts everything together; `__main__` is the command line. ARCHITECTURE.md has the packages.
"""

from typing import TYPE_CHECKING, Any

from coregateway import compiled

if TYPE_CHECKING:
    from coregateway.sanic_app.backends import Backends as Backends

__version__ = "0.1.0"

COMPILED = compiled.install()
"""Whether the modules that a request runs through are machine code in this process."""


def __getattr__(name: str) -> Any:
    """`Backends`, for handlers: the command line does without it, and without Sanic."""
    if name != "Backends":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from coregateway.sanic_app.backends import Backends

    return Backends
