"""Findings of what the node has decided: an upstream is ejected or back, a breaker open or closed, a client
ended for others, a document not shown."""

from collections.abc import Mapping
from typing import Any

from coregateway.observability.diagnosis.rules import AN_HOUR, Finding
from coregateway.observability.status.decisions import BreakerStatus, EjectionStatus
from coregateway.observability.status.reachability import in_words
from coregateway.prober.document_states import DocumentState
from coregateway.proxy.validators import BOOK

MEANWHILE = {
    "local": "each node limits by itself",
    "allow": "requests pass without limits",
    "deny": "requests with rates get 503 rate_store_unavailable",
}
"""By `store.on_error`: what becomes of requests without it."""


def ejected(backend: str, url: str, before: EjectionStatus, now: EjectionStatus) -> Finding | None:
    """An upstream was ejected, or again, since the last look."""
    if now.count == before.count or not now.ejected:
        return None
    which = url if now.known == 1 else f"{now.ejected} of {now.known} addresses of {url}"
    message = (
        f"backend {backend} sends no requests to {which}, for too many in a row failed, the last by "
        f"{in_words(now.cause)}: in {now.left:.0f} s one request tries it"
    )
    fields: dict[str, object] = {
        "backend": backend,
        "upstream": url,
        "cause": now.cause,
        "seconds": round(now.left, 1),
        "times": now.times,
    }
    return Finding("ejected", url, message, fields)


def returned(backend: str, url: str, before: EjectionStatus, now: EjectionStatus) -> Finding | None:
    """An upstream that was ejected has answered a request."""
    if not before.ejected or now.ejected:
        return None
    message = f"backend {backend} sends requests to {url} again: it has answered one"
    fields: dict[str, object] = {"backend": backend, "upstream": url}
    return Finding("returned", url, message, fields, level="INFO")


def slow_clients(backend: str, *, ended: int, window: float, rate: int, connections: int) -> Finding | None:
    """Clients were ended, because other requests waited for what they held.

    `ended`: requests, in a window of so many seconds. `rate`: `limits.client_rate`. `connections`:
    `limits.max_connections`.
    """
    if ended <= 0:
        return None
    whose = "a slow client was" if ended == 1 else f"{ended} slow clients were"
    message = (
        f"{whose} ended in the last {window:.0f} s, for other requests waited for their connections to "
        f"backend {backend}: raise limits.max_connections, {connections} per worker and address, or lower "
        f"limits.client_rate, {rate} bytes/s"
    )
    fields: dict[str, object] = {"backend": backend, "ended": ended, "client_rate": rate}
    return Finding("slow_clients", backend, message, fields)


def rate_table_full(forgotten: int, window: float) -> Finding | None:
    """Keys of rates were forgotten since the last look, `window` seconds ago."""
    if forgotten <= 0:
        return None
    message = (
        f"the node had no room for {forgotten} keys of rates in the last {window:.0f} s, and forgot others "
        "early, which may send a burst again: a rate fills the table whose key clients choose freely"
    )
    return Finding("rate_table_full", "rates", message, {"forgotten": forgotten})


def rate_store_lost(on_error: str, before: bool | None, now: bool | None) -> Finding | None:
    """The store of rates does not answer any more, or did not from the start."""
    if now is not False or before is False:
        return None
    message = f"the store of rates does not answer in time: {MEANWHILE[on_error]} until it does"
    return Finding("rate_store_lost", "store", message, {"on_error": on_error})


def rate_store_back(before: bool | None, now: bool | None) -> Finding | None:
    """The store of rates answers again."""
    if before is not False or not now:
        return None
    return Finding("rate_store_back", "store", "the store of rates answers again", {}, level="INFO")


def breaker_open(backend: str, before: BreakerStatus, now: BreakerStatus) -> Finding | None:
    """A breaker has opened since the last look."""
    if now.opened == before.opened or now.state in ("off", "closed"):
        return None
    message = (
        f"backend {backend} gets no requests, for too many of them failed: its breaker is open, clients get "
        "503 breaker_open, and from time to time one request tries it"
    )
    fields: dict[str, object] = {"backend": backend, "opened": now.opened}
    return Finding("breaker_open", backend, message, fields)


def breaker_closed(backend: str, before: BreakerStatus, now: BreakerStatus) -> Finding | None:
    """A breaker that was open has closed."""
    if before.state not in ("open", "half_open") or now.state != "closed":
        return None
    message = f"backend {backend} gets requests again: it has answered one, and its breaker is closed"
    return Finding("breaker_closed", backend, message, {"backend": backend}, level="INFO")


def document_unusable(backend: str, document: DocumentState) -> Finding | None:
    """A backend's API document that cannot be had, or of which no use can be made."""
    if document.state not in ("stale", "refused"):
        return None
    shown = "the last one is shown" if document.state == "stale" else "its operations are shown nowhere"
    message = (
        f"the API document of backend {backend} is not to be had, {document.reason}: {shown}; "
        f"look at backends.{backend}.openapi"
    )
    fields: dict[str, object] = {"backend": backend, "state": document.state, "reason": document.reason}
    return Finding("document_unusable", backend, message, fields, pause=AN_HOUR)


def requests_unfit(
    backend: str, times: int, worst: Mapping[str, Any], mode: str, window: float
) -> Finding | None:
    """Requests did not fit the document of their backend since the last look. `worst`: the kind of them with
    the highest count, as `status.mismatches` has it."""
    if times <= 0:
        return None
    where = f"{worst['in']} {worst['at']}".strip()
    message = (
        f"requests did not fit the API document of backend {backend} {times} times in the last {window:.0f} s"
        f"{', and were refused' if mode == 'enforce' else ''}; most often so far: {worst['operation']}"
        f"{f' at {where}' if where else ''}, {worst['count']} times"
    )
    fields: dict[str, object] = {"backend": backend, "operation": worst["operation"], "place": where}
    return Finding("requests_unfit", backend, message, fields)


def not_validated(backend: str, mode: str, document: DocumentState | None) -> Finding | None:
    """A backend's requests are to be held against its API document, and there is none."""
    if mode == "off" or (document is not None and (document.state == "waiting" or BOOK in document.pieces)):
        return None
    message = (
        f"requests to backend {backend} pass without validation, for there is no API document to hold them "
        f"against: look at backends.{backend}.openapi"
    )
    return Finding("not_validated", backend, message, {"backend": backend, "mode": mode}, pause=AN_HOUR)
