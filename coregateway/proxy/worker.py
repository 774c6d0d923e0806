"""What the connections of one worker share."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from coregateway.net.lingering_close import LingeringConnections
from coregateway.net.worker_io import WorkerIO
from coregateway.proxy.exchange_events import ExchangeEvents
from coregateway.proxy.limits import Limits
from coregateway.proxy.notable import Notable
from coregateway.proxy.plan import Plan

if TYPE_CHECKING:
    from coregateway.proxy.client import Client


class Worker:
    """One per worker and application: the gateway has one, the admin address another.

    `plan` may be replaced between two turns of the loop: a request keeps the route that it has found.
    """

    __slots__ = (
        "application",
        "clients",
        "connections",
        "draining",
        "events",
        "io",
        "limits",
        "lingering",
        "loop",
        "notable",
        "on_body",
        "on_disconnect",
        "plan",
        "via_sanic",
    )

    def __init__(self, plan: Plan, events: ExchangeEvents, limits: Limits | None = None) -> None:
        self.plan = plan
        self.events = events
        self.io: WorkerIO
        """Which all applications of the worker share; set by `open`."""
        self.loop: AbstractEventLoop
        """The same as `io.loop`."""
        self.application: Callable[[Any], Coroutine[Any, Any, None]]
        """Serves a request by the handlers of the application; its argument is a `Client`."""
        self.via_sanic = False
        """Whether forwarded requests pass through Sanic's router, whose events have subscribers."""
        self.on_body: Callable[[bytes], None] | None = None
        """Told of each piece of a forwarded request's body; None: nobody asks."""
        self.on_disconnect: Callable[[Client], None] | None = None
        """Told of each connection that has ended; None: nobody asks."""
        self.notable: Notable | None = None
        """Keeps requests that failed or were slow; None: nothing does."""
        self.limits = limits or Limits()
        """Of rates, which the plan's steps go by."""
        self.draining = False
        self.lingering = LingeringConnections()
        self.clients = 0
        """Open connections of clients."""
        self.connections: set[Client] = set()
        """The same, for the end of the drain."""

    def open(self, io: WorkerIO) -> None:
        """Serve in the loop that runs."""
        self.io = io
        self.loop = io.loop
        self.events.writer = io.writer
