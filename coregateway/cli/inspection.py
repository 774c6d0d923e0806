"""What the settings decide, seen by commands: the plan of a worker without clients.

It is the plan that a gateway with these settings has, made by the same code: what is said of a request is
what becomes of it there.
"""

from asyncio import get_running_loop
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from socket import socketpair
from types import MappingProxyType
from typing import Any, NamedTuple

from coregateway.cli.plugged import middleware_of
from coregateway.downstream.connection import ClientConnection
from coregateway.http1.path_safety import is_confined
from coregateway.http1.request import RequestHead
from coregateway.http1.rules import PATH
from coregateway.model.errors import BadRequest
from coregateway.model.exchange import Exchange
from coregateway.net.plain_transport import PlainTransport
from coregateway.net.worker_io import WorkerIO
from coregateway.proxy.admission import Refusal
from coregateway.proxy.exchange_events import ExchangeEvents
from coregateway.proxy.explanation import facts, in_order, lost
from coregateway.proxy.policies import plan_of
from coregateway.proxy.route import Route
from coregateway.proxy.routes import Candidate
from coregateway.proxy.step_verdicts import Case
from coregateway.proxy.worker import Worker
from coregateway.settings import Settings
from coregateway.upstream.endpoint import Endpoint
from coregateway.upstream.opening import open_backend


class Inspection(NamedTuple):
    """Settings, and what they decide."""

    settings: Settings
    worker: Worker
    states: Mapping[tuple[str, str], str]
    """Of upstreams, by their backends and URLs, where a node runs that knows them."""

    def routes(self) -> list[dict[str, Any]]:
        """All routes, those that win before the others."""
        return [self._described(each) for each in in_order(self.worker.plan.routes.candidates)]

    def _described(self, candidate: Candidate) -> dict[str, Any]:
        conditions, route = candidate.conditions, candidate.route
        table = self.settings.routes.get(route.name)
        shown = route.middleware
        return {
            "name": route.name,
            "path": conditions.path,
            "methods": [*route.methods],
            "hosts": [*conditions.hosts],
            "headers": {name.decode(): value.decode() for name, value in conditions.fields},
            "to": route.name if table is None else table.destination,
            "middleware": {
                "request": [] if shown is None else [*shown.names.on_request],
                "response": [] if shown is None else [*shown.names.on_response],
            },
        }

    def explain(self, raw: bytes, address: str) -> dict[str, Any]:
        """What becomes of a request with this head, from a client with this address."""
        try:
            head = RequestHead(raw)
            if not is_confined(head.path):
                raise BadRequest(PATH)
            client, route = self.opened(head, address)
        except ValueError as error:
            return {"answer": {"status": 400, "error": BadRequest.cause, "detail": str(error)}}
        except BadRequest as error:
            return {"answer": {"status": 400, "error": error.cause, "detail": error.explanation}}
        try:
            asked, refusal, waiting = _admitted(client, route, head)
            case = Case(client, head, route, asked, refusal, live=False, waiting=waiting)
            return facts(case, lost, self._state_of)
        finally:
            client.abort()

    def _state_of(self, backend: str, url: str, endpoint: Endpoint) -> str | None:  # noqa: ARG002 -- a `StateOf`
        return self.states.get((backend, url))

    def opened(self, head: RequestHead, address: str) -> tuple[ClientConnection, Route]:
        """A client with this address, which asks for this; and the route of that. `abort` of it must follow.

        Raises:
            BadRequest: a backend could read the path as one that another route takes.
        """
        near, far = socketpair()
        near.setblocking(False)
        far.close()
        client = ClientConnection(self.worker, PlainTransport(self.worker.io, near), address)
        client.head = head
        client.exchange = exchange = Exchange(get_running_loop().time(), address)
        exchange.describe(head, self.worker.plan.tracer)
        if client.trusted:
            exchange.client = self.worker.plan.client_of(address, head)
        client.scheme = b"http" if self.settings.tls.options is None else b"https"
        plan = self.worker.plan
        if plan.routes.asks_scheme:
            plan.routes.note_scheme(head, client.scheme, told=client.trusted)
        try:
            route = plan.routes.match(head) or plan.own
        except BadRequest:
            client.abort()
            raise
        client.route = route
        client.forwarding = route.forwarding
        if route.template:
            exchange.route, exchange.route_name = route.label, route.told_as
        return client, route


@asynccontextmanager
async def inspected(
    settings: Settings, states: Mapping[tuple[str, str], str] = MappingProxyType({})
) -> AsyncGenerator[Inspection]:
    """The plan for these settings; nothing is connected. `states`: see `Inspection`."""
    io = WorkerIO(get_running_loop())
    backends = {name: open_backend(io, name, row, settings.limits) for name, row in settings.backends.items()}
    worker = Worker(plan_of(settings, backends, middleware_of=middleware_of(settings)), ExchangeEvents())
    worker.open(io)
    try:
        yield Inspection(settings, worker, states)
    finally:
        for backend in backends.values():
            await backend.close()
        io.close()


def _admitted(
    client: ClientConnection, route: Route, head: RequestHead
) -> tuple[int, Refusal | None, list[int]]:
    """How many steps of its admission let a request pass, the refusal of the next one, and the numbers of the
    steps whose verdict is known only when the request comes: it passes them.
    """
    waiting: list[int] = []
    if head.method != "OPTIONS" and (refusal := route.refuse_method(client, head)) is not None:
        return -1, refusal, waiting
    chain = route.chain_of(head)
    steps = () if chain is None else chain.steps
    for number, step in enumerate(steps):
        verdict = step(client, head)
        if isinstance(verdict, Refusal):
            return number, verdict, waiting
        if verdict is not None:
            waiting.append(number)
            if (close := getattr(verdict, "close", None)) is not None:
                close()
    return len(steps), None, waiting
