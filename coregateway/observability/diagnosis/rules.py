"""From numbers to findings: each rule says in one sentence what the numbers mean, or that they mean nothing.

All times are seconds; a window is the time over which numbers were summed, over the whole node.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from coregateway.observability.diagnosis.reminder import A_MINUTE
from coregateway.observability.status.reachability import CONNECTING, SECURING, Verdict, in_words
from coregateway.prober.knowledge import Known
from coregateway.upstream.endpoint_health import DISTRUST

AGREEING = 3
"""Idle connections that must have ended at about the same age, each at another time."""

SPREAD = 0.5
"""Seconds, or `SPREAD_SHARE` of the age, by which those ages may differ."""

SPREAD_SHARE = 0.1

WAITING_SHARE = 0.3
"""Of the time that requests spend at a backend: from here on the queue is worth a word."""

WAITING = 0.1
"""Requests, on average, that must have waited."""

MISSED = 3
"""Connections of many that must have failed in one way; when all did, one is enough."""

MISSED_SHARE = 0.1

NAMED = 3
"""Addresses of a backend that a message names."""

AN_HOUR = 3600.0

type Kind = Literal[
    "idle_connections",
    "waiting_for_connections",
    "connections_refused",
    "connections_late",
    "name_unresolved",
    "checks_failed",
    "unreachable",
    "surplus",
    "no_answer",
    "not_secured",
    "answers_again",
    "ejected",
    "returned",
    "slow_clients",
    "rate_table_full",
    "rate_store_lost",
    "rate_store_back",
    "requests_unfit",
    "not_validated",
    "breaker_open",
    "breaker_closed",
    "loop_blocked",
    "middleware_held",
    "files_running_out",
    "certificate_ends",
    "credentials_refused",
    "keys_stale",
    "auth_service_failing",
    "rate_refuses",
    "document_unusable",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; `subject` is the backend, upstream or worker, `pause` how long it is not told again."""

    kind: Kind
    subject: str
    message: str
    fields: dict[str, object] = field(default_factory=dict[str, object])
    level: Literal["INFO", "WARNING"] = "WARNING"
    pause: float = A_MINUTE


class Ages(NamedTuple):
    """Of connections that a backend ended while they were idle: how many, the least and the most."""

    seen: int
    shortest: float
    longest: float


def idle_connections(
    backend: str, urls: Sequence[str], ages: Iterable[Ages], expiry: float
) -> Finding | None:
    """A backend that ends idle connections earlier than the gateway would: each may cost a request.

    `urls`: of the backend. `ages`: of each worker. `expiry`: `limits.keepalive_expiry`.
    """
    known = [each for each in ages if each.seen]
    if sum(each.seen for each in known) < AGREEING:
        return None
    shortest, longest = min(each.shortest for each in known), max(each.longest for each in known)
    if longest - shortest > max(SPREAD, SPREAD_SHARE * longest) or longest >= expiry - SPREAD:
        return None
    if shortest < SPREAD:
        return None  # it ends them with their answers, and no setting would help
    # The gateway sees the end a little late, never early.
    message = (
        f"backend {backend} closes idle connections after {_seconds(shortest)} while limits.keepalive_expiry "
        f"is {_seconds(expiry)}: set it below that ({_addresses(urls)})"
    )
    fields: dict[str, object] = {
        "backend": backend,
        "idle_s": round(shortest, 1),
        "keepalive_expiry_s": expiry,
    }
    return Finding("idle_connections", backend, message, fields, pause=AN_HOUR)


def waiting_for_connections(
    backend: str, urls: Sequence[str], *, queued: float, busy: float, window: float, limit: int
) -> Finding | None:
    """Requests that wait for a connection for a good part of their time.

    `urls`: of the backend. `queued`, `busy`: seconds that requests waited, and that connections worked.
    `limit`: `limits.max_connections`, per worker and address.
    """
    if queued < WAITING * window or queued < WAITING_SHARE * (queued + busy):
        return None
    share = queued / (queued + busy)
    message = (
        f"{share:.0%} of the waiting time at backend {backend} is for a free connection: raise "
        f"limits.max_connections, {limit} per worker and address ({_addresses(urls)})"
    ).replace("%", " %", 1)
    fields: dict[str, object] = {
        "backend": backend,
        "share": round(share, 3),
        "waiting_requests": round(queued / window, 1),
        "max_connections": limit,
    }
    return Finding("waiting_for_connections", backend, message, fields)


def connections_refused(backend: str, url: str, *, tried: int, refused: int, window: float) -> Finding | None:
    """An upstream whose host refuses connections; `tried` includes those that were refused."""
    tried = max(tried, refused)  # one may have been tried before the window
    if not _tells(refused, tried):
        return None
    message = f"backend {backend} refused {_of(refused, tried)} in the last {window:.0f} s ({url})"
    fields: dict[str, object] = {"backend": backend, "upstream": url, "tried": tried, "refused": refused}
    return Finding("connections_refused", url, message, fields)


def surplus(backend: str, url: str, *, times: int) -> Finding | None:
    """An upstream that sends bytes which no request asked for: they would pass for the answer to the next.

    `times`: how many of its connections did.
    """
    if not times:
        return None
    message = (
        f"backend {backend} sent bytes that no request asked for on {times} "
        f"connection{'s' if times != 1 else ''} ({url}), which can pass for the answer to another request: "
        f"a worker that meets them uses each connection to it once for {DISTRUST:.0f} s; look there for "
        "answers that are longer than their Content-Length, sent twice, or with a body after HEAD, 204 or 304"
    )
    fields: dict[str, object] = {"backend": backend, "upstream": url, "connections": times}
    return Finding("surplus", url, message, fields)


def connections_late(
    backend: str, url: str, *, tried: int, late: int, window: float, limit: float
) -> Finding | None:
    """An upstream that does not take connections in time: its host is down, or a filter drops them.

    `limit`: `timeouts.connect` of the backend.
    """
    tried = max(tried, late)
    if not _tells(late, tried):
        return None
    message = (
        f"backend {backend} did not take {_of(late, tried)} within timeouts.connect ({_seconds(limit)}) "
        f"in the last {window:.0f} s: its host is down, slow, or drops them ({url})"
    )
    fields: dict[str, object] = {"backend": backend, "upstream": url, "tried": tried, "late": late}
    return Finding("connections_late", url, message, fields | {"connect_s": limit})


def name_unresolved(backend: str, url: str, known: Known) -> Finding | None:
    """An upstream of which the name servers know nothing, or do not answer."""
    if not known.problem:
        return None
    left = f", {_hosts(known)} stays for now" if known.hosts else ""
    message = (
        f"the host name of backend {backend} cannot be resolved, {known.problem}{left}: "
        f"look at backends.{backend}.urls and the name servers ({url})"
    )
    fields: dict[str, object] = {"backend": backend, "upstream": url, "reason": known.problem}
    return Finding("name_unresolved", url, message, fields)


def checks_failed(backend: str, url: str, known: Known) -> Finding | None:
    """An upstream whose address, or some of whose addresses, fail their checks."""
    down = {host: each for host, each in known.standings.items() if each.state == "down"}
    if not down:
        return None
    host, standing = next(iter(down.items()))
    which = (
        f"{len(down)} of {len(known.standings)} addresses, such as {host},"
        if len(known.standings) > 1
        else "it"
    )
    verb = "fail" if len(known.standings) > 1 else "fails"
    message = (
        f"backend {backend} gets no requests at {url} while others can take them: "
        f"{which} {verb} the checks, {standing.reason}"
    )
    fields: dict[str, object] = {"backend": backend, "upstream": url, "reason": standing.reason}
    return Finding("checks_failed", url, message, fields | {"down": len(down), "of": len(known.standings)})


def unreachable(backend: str, url: str, *, tried: int, failed: int, window: float) -> Finding | None:
    """An upstream without a route to it, or to which this process can open no connection."""
    tried = max(tried, failed)
    if not _tells(failed, tried):
        return None
    message = (
        f"no connection to backend {backend} could be opened in {_of(failed, tried, 'attempt')} "
        f"in the last {window:.0f} s: no route, or no file or port left here ({url})"
    )
    fields: dict[str, object] = {"backend": backend, "upstream": url, "tried": tried, "failed": failed}
    return Finding("unreachable", url, message, fields)


def no_answer(backend: str, url: str, verdict: Verdict) -> Finding | None:
    """An upstream that takes connections and does not answer."""
    if verdict.state != "down" or verdict.cause in CONNECTING:
        return None
    message = (
        f"backend {backend} left the last {verdict.failures} requests without an answer: "
        f"{in_words(verdict.cause)} ({url})"
    )
    fields: dict[str, object] = {"backend": backend, "upstream": url, "cause": verdict.cause}
    return Finding("no_answer", url, message, fields | {"requests": verdict.failures})


def not_secured(backend: str, url: str, verdict: Verdict) -> Finding | None:
    """An upstream to which no connection over TLS can be made."""
    if verdict.state != "down" or verdict.cause not in SECURING:
        return None
    message = (
        f"no connection to backend {backend} over TLS: {in_words(verdict.cause)}: look at the certificate "
        f"there, and at backends.{backend}.tls.ca and its neighbours here ({url})"
    )
    fields: dict[str, object] = {"backend": backend, "upstream": url, "cause": verdict.cause}
    # two backends may have one address, and other certificates for it
    return Finding("not_secured", f"{backend} {url}", message, fields)


def answers_again(backend: str, url: str, verdict: Verdict, *, down_since: float) -> Finding | None:
    """An upstream that was down, from `down_since` on, and is up."""
    if verdict.state != "up" or verdict.since is None:
        return None
    away = max(verdict.since - down_since, 0.0)
    message = f"backend {backend} answers again, after {_seconds(away)} ({url})"
    fields: dict[str, object] = {"backend": backend, "upstream": url, "away_s": round(away, 1)}
    return Finding("answers_again", url, message, fields, level="INFO")


def _tells(failed: int, tried: int) -> bool:
    """Whether so many failures of so many attempts mean something."""
    return failed > 0 and (failed >= tried or (failed >= MISSED and failed >= MISSED_SHARE * tried))


def _of(some: int, all_of_them: int, what: str = "connection") -> str:
    return f"{some} of {all_of_them} {what}{'s' if all_of_them != 1 else ''}"


def _addresses(urls: Sequence[str]) -> str:
    """All of a few, or the first ones of many."""
    more = len(urls) - NAMED
    return ", ".join(urls[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _hosts(known: Known) -> str:
    return ", ".join(hosts[0] for hosts in (known.hosts or ())[:NAMED])


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
