"""What the node has decided of upstreams and backends, as metrics: read for each scrape, not written."""

from collections.abc import Collection, Iterator
from time import time

from coregateway.observability.metrics import families
from coregateway.observability.metrics.reading import Snapshot
from coregateway.observability.status.decisions import Ejections, breaker_of
from coregateway.observability.status.overview import upstreams_of
from coregateway.observability.status.store import store_answers
from coregateway.prober.document_states import STATES as DOCUMENT_STATES
from coregateway.prober.document_states import decoded as documents
from coregateway.prober.key_sets import decoded as key_sets
from coregateway.prober.knowledge import decoded
from coregateway.settings import Settings
from coregateway.shared_memory import Board
from coregateway.upstream.breaker import STATES as BREAKER_STATES

STATES = ("up", "down", "ejected", "draining")
"""Of an address."""


def add_decisions(
    snapshot: Snapshot, settings: Settings, board: Board, drained: Collection[tuple[str, str]] = ()
) -> Iterator[str]:
    """Add them to a snapshot, in steps that take well below a millisecond each; they give nothing.

    `drained`: names of backends, each with the URL of an upstream that was taken out by hand.
    """
    ages = snapshot.values(families.JWKS_AGE)
    for name, keys in key_sets(board.key_sets.read()).items():
        if keys.fetched and name in settings.auth.jwt:
            ages[(name,)] = max(time() - keys.fetched, 0.0)
    document_ages = snapshot.values(families.OPENAPI_AGE)
    document_states = snapshot.values(families.OPENAPI_STATE)
    for name, document in documents(board.documents.read()).backends.items():
        if name not in settings.backends:
            continue
        if document.is_shown:
            document_ages[(name,)] = max(time() - document.fetched, 0.0)
        for state in DOCUMENT_STATES:
            document_states[name, state] = float(state == document.state)
    snapshot.values(families.RATE_EVICTIONS)[()] = float(board.rates.evictions)
    ejected = Ejections(board.upstreams)
    known = decoded(board.probed.read()).by_upstream()
    living = [part for part in board.parts if part.living]
    answers = store_answers(living)
    if answers is not None:
        snapshot.values(families.RATE_STORE_UP)[()] = float(answers)
    states = snapshot.values(families.UPSTREAM_STATE)
    ejections = snapshot.values(families.EJECTIONS)
    breakers = snapshot.values(families.BREAKER_STATE)
    for name, row in settings.backends.items():
        out = {url for backend, url in drained if backend == name}
        for upstream in upstreams_of(name, row, board, ejected, known, living, out):
            url = str(upstream["url"])
            for state in STATES:
                states[name, url, state] = float(state == upstream["state"])
            ejections[name, url] = float(ejected.of(name, url).count)
        is_now = breaker_of(board.upstreams, name, row).state
        for state in BREAKER_STATES:
            breakers[name, state] = float(state == is_now)
        yield ""
