"""The state of the whole node, from what every worker has reported: the same whichever worker asks.

Times are seconds since the epoch. What is under way counts only for processes that live; what was met at an
upstream counts for all that ever ran.
"""

from asyncio import sleep
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from coregateway import __version__
from coregateway.net.tls_server import Certificate
from coregateway.node.state import Node
from coregateway.observability.status import places
from coregateway.observability.status.decisions import Ejections, EjectionStatus, breaker_of
from coregateway.observability.status.mismatches import is_validated, mismatches_of
from coregateway.observability.status.probed import probed
from coregateway.observability.status.reachability import Sighting, Verdict, in_words, judge
from coregateway.prober.document_states import DocumentState
from coregateway.prober.document_states import decoded as decoded_documents
from coregateway.prober.knowledge import Known, decoded
from coregateway.settings import BackendSettings, Settings
from coregateway.settings.tls_report import of_backend as tls_of_backend
from coregateway.settings.tls_report import of_clients as tls_of_clients
from coregateway.shared_memory import Board, Part

type Counted = dict[str, tuple[int, int]]
"""Of each backend: requests that ended, and those of them that failed (status 5xx); from the beginning."""


DRAINING = {"state": "draining", "reason": "an operator has taken it out"}

AT_ONCE = 16
"""Backends that are looked at between two turns of the loop."""


async def overview(
    settings: Settings,
    board: Board,
    node: Node,
    counted: Counted | None,
    drained: Iterable[tuple[str, str]] = (),
    certificates: Iterable[Certificate] = (),
) -> dict[str, Any]:
    """What `GET /status` gives. `counted`: None while nothing is counted. `drained`: names of backends, each
    with the URL of an upstream that was taken out by hand. `certificates`: that clients are shown.

    Gives way to the loop's other work: a thousand backends take some tens of milliseconds.
    """
    living = [part for part in board.parts if part.living]
    known = decoded(board.probed.read()).by_upstream()
    documents = decoded_documents(board.documents.read())
    ejections = Ejections(board.upstreams)
    mismatches = mismatches_of(board.parts) if is_validated(settings) else {}
    backends: dict[str, Any] = {}
    for number, (name, row) in enumerate(settings.backends.items()):
        if number % AT_ONCE == 0:
            await sleep(0)
        out = {url for backend, url in drained if backend == name}
        upstreams = upstreams_of(name, row, board, ejections, known, living, out)
        document = documents.backends.get(name)
        backends[name] = _backend(name, row, board, upstreams, living, counted, document)
        backends[name]["validation"] = {"mode": row.validation.mode, "mismatches": mismatches.get(name, [])}
    return {
        "version": __version__,
        "ready": node.ready(),
        "started": _rounded(node.started),
        "plugins": list(settings.plugins),
        "settings": {"version": node.settings_version, "hash": node.settings_hash},
        "tls": tls_of_clients(settings.tls, certificates),
        "backends": backends,
        "workers": _workers(node, living),
    }


def pool_of(backend: str, living: Iterable[Part]) -> list[float]:
    """The numbers of a backend's pools, summed; see `places` for their order up to `SLOW_CLIENTS`."""
    sums = [0.0] * places.ENDED
    key = places.pool(backend)
    for part in living:
        if (at := part.series.find(key)) is not None:
            sums = list(map(float.__add__, sums, part.series.read(at, places.ENDED)))
    return sums


def verdict_of(backend: str, url: str, parts: Iterable[Part]) -> Verdict:
    """The state of a backend's upstream, from all parts that there are."""
    key = places.upstream(backend, url)
    found = ((part, part.series.find(key)) for part in parts)
    return judge(_sighting(part, at) for part, at in found if at is not None)


def _sighting(part: Part, at: int) -> Sighting:
    numbers = part.series.read(at, places.ACTIVE_HERE)
    return Sighting(
        numbers[places.ANSWERED],
        numbers[places.FAILED],
        numbers[places.FAILING_SINCE],
        int(numbers[places.FAILURES]),
        places.CAUSES[int(numbers[places.CAUSE])],
        numbers[places.RECOVERED],
    )


def _backend(
    name: str,
    row: BackendSettings,
    board: Board,
    upstreams: list[dict[str, Any]],
    living: list[Part],
    counted: Counted | None,
    document: DocumentState | None,
) -> dict[str, Any]:
    active, idle, opening, queued, in_flight, *_ = sums = list(map(int, pool_of(name, living)))
    streaming, slow_clients = sums[places.STREAMING], pool_of(name, board.parts)[places.SLOW_CLIENTS]
    requests, errors = (None, None) if counted is None else counted.get(name, (0, 0))
    return {
        "prefix": row.prefix,
        "upstreams": upstreams,
        "openapi": _document(document),
        "breaker": breaker_of(board.upstreams, name, row).state,
        "in_flight": in_flight,
        "queued": queued,
        "connections": {"active": active, "idle": idle, "opening": opening, "streaming": streaming},
        "tls": tls_of_backend(row),
        "slow_clients": int(slow_clients),
        "requests": requests,
        "errors": errors,
    }


def _document(state: DocumentState | None) -> dict[str, Any] | None:
    """Of a backend's API document; None: none is asked for."""
    if state is None:
        return None
    return {
        "state": state.state,
        "reason": state.reason or None,
        "since": _rounded(state.since),
        "fetched": _rounded(state.fetched),
        "dialect": state.dialect or None,
        "operations": state.operations,
        "remarks": state.remarks,
    }


def upstreams_of(
    name: str,
    row: BackendSettings,
    board: Board,
    ejections: Ejections,
    known: Mapping[tuple[str, str], Known],
    living: list[Part],
    drained: Collection[str],
) -> list[dict[str, Any]]:
    """The addresses of a backend: `up`, `down`, `ejected` or `draining`, and why.

    What an operator says goes before what the node has decided, that before what its checks say, and that
    before what its workers have met.
    """
    found: list[dict[str, Any]] = []
    for url in map(str, row.urls):
        upstream = _upstream(name, url, board, ejections, living)
        if url in drained:
            upstream |= DRAINING
        upstream.update(probed(upstream, known.get((name, url))))
        if upstream["state"] == "unknown":
            upstream["state"] = "up"  # it gets requests
        found.append(upstream)
    return found


def _upstream(name: str, url: str, board: Board, ejections: Ejections, living: list[Part]) -> dict[str, Any]:
    standing = standing_of(name, url, board, ejections)
    verdict = standing.verdict
    key = places.upstream(name, url)
    active = 0.0
    for part in living:
        if (at := part.series.find(key)) is not None:
            active += part.series.numbers[at + places.ACTIVE_HERE]
    return {
        "url": url,
        "state": standing.state,
        "reason": standing.reason,
        "since": _rounded(standing.since),
        "last_answer": _rounded(verdict.answered),
        "last_failure": _rounded(verdict.failed),
        "in_flight": int(active),
        "ejections": ejections.of(name, url).count,
    }


@dataclass(frozen=True, slots=True)
class Standing:
    """How one address of a backend stands, but for its checks. `state`: `up`, `down`, `unknown` or `ejected`;
    `since`: None: unknown."""

    state: str
    reason: str
    since: float | None
    verdict: Verdict


def standing_of(name: str, url: str, board: Board, ejections: Ejections) -> Standing:
    """The same for the whole node: what it has decided before what its workers have met."""
    verdict = verdict_of(name, url, board.parts)
    ejection = ejections.of(name, url)
    if ejection.is_ejected:
        return Standing("ejected", ejected_in_words(ejection), ejection.since, verdict)
    told = reason(verdict)
    if ejection.ejected:
        told += f"; {ejection.ejected} of {ejection.known} addresses of its host are ejected"
    return Standing(verdict.state, told, verdict.since, verdict)


def ejected_in_words(ejection: EjectionStatus) -> str:
    """Why an upstream gets no requests, and for how long."""
    times = "" if ejection.times < 2 else f", {ejection.times} times in a row"
    ends = f"for {ejection.left:.0f} s more" if ejection.left else "until a request tries it"
    return f"{in_words(ejection.cause)}{times}: no requests {ends}"


def reason(verdict: Verdict) -> str:
    """Why an upstream is in its state, in words."""
    match verdict.state:
        case "down" if verdict.since is not None:
            begun = datetime.fromtimestamp(verdict.since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return f"{in_words(verdict.cause)} since {begun}"
        case "up" if not verdict.cause:
            return "it answers"
        case "unknown" if not verdict.cause:
            return "no request yet"
        case _:
            count = "the last request" if verdict.failures == 1 else f"the last {verdict.failures} requests"
            return f"no answer to {count}: {in_words(verdict.cause)}"


def _workers(node: Node, living: list[Part]) -> list[dict[str, Any]]:
    parts = {part.owner: part for part in living}
    found: list[dict[str, Any]] = []
    for worker in node.workers():
        part = parts.get(worker.pid)
        numbers = _numbers_of(part)
        found.append(
            {
                "name": f"Sanic-Server-{worker.number}-0",
                "pid": worker.pid,
                "state": worker.state,
                "since": _rounded(worker.since),
                "restarts": worker.restarts,
                "settings_version": worker.settings,
                "connections": int(numbers[places.CONNECTIONS]),
                "in_flight": int(numbers[places.WORKING]),
                "loop_lag_ms": round(numbers[places.LAG] * 1000, 1),
            }
        )
    return found


def _numbers_of(part: Part | None) -> list[float]:
    at = part.series.find(places.WORKER) if part is not None else None
    return part.series.read(at, places.WORKING + 1) if part is not None and at is not None else [0.0] * 3


def _rounded(time: float | None) -> float | None:
    return round(time, 3) if time else None
