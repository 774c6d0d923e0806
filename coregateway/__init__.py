"""CoreGateway: an HTTP API gateway in Python.

The packages, from the outside in; imports go downwards only. ARCHITECTURE.md tells the way of a request.

    app, __main__   put everything together; the command line
    cli             the commands that look, and that ask a gateway which runs
    deployment      files by which a gateway is run
    demo, testing   backends to try it with; a scripted backend, a raw client, a gateway process
    endpoints       own answers: health, documents, the admin address, the live page
    observability   log lines, metrics, traces, findings, the state of the node
    sanic_app       everything that knows the inside of Sanic
    downstream      clients: the states of a connection, heads, bodies, own answers
    proxy           routes, admission, forwarding, relay, tunnel, the rules of fields and of retries
    policy          what a request may: one module a policy, pure
    upstream        backends: balancer, endpoints, connections, the queue
    node            processes: listeners, supervisor, watchdog, signals
    prober          asks upstreams how they are, and name servers where
    settings        types, sources, mistakes
    logs            lines, and their way out of the process
    net             transports, epoll, batched writes, flow control, time limits, splice
    validation      requests held against the operations of their backends, pure
    openapi         API documents of backends, made into parts of one, and their operations, pure
    model           exchange, errors, problem documents, ids, addresses
    http1           the grammar of both sides, pure
    shared_memory   what belongs to the node: each process writes its part, all read everything
"""

from typing import TYPE_CHECKING, Any

from coregateway import compiled

if TYPE_CHECKING:
    from coregateway.sanic_app.backends import Backends as Backends

__version__ = "0.2.0"

COMPILED = compiled.install()
"""Whether the modules that a request runs through are machine code in this process."""


def __getattr__(name: str) -> Any:
    """`Backends`, for handlers: the command line does without it, and without Sanic."""
    if name != "Backends":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from coregateway.sanic_app.backends import Backends

    return Backends
