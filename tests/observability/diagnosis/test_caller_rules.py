"""What is found of callers: in words that say what to look at, and not for a few refusals."""

import pytest

from coregateway.observability.diagnosis.caller_rules import (
    MANY,
    WHY,
    auth_service_failing,
    credentials_refused,
    keys_stale,
    rate_refuses,
)


@pytest.mark.parametrize(
    ("method", "reasons", "asked", "words"),
    [
        (
            "key",
            {"unknown_key": 30, "expired": 2},
            40,
            "30 of 40 requests with keys were refused in the last 5 s",
        ),
        (
            "jwt.corp",
            {"expired": 20},
            20,
            "20 of 20 requests with tokens of auth.jwt.corp were refused",
        ),
        ("jwt.corp", {"audience": 90}, 900, "for another audience than auth.jwt.corp.audiences"),
        (
            "",
            {"issuer": 50},
            50,
            "50 of 50 requests with tokens were refused in the last 5 s: their",
        ),
        ("key", {"unknown_key": MANY - 1}, 19, None),
        ("key", {"unknown_key": 20}, 2000, None),
        ("key", {"of another time": 200}, 200, None),
        ("key", {}, 200, None),
    ],
)
def test_many_refusals_for_one_cause_are_told(
    method: str, reasons: dict[str, int], asked: int, words: str | None
) -> None:
    found = credentials_refused(method, reasons, asked, 5.0)
    if words is None:
        assert found is None
    else:
        assert found is not None
        assert words in found.message
        assert found.fields["method"] == method


@pytest.mark.parametrize("reason", WHY)
def test_every_cause_has_words_that_end_without_a_placeholder(reason: str) -> None:
    found = credentials_refused("jwt.a", {reason: 50}, 50, 5.0)
    assert found is not None
    assert not {"{", "}"} & {*found.message}


@pytest.mark.parametrize(
    ("age", "problem", "words"),
    [
        (None, "status 500", "its tokens get 503 auth_unavailable until they are there"),
        (700.0, "status 500", "those of 700 s ago are good for 300 s more"),
        (1000.0, "status 500", "older than its stale allows"),
        (500.0, "status 500", None),
        (5000.0, "", None),
        (None, "", None),
    ],
)
def test_keys_that_cannot_be_fetched_are_told_before_they_are_too_old(
    age: float | None, problem: str, words: str | None
) -> None:
    found = keys_stale("corp", age=age, refresh=300.0, stale=1000.0, problem=problem)
    assert (found is None) == (words is None)
    assert found is None or (words or "") in found.message


def test_a_service_that_does_not_answer_is_told_with_what_becomes_of_requests() -> None:
    assert auth_service_failing("sso", {}, 100, 5.0, "deny") is None
    found = auth_service_failing("sso", {"timeout": 3, "status": 1}, 6, 5.0, "deny")
    assert found is not None
    assert found.message == (
        "the service auth.forward.sso did not answer 4 of 10 questions in the last 5 s, most by timeout: "
        "these requests got 503 auth_unavailable"
    )
    lax = auth_service_failing("sso", {"timeout": 3}, 6, 5.0, "allow")
    assert lax is not None
    assert lax.message.endswith("these requests passed without a caller")


@pytest.mark.parametrize(
    ("refused", "decided", "enforced", "words"),
    [
        (50, 80, True, "the rate a refused 50 of 80 requests"),
        (50, 80, False, "the rate a would have refused 50 of 80 requests"),
        (19, 19, True, None),
        (50, 101, True, None),
        (0, 0, True, None),
    ],
)
def test_a_rate_that_refuses_most_is_told(
    refused: int, decided: int, enforced: bool, words: str | None
) -> None:
    found = rate_refuses("a", refused=refused, decided=decided, window=5.0, enforced=enforced)
    assert (found is None) == (words is None)
    assert found is None or (words or "") in found.message
