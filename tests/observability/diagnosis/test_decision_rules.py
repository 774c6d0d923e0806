"""What the node has decided, in words: told once, when it changes."""

import pytest

from coregateway.observability.diagnosis.decision_rules import (
    breaker_closed,
    breaker_open,
    document_unusable,
    ejected,
    not_validated,
    rate_store_back,
    rate_store_lost,
    rate_table_full,
    requests_unfit,
    returned,
    slow_clients,
)
from coregateway.observability.status.decisions import BreakerStatus, EjectionStatus
from coregateway.prober.document_states import DocumentState, State

URL = "http://a:1"


def status(out: int, count: int, known: int = 1) -> EjectionStatus:
    return EjectionStatus(known, out, "read_timeout", 1.0 if out else None, 29.6 if out else 0.0, 1, count)


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (status(0, 0), status(1, 1), "ejected"),
        (status(1, 1), status(1, 2), "ejected"),
        (status(1, 1), status(1, 1), None),
        (status(1, 1), status(0, 1), "returned"),
        (status(0, 1), status(0, 1), None),
    ],
)
def test_an_ejection_and_its_end_are_told(
    before: EjectionStatus, now: EjectionStatus, told: str | None
) -> None:
    found = [finding for rule in (ejected, returned) if (finding := rule("billing", URL, before, now))]
    assert [finding.kind for finding in found] == ([told] if told else [])
    for finding in found:
        assert URL in finding.message


def test_an_ejection_tells_why_and_for_how_long() -> None:
    finding = ejected("billing", URL, status(0, 0), status(1, 1))
    assert finding is not None
    assert finding.message == (
        "backend billing sends no requests to http://a:1, for too many in a row failed, "
        "the last by no answer in time (read_timeout): in 30 s one request tries it"
    )
    some = ejected("billing", URL, status(0, 0, 3), status(2, 2, 3))
    assert some is not None
    assert "to 2 of 3 addresses of http://a:1" in some.message


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (None, False, "rate_store_lost"),
        (True, False, "rate_store_lost"),
        (False, False, None),
        (False, True, "rate_store_back"),
        (None, True, None),
        (True, None, None),
        (False, None, None),
    ],
)
def test_a_store_that_is_lost_or_back_is_told_once(
    before: bool | None, now: bool | None, told: str | None
) -> None:
    found = [rate_store_lost("deny", before, now), rate_store_back(before, now)]
    assert [each.kind for each in found if each] == ([told] if told else [])
    if told == "rate_store_lost":
        assert found[0] is not None
        assert "503 rate_store_unavailable" in found[0].message


@pytest.mark.parametrize(
    ("mode", "document", "told"),
    [
        ("enforce", None, True),
        ("report", DocumentState("x", state="absent"), True),
        ("report", DocumentState("x", state="refused"), True),
        ("report", DocumentState("x", state="stale", pieces={"book": (0, 1)}), False),
        ("enforce", DocumentState("x", state="fetched", pieces={"book": (0, 1)}), False),
        ("enforce", DocumentState("x"), False),
        ("off", None, False),
    ],
)
def test_a_backend_without_a_document_to_validate_by_is_told(
    mode: str, document: DocumentState | None, told: bool
) -> None:
    finding = not_validated("billing", mode, document)
    assert (finding is not None) is told
    if finding is not None:
        assert "backends.billing.openapi" in finding.message


WORST = {"operation": "POST /agents", "in": "body", "at": "/name", "count": 12}


@pytest.mark.parametrize(("times", "told"), [(0, False), (-3, False), (3, True)])
def test_requests_that_do_not_fit_are_told_with_where_most_do_not(times: int, told: bool) -> None:
    finding = requests_unfit("billing", times, WORST, "enforce", 5.0)
    assert (finding is not None) is told
    if finding is not None:
        assert "3 times in the last 5 s, and were refused" in finding.message
        assert "POST /agents at body /name, 12 times" in finding.message


@pytest.mark.parametrize(("forgotten", "told"), [(0, False), (-3, False), (3, True)])
def test_a_table_that_forgets_keys_is_told(forgotten: int, told: bool) -> None:
    finding = rate_table_full(forgotten, 5.0)
    assert (finding is not None) is told
    if finding is not None:
        assert "3 keys of rates in the last 5 s" in finding.message


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (BreakerStatus("closed"), BreakerStatus("open", 1.0, 1), "breaker_open"),
        (BreakerStatus("open", 1.0, 1), BreakerStatus("half_open", 1.0, 1), None),
        (BreakerStatus("half_open", 1.0, 1), BreakerStatus("open", 1.0, 2), "breaker_open"),
        (BreakerStatus("half_open", 1.0, 1), BreakerStatus("closed", None, 1), "breaker_closed"),
        (BreakerStatus("closed", None, 1), BreakerStatus("closed", None, 1), None),
        (BreakerStatus("off"), BreakerStatus("off"), None),
    ],
)
def test_a_breaker_that_opens_or_closes_is_told(
    before: BreakerStatus, now: BreakerStatus, told: str | None
) -> None:
    found = [finding for rule in (breaker_open, breaker_closed) if (finding := rule("billing", before, now))]
    assert [finding.kind for finding in found] == ([told] if told else [])


@pytest.mark.parametrize(
    ("ended", "told"), [(0, ""), (-1, ""), (1, "a slow client was ended "), (3, "3 slow clients were ended ")]
)
def test_slow_clients_that_were_ended_are_told_with_the_keys_to_change(ended: int, told: str) -> None:
    finding = slow_clients("billing", ended=ended, window=10.0, rate=1024, connections=50)
    assert (finding is not None) is bool(told)
    if finding is not None:
        assert finding.message == (
            f"{told}in the last 10 s, for other requests waited for their connections to backend billing: "
            "raise limits.max_connections, 50 per worker and address, or lower "
            "limits.client_rate, 1024 bytes/s"
        )
        assert finding.fields == {"backend": "billing", "ended": ended, "client_rate": 1024}


@pytest.mark.parametrize(
    ("state", "shown"),
    [("stale", "the last one is shown"), ("refused", "shown nowhere"), ("absent", ""), ("fetched", "")],
)
def test_a_document_that_cannot_be_had_is_told(state: State, shown: str) -> None:
    document = DocumentState("a", state=state, reason="status 500")
    finding = document_unusable("billing", document)
    if not shown:
        assert finding is None
        return
    assert finding is not None
    assert "billing is not to be had, status 500: " in finding.message
    assert shown in finding.message
