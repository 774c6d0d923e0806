"""A log line is valid JSON of at most 4,096 bytes, whatever is put into it."""

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coregateway.logs.line import describe, encode, timestamp, without_secrets
from coregateway.logs.writer import MAX_LINE

CORE: dict[str, object] = {
    "time": "2026-01-02T03:04:05.678Z",
    "level": "INFO",
    "event": "x",
    "worker": "main",
}


def decoded(line: bytes) -> dict[str, Any]:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= MAX_LINE
    return json.loads(line)


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1767323045.678, "2026-01-02T03:04:05.678Z"),
        (1767323045.9999, "2026-01-02T03:04:05.999Z"),
        (1767323046.0, "2026-01-02T03:04:06.000Z"),
    ],
)
def test_times_are_utc_with_milliseconds(now: float, text: str) -> None:
    assert timestamp(now) == text


def test_what_fits_is_left_as_it_is() -> None:
    fields = CORE | {"path": "/a" * 1500, "status": 200, "error": None}
    assert decoded(encode(fields)) == fields


class Broken:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\nb", "a\nb"),
        ("lone \udcff surrogate", "lone \\udcff surrogate"),
        (2**70, str(2**70)),
        (float("nan"), None),
        ({1: "one"}, {"1": "one"}),
        (b"bytes", "b'bytes'"),
    ],
)
def test_what_json_does_not_know_is_shown_as_text(value: object, shown: object) -> None:
    assert decoded(encode(CORE | {"value": value}))["value"] == shown


def test_a_broken_str_does_not_cost_the_line() -> None:
    assert "Broken" in decoded(encode(CORE | {"value": Broken()}))["value"]


def test_a_structure_that_holds_itself_does_not_cost_the_line() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert decoded(encode(CORE | {"value": loop}))["event"] == "x"


@pytest.mark.parametrize(
    "extra",
    [
        {"path": "/" + "a" * 16_000},
        {"path": "/" + "\x01" * 16_000},
        {"path": "/" + "ü" * 16_000},
        {"path": "\udcff" * 16_000},
        {f"field{number}": "x" * 1000 for number in range(30)},
        {"list": ["x" * 100] * 1000},
        {"dict": {str(number): "x" * 100 for number in range(1000)}},
        {"k" * 5000: 1},
    ],
)
def test_too_much_is_cut_field_by_field(extra: dict[str, object]) -> None:
    line = decoded(encode(CORE | extra))
    assert line["clipped"] is True
    assert {name: line[name] for name in CORE} == CORE


def test_a_cut_request_line_keeps_its_other_fields() -> None:
    line = decoded(encode(CORE | {"path": "/" + "a" * 16_000, "status": 200, "upstream": "http://b:1"}))
    assert line["path"] == "/" + "a" * 999 + "…"
    assert line["status"] == 200
    assert line["upstream"] == "http://b:1"


def test_thousands_of_fields_leave_the_core() -> None:
    line = decoded(encode(CORE | {f"field{number}": number for number in range(5000)}))
    assert line == CORE | {"clipped": True}


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_like))
def test_every_line_is_json_within_the_limit(extra: dict[str, object]) -> None:
    decoded(encode(extra | CORE))


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("Request: GET http://h/p?token=abc stopped.", "Request: GET http://h/p?… stopped."),
        ("uri: 'http://h/p?a='b'&c=d'", "uri: 'http://h/p?…"),
        ("connect to http://user:pass@host/ failed", "connect to http://host/ failed"),
        ("header Authorization: Bearer abc def", "header Authorization: …"),
        ("{'cookie': 'sid=1; b=2'}", "{'cookie': '…"),
        ("Set-Cookie=sid\nnext", "Set-Cookie=…\nnext"),
        ("\x1b[33mred\x1b[0m", "red"),
        ("no cookie jar here", "no cookie jar here"),
        ("Did it work?", "Did it work?"),
        ("plain text: http://host/path", "plain text: http://host/path"),
    ],
)
def test_free_text_loses_its_secrets(text: str, safe: str) -> None:
    assert without_secrets(text) == safe


def raised(depth: int) -> None:
    if depth:
        raised(depth - 1)
    else:
        raise ValueError("bad http://h/?token=abc")


def test_an_exception_is_type_message_and_stack_with_the_place_first() -> None:
    with pytest.raises(ValueError, match="bad") as caught:
        raised(1)
    described = describe(caught.value)
    assert described["type"] == "ValueError"
    assert described["message"] == "bad http://h/?…"
    stack = cast(list[str], described["stack"])
    assert stack[0] == f"logs/test_line.py:{raised.__code__.co_firstlineno + 4} raised"
    assert stack[2].endswith(" test_an_exception_is_type_message_and_stack_with_the_place_first")
    assert "causes" not in described


def test_a_deep_stack_keeps_its_inner_end() -> None:
    with pytest.raises(ValueError, match="bad") as caught:
        raised(100)
    stack = cast(list[str], describe(caught.value)["stack"])
    assert len(stack) == 20
    assert stack[0].endswith(" raised")


def test_an_exception_names_its_causes() -> None:
    error = ValueError("outer")
    error.__cause__ = OSError("inner http://h/?a=b")
    error.__cause__.__context__ = KeyError("innermost")
    assert describe(error)["causes"] == ["OSError: inner http://h/?…", "KeyError: 'innermost'"]


def test_a_hidden_context_is_not_a_cause() -> None:
    error = ValueError("outer")
    error.__context__ = KeyError("hidden")
    error.__suppress_context__ = True
    assert "causes" not in describe(error)


def test_a_group_names_its_members() -> None:
    described = describe(ExceptionGroup("two", [ValueError("a"), TypeError("b")]))
    assert described["causes"] == ["ValueError: a", "TypeError: b"]


def test_causes_in_a_circle_end() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__context__, second.__context__ = second, first
    assert describe(first)["causes"] == ["ValueError: b"]
