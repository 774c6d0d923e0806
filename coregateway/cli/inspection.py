"""What the settings decide, seen by commands: the plan of a worker without clients.

It is the plan that a gateway with these settings has, made by the same code: what is said of a request is
what becomes of it there.
"""

from asyncio import get_running_loop
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from socket import socketpair
from typing import Any, NamedTuple

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
from coregateway.proxy.policies import plan_of
from coregateway.proxy.retry import IDEMPOTENT
from coregateway.proxy.route import Forwarding, Route
from coregateway.proxy.routes import Candidate, host_name
from coregateway.proxy.worker import Worker
from coregateway.settings import Settings
from coregateway.upstream.opening import open_backend

NAMES = {
    "Preflights": "CORS preflight",
    "LastHop": "Max-Forwards",
    "Route": "method",
    "NetworkCheck": "client networks",
    "Redirects": "redirect",
    "FixedAnswers": "fixed answer",
    "Share": "share",
    "refuse_for_maintenance": "maintenance",
}
"""Of steps of admission by their class, or their own name. One with a `policy` says its name itself."""


class Inspection(NamedTuple):
    """Settings, and what they decide."""

    settings: Settings
    worker: Worker

    def routes(self) -> list[dict[str, Any]]:
        """All routes, those that win before the others."""
        return [self._described(each) for each in in_order(self.worker.plan.routes.candidates)]

    def _described(self, candidate: Candidate) -> dict[str, Any]:
        conditions, route = candidate.conditions, candidate.route
        return {
            "name": route.name,
            "path": conditions.path,
            "methods": [*route.methods],
            "hosts": [*conditions.hosts],
            "headers": {name.decode(): value.decode() for name, value in conditions.fields},
            "to": self.destination(route.name),
        }

    def destination(self, name: str) -> str:
        """Where a route leads."""
        table = self.settings.routes.get(name)
        if table is None:
            return name
        if table.redirect.to:
            return f"{table.redirect.status} {table.redirect.to}"
        if table.respond.status:
            return f"{table.respond.status} from here"
        weights = table.weights
        if len(weights) == 1:
            return next(iter(weights))
        return ", ".join(f"{backend} {weight}" for backend, weight in weights.items())

    def explain(self, raw: bytes, address: str) -> dict[str, Any]:
        """What becomes of a request with this head, from a client with this address."""
        try:
            head = RequestHead(raw)
            if not is_confined(head.path):
                raise BadRequest(PATH)
            found = self.worker.plan.routes.match(head)
        except ValueError as error:
            return {"answer": {"status": 400, "error": BadRequest.cause, "detail": str(error)}}
        except BadRequest as error:
            return {"answer": {"status": 400, "error": error.cause, "detail": error.explanation}}
        route = found or self.worker.plan.own
        client = self._client(head, address)
        client.route = route
        client.forwarding = route.forwarding
        try:
            told: dict[str, Any] = {
                "request": {
                    "line": raw.partition(b"\r\n")[0].decode("latin-1"),
                    "host": host_name(head.noted.get(b"host", b"")),
                    "client": client.exchange.client if client.exchange else address,
                },
                "route": route.name or None,
                "lost": self._lost(head, route),
            }
            policies, refusal = _verdicts(client, route, head)
            told["policies"] = policies
            if refusal is not None:
                told["answer"] = _answer(refusal)
            elif route.forwarding is None:
                told["answer"] = {"status": None, "detail": "the gateway's own: a page or a handler, or 404"}
            else:
                told |= self._forwarded(client, head, route, client.forwarding or route.forwarding)
            return told
        finally:
            client.abort()

    def _client(self, head: RequestHead, address: str) -> ClientConnection:
        near, far = socketpair()
        near.setblocking(False)
        far.close()
        client = ClientConnection(self.worker, PlainTransport(self.worker.io, near), address)
        client.head = head
        client.exchange = exchange = Exchange(get_running_loop().time(), address)
        exchange.describe(head, None)
        if client.trusted:
            exchange.client = self.worker.plan.client_of(address, head)
        return client

    def _lost(self, head: RequestHead, winner: Route) -> list[dict[str, str]]:
        """The other routes, and why each does not take the request."""
        ordered = in_order(self.worker.plan.routes.candidates)
        won = next((each for each in ordered if each.route is winner), None)
        return [
            {"route": each.route.name, "why": _why(each, head, won)} for each in ordered if each is not won
        ]

    def _forwarded(
        self, client: ClientConnection, head: RequestHead, route: Route, forwarding: Forwarding
    ) -> dict[str, Any]:
        exchange = client.exchange
        assert exchange is not None  # noqa: S101 -- `_client` has set it
        outgoing = forwarding.outbound.render(head, exchange, peer=client.peer_bytes, trusted=client.trusted)
        name = forwarding.backend.name
        row = self.settings.backends[name]
        table = self.settings.routes.get(route.name)
        endpoint = forwarding.backend.pool.endpoints[0]
        sent = outgoing.to(endpoint.authority, b"", b"", endpoint.base)
        again = head.method in IDEMPOTENT
        return {
            "backend": name,
            "upstreams": [str(url) for url in row.urls],
            "sends": sent.decode("latin-1").splitlines()[:-1],
            "timeouts": (row.timeouts if table is None else table.timeouts).model_dump(),
            "max_body": route.max_body,
            "retry": {
                "attempts": forwarding.retries.attempts,
                "when": "a connect failed, or a used connection ended before an answer"
                if again
                else "a connect failed; nothing that was sent is sent again",
            },
        }


@asynccontextmanager
async def inspected(settings: Settings) -> AsyncGenerator[Inspection]:
    """The plan for these settings; nothing is connected."""
    io = WorkerIO(get_running_loop())
    backends = {name: open_backend(io, name, row, settings.limits) for name, row in settings.backends.items()}
    worker = Worker(plan_of(settings, backends), ExchangeEvents())
    worker.open(io)
    try:
        yield Inspection(settings, worker)
    finally:
        for backend in backends.values():
            await backend.close()
        io.close()


def in_order(candidates: list[Candidate]) -> list[Candidate]:
    """Routes in the order in which they win, each by the most exact of its hosts."""

    def rank(candidate: Candidate) -> tuple[Any, ...]:
        conditions = candidate.conditions
        hosts = [(host.startswith("*."), -len(host)) for host in conditions.hosts]
        best = min(hosts, default=(True, 1))
        return (*best, not conditions.is_exact, -len(conditions.front), *candidate.rank)

    return sorted(candidates, key=rank)


def _why(candidate: Candidate, head: RequestHead, won: Candidate | None) -> str:
    """Why a route does not take a request that another one, or none, takes."""
    conditions, route = candidate.conditions, candidate.route
    host = host_name(head.noted.get(b"host", b""))
    if not conditions.fits_host(host):
        return f"it is for {', '.join(conditions.hosts)}, not for {host or 'no host'}"
    if not conditions.fits_path(head.path):
        return f"{conditions.path} does not fit the path"
    for name, wanted in conditions.fields:
        value = head.field(name)
        if value is None:
            return f"the request has no {name.decode()}"
        if wanted not in (value, b"*"):
            return f"{name.decode()} is not {wanted.decode()}"
    if head.method not in route.allowed:
        return f"it does not take {head.method}"
    if won is None:
        return "the gateway answers the path itself"
    other = won.conditions
    if conditions.hosts != other.hosts:
        return "the host of the other is more exact"
    if conditions.is_exact != other.is_exact or len(conditions.front) != len(other.front):
        return "the path of the other is more exact"
    if conditions.named != other.named:
        return "the other names its methods"
    if len(conditions.fields) != len(other.fields):
        return "the other asks for more fields"
    return "the other stands before it in the file"


def _verdicts(
    client: ClientConnection, route: Route, head: RequestHead
) -> tuple[list[dict[str, str]], Refusal | None]:
    """What each policy says, in their order, up to the first that refuses."""
    told: list[dict[str, str]] = []
    if head.method != "OPTIONS" and (refusal := route.refuse_method(client, head)) is not None:
        return [{"policy": "method", "verdict": _in_words(refusal)}], refusal
    chain = route.chain_of(head)
    for step in () if chain is None else chain.steps:
        verdict = step(client, head)
        if isinstance(verdict, Refusal):
            told.append({"policy": _name_of(step), "verdict": _in_words(verdict)})
            return told, verdict
        if verdict is not None:
            close = getattr(verdict, "close", None)
            if close is not None:
                close()
        words = "passes" if verdict is None else "is known only when the request comes"
        name = _name_of(step)
        exchange = client.exchange
        if name == NAMES["Share"] and exchange is not None and exchange.share is not None:
            words = f"chooses {exchange.share}, by {exchange.chosen_by}"
        told.append({"policy": name, "verdict": words})
    return told, None


def _name_of(step: Any) -> str:
    owner = getattr(step, "__self__", None)
    said: str | None = getattr(owner, "policy", None)
    name = type(owner).__name__ if owner is not None else getattr(step, "__name__", "policy")
    return said or NAMES.get(name, NAMES.get(getattr(step, "__name__", ""), name))


def _in_words(refusal: Refusal) -> str:
    if refusal.error is None:
        return f"answers {refusal.status}"
    return f"refuses: {refusal.error.status} {refusal.error.cause}"


def _answer(refusal: Refusal) -> dict[str, Any]:
    error = refusal.error
    if error is None:
        return {"status": refusal.status, "fields": refusal.fields.decode("latin-1").splitlines()}
    allow = getattr(error, "allow", None)
    return {"status": error.status, "error": error.cause} | ({"allow": [*allow]} if allow else {})
