"""What is kept of one request that failed or was slow: its way through the gateway, as JSON.

It is made while the client still has the request, by the code that explains requests (`proxy.verdicts`), so
that what it tells is what has happened. It never has a query, a body, or the value of a field, a key or a
token: of what was changed it has names alone.
"""

from time import monotonic, time
from typing import Any

import orjson

from coregateway.http1.request import RequestHead
from coregateway.model.errors import BodyTooLarge, ClientClosed
from coregateway.model.exchange import BY_METHOD, NOT_REFUSED, Exchange
from coregateway.policy.fields import FieldRules
from coregateway.proxy.client import Client
from coregateway.proxy.route import Route
from coregateway.proxy.step_verdicts import (
    ANSWERS,
    KNOWN_LATER,
    NOT_ASKED,
    REFUSES,
    Case,
    Told,
    policy_of,
)
from coregateway.proxy.verdicts import CHANGES, verdicts
from coregateway.sanic_app.middleware_changes import REMOVED, SET, changed_by_middleware
from coregateway.shared_memory.ring import MAX_TEXT

FAILED = "failed"
SLOW = "slow"

MAX_PATH = 240
"""Characters of a path; whatever they are, the record has room for it."""

MAX_METHOD = 16
MAX_NAME = 80
MAX_WORDS = 120

ATTEMPTS = 6
"""Tries that are told, the first ones and the last."""

CUT = ("changed", "policies", "attempts", "reason", "consumer")
"""What is left out first where all of it is too long."""


def record(client: Client | None, exchange: Exchange, kind: str, took: float, *, skipped: int = 0) -> bytes:
    """What is kept of a request. `took`: seconds until its answer; `skipped`: failures like it that were not
    kept before it; `client`: None where nothing more is known than the exchange."""
    told = _outline(exchange, kind, took, skipped)
    if client is not None and client.head is not None:
        told |= _way(client, client.head, exchange)
    text = orjson.dumps(told)
    for name in CUT:
        if len(text) <= MAX_TEXT:
            break
        if told.pop(name, None) is not None:
            told["cut"] = [*told.get("cut", ()), name]
            text = orjson.dumps(told)
    return text


def _outline(exchange: Exchange, kind: str, took: float, skipped: int) -> dict[str, Any]:
    """What every request has."""
    rule = exchange.rule
    found: dict[str, Any] = {
        "kind": kind,
        "time": round(time() - (monotonic() - exchange.ended), 3),
        "id": exchange.request_id,
        "method": (exchange.method or "")[:MAX_METHOD],
        "path": (exchange.path or "")[:MAX_PATH],
        "protocol": exchange.protocol,
        "client": exchange.client,
        "consumer": _short(exchange.consumer),
        "auth": _short(exchange.auth),
        "auth_error": exchange.auth_error,
        "limited_by": _short(exchange.limited_by),
        "route": _short(exchange.route_name or exchange.route),
        "backend": _short(exchange.backend),
        "upstream": _short(exchange.upstream),
        "status": exchange.status,
        "upstream_status": exchange.upstream_status,
        "error": exchange.error,
        "reason": None if rule is None else rule.words[:MAX_WORDS],
        "bytes_in": exchange.bytes_in,
        "bytes_out": exchange.bytes_out,
        "ms": _ms(took),
        "duration_ms": _ms(exchange.ended - exchange.started),
        "waited_ms": _ms(exchange.waited),
        "attempts": _attempts(exchange),
        "skipped": skipped,
    }
    return {name: value for name, value in found.items() if value is not None}


def _short(name: str | None) -> str | None:
    return None if name is None else name[:MAX_NAME]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _attempts(exchange: Exchange) -> list[dict[str, Any]]:
    """The tries at upstreams, in milliseconds from the beginning of the request."""
    start = exchange.started
    found: list[dict[str, Any]] = []
    for failed in exchange.failed_attempts:
        told = _attempt(failed.upstream, start, failed.began, failed.sent, failed.ended)
        found.append(told | {"status": failed.status, "error": failed.cause})
    if exchange.attempts > len(found):
        ended = exchange.upstream_ended or exchange.ended
        began = exchange.attempt_began
        sent = exchange.upstream_started if exchange.upstream_started > began else 0.0
        told = _attempt(exchange.upstream, start, began, sent, ended)
        if exchange.responded:
            told["answered_ms"] = _ms(exchange.responded - start)
        error = exchange.error if exchange.upstream_status is None else None
        found.append(told | {"status": exchange.upstream_status, "error": error})
    for told in found:
        for name in [name for name, value in told.items() if value is None]:
            del told[name]
    return found if len(found) <= ATTEMPTS else [*found[: ATTEMPTS - 1], found[-1]]


def _attempt(upstream: str | None, start: float, began: float, sent: float, ended: float) -> dict[str, Any]:
    return {
        "upstream": _short(upstream),
        "began_ms": _ms(began - start) if began else 0.0,
        "sent_ms": _ms(sent - start) if sent else None,
        "ended_ms": _ms(ended - start),
    }


def _way(client: Client, head: RequestHead, exchange: Exchange) -> dict[str, Any]:
    """What the policies of its route have said of it, and what was changed."""
    found: dict[str, Any] = {}
    if b"?" in head.target:
        found["query"] = "(hidden)"
    route = client.route
    if route is None or (exchange.refused_at == NOT_REFUSED and _is_refused_early(exchange)):
        return found
    changed = _changed(client, head, exchange)
    told = _policies(client, head, route, exchange)
    for each in told:
        if each["verdict"] == KNOWN_LATER:  # of a request that is over: middleware on its answer
            each["verdict"] = _of_answer(changed, exchange)
    return found | {"policies": told} | ({"changed": changed} if changed else {})


def _of_answer(changed: dict[str, Any], exchange: Exchange) -> str:
    """What response middleware has said."""
    if SET in changed.get("response", {}) or REMOVED in changed.get("response", {}):
        return CHANGES
    has_left = exchange.error == ClientClosed.cause and exchange.upstream_status is None
    return NOT_ASKED if has_left else "sees the answer"


def _is_refused_early(exchange: Exchange) -> bool:
    """Whether it was refused before any policy was asked: its body is too large by its head."""
    return exchange.error == BodyTooLarge.cause and not exchange.attempts


def _policies(client: Client, head: RequestHead, route: Route, exchange: Exchange) -> list[dict[str, Any]]:
    chain = route.chain_of(head)
    steps = () if chain is None else chain.steps
    asked, said = len(steps), None
    if exchange.refused_at != NOT_REFUSED:
        asked = -1 if exchange.refused_at == BY_METHOD else exchange.refused_at - 1
        if exchange.error is None:
            said = Told(ANSWERS, str(exchange.status) if exchange.status else "in its own words")
        else:
            said = Told(REFUSES, f"{exchange.status} {exchange.error}")
    told, _ = verdicts(Case(client, head, route, asked, None, said=said))
    waited = {policy_of(steps[number]): seconds for number, seconds in exchange.verdicts_waited}
    for each in told:
        each["why"] = each.get("why", "")[:MAX_WORDS]
        for policy, seconds in waited.items():
            if policy.partition(" ")[0] == each["policy"].partition(" ")[0]:
                each["ms"] = _ms(seconds)  # pyright: ignore[reportArgumentType] -- it becomes JSON
    return told


def _changed(client: Client, head: RequestHead, exchange: Exchange) -> dict[str, Any]:
    """What the settings and the application's middleware change on its way, by the names of the fields."""
    forwarding = client.forwarding
    if forwarding is None or not exchange.attempts:
        return {}
    request, response = changed_by_middleware(client, head)
    found: dict[str, Any] = {"request": _names(forwarding.outbound.rules) | request}
    inside = forwarding.outbound.rewriting.inside(head.target)
    if inside != head.target:
        found["path"] = inside.partition(b"?")[0].decode("latin-1")[:MAX_PATH]
    if exchange.upstream_status is not None:
        found["response"] = _names(forwarding.inbound.rules) | response
    return {what: changes for what, changes in found.items() if changes}


def _names(rules: FieldRules | None) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for change in () if rules is None else rules.changes:
        what = "removed" if not change.values else "set" if change.removes else "added"
        found.setdefault(what, []).append(change.name)
    return found
