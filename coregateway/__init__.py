"""CoreGateway: an HTTP API gateway in Python.

The life of a request, from the bytes of a client to a line in the log:

    server.downstream   takes the bytes; opens an `Exchange`, which takes ids, times, bytes and the outcome
    server.connection   keeps those that are not a whole request yet, within limits of time and size
    http1.request       parses the head strictly; what two parsers could read differently is refused
    target              refuses a path that could leave its prefix
    routes              finds the backend by prefix; own paths go to Sanic's router (`server.gateway`)
    proxy               takes a connection, sends the request, answers what comes back
    upstream.pool       gives a connection at rest, or a new one, or a place in the queue
    headers             renders the heads of both directions, each once
    http1.framing       delimits the bodies of both directions anew
    http1.reader        parses the response as strictly
    retry               says whether a failed attempt may be made again
    relay               streams what is too long to come at once, one way or both
    splice              passes on the rest of a large response inside the kernel
    errors, problem     tell the client what went wrong, in one form
    tunnel              carries bytes both ways once a backend has agreed to speak WebSocket
    server.ledger       tells of the end of the exchange, exactly once
    access_log          writes its line; metrics count it, tracing sends its spans

There are two ways through it, by the same steps. A request that has come whole and finds a connection at rest
is served where its bytes arrive, without a task (`Downstream.data_received`, `proxy.begin`, `Passage.end`).
Whatever has to wait goes through the task of its connection (`ClientStream.http1`, `proxy.serve`).

What belongs to the node rather than to a worker lies in memory that all its processes share (`shared`).
`app` puts everything together; `__main__` is the command line.
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
