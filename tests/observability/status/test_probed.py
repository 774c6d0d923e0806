"""What checks and look-ups make of the state that requests tell."""

from typing import Any

import pytest

from coregateway.observability.status.probed import probed
from coregateway.prober.knowledge import Known
from coregateway.prober.standing import Standing

URL = "http://name:80"
UP = Standing("up", since=100.0, checked=110.0, took=0.0123)
DOWN = Standing("down", since=100.0, reason="the connection is refused", checked=110.0)


def state_of(state: str, known: Known | None) -> str:
    told: dict[str, Any] = {"state": state, "reason": "as told"}
    return (told | probed(told, known))["state"]


@pytest.mark.parametrize(
    ("told", "known", "expected"),
    [
        ("up", None, "up"),
        ("unknown", Known("b", URL, None), "unknown"),
        ("unknown", Known("b", URL, None, standings={"a": UP}), "up"),
        ("down", Known("b", URL, None, standings={"a": UP}), "down"),
        ("up", Known("b", URL, None, standings={"a": DOWN}), "down"),
        ("up", Known("b", URL, (("a",), ("b",)), standings={"a": DOWN, "b": UP}), "up"),
        ("up", Known("b", URL, (("a",), ("b",)), standings={"a": DOWN, "b": DOWN}), "down"),
        ("ejected", Known("b", URL, None, standings={"a": DOWN}), "ejected"),
        ("draining", Known("b", URL, None, standings={"a": DOWN}), "draining"),
        ("up", Known("b", URL, (), "lost", "no such name"), "down"),
        ("up", Known("b", URL, (("a",),), "known", "no such name"), "up"),
        ("unknown", Known("b", URL, (), "asked"), "unknown"),
    ],
)
def test_the_state(told: str, known: Known | None, expected: str) -> None:
    assert state_of(told, known) == expected


def test_the_reason_is_told_in_words() -> None:
    told = probed({"state": "up"}, Known("b", URL, None, standings={"a": DOWN}))
    assert told["reason"] == "it fails its checks since 1970-01-01T00:01:40Z: the connection is refused"
    told = probed({"state": "up"}, Known("b", URL, (), "lost", "no such name"))
    assert told["reason"] == "its name cannot be resolved: no such name"


def test_a_check_is_told_with_its_figures() -> None:
    told = probed({"state": "up"}, Known("b", URL, None, standings={"a": UP}))
    assert told["check"] == {"state": "up", "reason": None, "since": 100.0, "last": 110.0, "took_ms": 12.3}
    assert "addresses" not in told


def test_a_name_is_told_with_its_addresses() -> None:
    told = probed({"state": "up"}, Known("b", URL, (("a",), ("b",)), standings={"a": DOWN}))
    assert [(each["address"], each["check"] and each["check"]["state"]) for each in told["addresses"]] == [
        ("a", "down"),
        ("b", None),
    ]
