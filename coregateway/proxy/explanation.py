"""What becomes of one request, and why: what `coregateway explain` prints, and a live request is told.

Both come from the compiled plan, by the code that serves requests. A response field is one line of JSON,
bounded in size, without queries, and without the values of credentials and of what the settings set.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coregateway.http1.grammar import CHUNKED
from coregateway.http1.request import RequestHead
from coregateway.proxy.admission import Refusal
from coregateway.proxy.client import Client
from coregateway.proxy.retry import IDEMPOTENT, REPLAYABLE
from coregateway.proxy.route import Forwarding, Route
from coregateway.proxy.routes import Candidate, host_name
from coregateway.proxy.step_verdicts import Case
from coregateway.proxy.verdicts import verdicts
from coregateway.upstream.endpoint import Endpoint
from coregateway.upstream.tiers import DRAINED, EJECTED, UNFIT, USABLE

FIELD = "X-CoreGateway-Explain"

LONGEST = 3_072
"""Bytes of the value of the field: proxies in front take response heads of 4 KiB (nginx)."""

NEAREST = 8
"""Routes that lost, of those that stand before the others, which a live request is told."""

CUT = ("lost", "off", "sends", "upstreams", "policies", "request")
"""What is left out first where all of it is too long."""

HIDDEN = "(hidden)"

STATES = {USABLE: "up", EJECTED: "ejected", UNFIT: "down", DRAINED: "draining"}
"""Of upstreams, by how they stand (`upstream.tiers`)."""

type StateOf = Callable[[str, str, Endpoint], str | None]
"""The state of an upstream, by its backend's name, its URL and its endpoint; None: it is not known."""


def state_here(backend: str, url: str, endpoint: Endpoint) -> str:  # noqa: ARG001 -- a `StateOf`
    """As this worker knows it."""
    return STATES[endpoint.standing]


type Losers = Callable[[Sequence[Candidate], RequestHead, Route], list[dict[str, str]]]
"""Which of the routes that do not take a request are told: `lost`, `nearest`."""


def facts(case: Case, losers: Losers, state_of: StateOf) -> dict[str, Any]:
    """What becomes of a request."""
    client, head, route = case.client, case.head, case.route
    told, off = verdicts(case)
    found: dict[str, Any] = {
        "request": {
            "line": head.raw.partition(b"\r\n")[0].decode("latin-1"),
            "host": host_name(head.noted.get(b"host", b"")),
            "client": case.exchange.client,
        },
        "route": route.name or None,
        "lost": losers(client.worker.plan.routes.candidates, head, route),
        "policies": told,
        "off": off,
    }
    if case.refusal is not None:
        found["answer"] = _answer(case.refusal)
    elif case.forwarding is None:
        found["answer"] = {"status": None, "detail": "the gateway's own: a page or a handler, or 404"}
    else:
        found |= _forwarded(case, case.forwarding, state_of)
    return found


def _forwarded(case: Case, forwarding: Forwarding, state_of: StateOf) -> dict[str, Any]:
    client, head, exchange = case.client, case.head, case.exchange
    outgoing = forwarding.outbound.render(
        head, exchange, peer=client.peer_bytes, trusted=client.trusted, scheme=client.scheme
    )
    name = forwarding.backend.name
    endpoints = forwarding.backend.pool.endpoints
    trace = b"" if exchange.trace is None else exchange.trace.fields
    sent = b""
    if endpoints:
        first = endpoints[0]
        sent = outgoing.to(first.authority, trace, b"", first.base)
    times = forwarding.timeouts
    return {
        "backend": name,
        "upstreams": [
            {"url": each.address.url, "at": each.name, "state": state_of(name, each.address.url, each)}
            for each in endpoints
        ]
        or [{"url": url, "at": None, "state": "unresolved"} for url in forwarding.backend.urls],
        "sends": sent.decode("latin-1").splitlines()[:-1],
        "timeouts": {
            "connect": times.connect,
            "read": times.read,
            "write": times.write,
            "pool": times.pool,
            "client": forwarding.client_timeout,
            "idle": forwarding.tunnel_idle,
            "linger": forwarding.linger,
            "total": 0.0 if forwarding.total is None else forwarding.total.seconds,
        },
        "max_body": case.route.max_body,
        "retry": _retry(head, forwarding, alone=len(endpoints) < 2),
    }


def _retry(head: RequestHead, forwarding: Forwarding, *, alone: bool) -> dict[str, Any]:
    """Whether the request could be tried again, and after what; see `retry.way_on`."""
    retries = forwarding.retries
    when = ["a connect failed" + (", after a pause" if alone else ", once at each other upstream")]
    if head.method in IDEMPOTENT and head.length <= REPLAYABLE:
        body = f", if its body has {REPLAYABLE} bytes at most" if head.length == CHUNKED else ""
        when.append(f"a used connection ended before an answer{body}")
        if retries.statuses:
            shown = ", ".join(map(str, sorted(retries.statuses)[:10]))
            when.append(f"an answer with the status {shown}{', …' * (len(retries.statuses) > 10)}{body}")
    return {"attempts": retries.attempts, "when": when, "repeats": len(when) > 1}


def _answer(refusal: Refusal) -> dict[str, Any]:
    error = refusal.error
    if error is None:
        return {"status": refusal.status or None, "fields": refusal.fields.decode("latin-1").splitlines()}
    allow = getattr(error, "allow", None)
    return {"status": error.status, "error": error.cause} | ({"allow": [*allow]} if allow else {})


# Which route, and why not the others


def in_order(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Routes in the order in which they win, each by the most exact of its hosts."""

    def rank(candidate: Candidate) -> tuple[Any, ...]:
        conditions = candidate.conditions
        hosts = [(host.startswith("*."), -len(host)) for host in conditions.hosts]
        best = min(hosts, default=(True, 1))
        return (*best, not conditions.is_exact, -len(conditions.front), *candidate.rank)

    return sorted(candidates, key=rank)


def lost(candidates: Sequence[Candidate], head: RequestHead, winner: Route) -> list[dict[str, str]]:
    """The other routes, and why each does not take the request."""
    ordered = in_order(candidates)
    won = next((each for each in ordered if each.route is winner), None)
    return [{"route": each.route.name, "why": _why(each, head, won)} for each in ordered if each is not won]


def nearest(candidates: Sequence[Candidate], head: RequestHead, winner: Route) -> list[dict[str, str]]:
    """The same of those whose paths fit, up to `NEAREST`."""
    fitting = [each for each in candidates if each.conditions.fits_path(head.path)]
    return lost(fitting, head, winner)[:NEAREST]


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


# For a live request


def explained(client: Client, head: RequestHead, asked: int, refusal: Refusal | None) -> None:
    """Have the response to a request say what becomes of it; see `Case` for `asked` and `refusal`."""
    route = client.route
    exchange = client.exchange
    if route is None or exchange is None:
        return
    case = Case(client, head, route, asked, refusal)
    exchange.explanation = f"{FIELD}: {value_of(case)}\r\n".encode("ascii")


def value_of(case: Case) -> str:
    """The value of the response field."""
    found = facts(case, nearest, state_here)
    found["request"]["line"] = _without_query(found["request"]["line"])
    forwarding = case.forwarding
    if "sends" in found and forwarding is not None:
        rules = forwarding.outbound.rules
        changes = () if rules is None else rules.changes
        secret = frozenset(each.name.lower() for each in changes if each.values)
        start, *lines = without_values(found["sends"], secret | case.client.worker.plan.credentials)
        found["sends"] = [_without_query(start), *lines]
    return _fitting(found)


def without_values(lines: Sequence[str], secret: frozenset[str]) -> list[str]:
    """A head; of its fields with these names, in lower case, no more than that they are there."""
    return [lines[0], *(_hidden(line, secret) for line in lines[1:])] if lines else []


def _fitting(found: Mapping[str, Any]) -> str:
    """As JSON that is short enough, with the names of what was left out for that."""
    left = dict(found)
    cut: list[str] = []
    for name in ("", *CUT):
        if name and left.pop(name, None) is not None:
            cut.append(name)
        text = json.dumps(left | ({"cut": cut} if cut else {}), separators=(",", ":"))
        if len(text) <= LONGEST:
            return text
    return json.dumps({"cut": ["all"]}, separators=(",", ":"))


def _without_query(line: str) -> str:
    method, _, rest = line.partition(" ")
    target, _, version = rest.rpartition(" ")
    path, mark, _ = target.partition("?")
    return f"{method} {path}{mark}{HIDDEN * bool(mark)} {version}"


def _hidden(line: str, secret: frozenset[str]) -> str:
    name = line.partition(":")[0]
    return f"{name}: {HIDDEN}" if name.lower() in secret else line
