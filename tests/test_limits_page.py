"""`docs/limits.md` tells the truth: defaults and fixed numbers are those of the code."""

import json

from coregateway.endpoints.dashboard import feed
from coregateway.http1 import chunked, grammar, reader, response
from coregateway.logs import writer
from coregateway.net import lingering_close, sockets
from coregateway.node import listeners
from coregateway.observability import failures
from coregateway.observability.diagnosis import noticed
from coregateway.observability.tracing import export
from coregateway.openapi import operations
from coregateway.policy import mirroring, tokens
from coregateway.prober import key_sets, resolving
from coregateway.proxy import retry, token_check, validators
from coregateway.settings import Settings, upstreams
from coregateway.settings.model import leaves
from coregateway.shared_memory import board, flight_table, history, rate_table
from coregateway.upstream import auth_service, mirror
from coregateway.validation import checks, mismatches
from tests.documents import PAGES
from tests.markdown import code, table

PAGE = PAGES["limits"]
FIXED = {
    "fields of a request": grammar.MAX_FIELDS,
    "fields of a response": response.MAX_FIELDS,
    "bytes of a response's head": reader.MAX_HEAD,
    "interim (1xx) responses before a response": reader.MAX_INTERIM,
    "bytes of trailers, which are dropped": chunked.MAX_TRAILERS,
    "clients that go on sending after a refusal": lingering_close.MOST,
    "bytes of a body that can be sent again": retry.REPLAYABLE,
    "bytes of a body that can be mirrored": mirroring.MAX_BODY,
    "connections for mirrors": mirror.CONNECTIONS,
    "copies that wait for one": mirror.QUEUED,
    "keys of rates": rate_table.CELLS,
    "keys of limits in flight": flight_table.CELLS,
    "bytes of a token": tokens.LONGEST,
    "good tokens that are remembered": token_check.MOST,
    "bytes of an issuer's keys": key_sets.LARGEST,
    "bytes of the answer of a service that is asked for callers": auth_service.LARGEST,
    "operations of a document that requests are held against": operations.MOST_OPERATIONS,
    "bytes of an operation with its schemas, to be checked": operations.MOST_TEXT,
    "operations that are ready to check requests": checks.MOST_CHECKS,
    "mismatches that a client is told": mismatches.MOST,
    "schemas that are looked at to find them": mismatches.MOST_STEPS,
    "kinds of mismatches that are counted apart": validators.MOST_KINDS,
    "host names that name servers are silent about, without delaying others": resolving.MOST,
    "weight of an address": upstreams.HEAVIEST,
    "bytes of a log line": writer.MAX_LINE,
    "bytes of log lines that wait for a reader": writer.MAX_PENDING,
    "watchers of the live page": feed.WATCHERS,
    "backends with an hour, the node as a whole among them": history.LANES,
    "of these, with seconds": history.FINE_LANES,
    "requests that are kept, failed or slow": board.RECORDS,
    "groups of failures": failures.GROUPS,
    "findings that are kept": noticed.MOST,
    "spans that wait for the collector": export.MAX_WAITING,
    "connections that wait to be accepted": listeners.BACKLOG,
    "bytes that the kernel takes for a peer, beyond those on their way to it": sockets.UNSENT,
}
TOLD_ELSEWHERE = {"limits.rates", "limits.concurrency", "shutdown.delay"}
"""The names of rates, and a time that limits nothing."""


def test_the_settings_that_limit_are_there_with_their_defaults() -> None:
    shown = {code(row[0])[0]: json.loads(code(row[1])[0]) for row in table(PAGE, "setting")}
    real = {
        ".".join(key): value
        for key, value in leaves(Settings())
        if key[0] in ("limits", "timeouts", "shutdown", "watchdog")
    }
    assert shown == {key: value for key, value in real.items() if key not in TOLD_ELSEWHERE}


def test_the_fixed_limits_are_those_of_the_code() -> None:
    assert {row[0]: int(row[1]) for row in table(PAGE, "limit")} == FIXED


def test_every_limit_says_what_it_holds_per() -> None:
    assert all(row[2] for row in (*table(PAGE, "setting"), *table(PAGE, "limit")))
