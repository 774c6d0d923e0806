"""What is remembered of field lines, and what must not be."""

import pytest

from coregateway.http1.fields import LONGEST_LINE, REMEMBERED, UNREMEMBERED, Fate, Lines
from coregateway.http1.grammar import MalformedHTTP

NOTED = Fate(b"noted", noted=True)


def judge(name: bytes) -> Fate | None:
    return NOTED if name == b"noted" else None


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        (b"Other: x", None),
        (b"Noted: x", (NOTED, b"x")),
        (b"NOTED: \t a, b\t ", (NOTED, b"a, b")),
        (b"noted:", (NOTED, b"")),
        (b"noted: " + b"x" * LONGEST_LINE, (NOTED, b"x" * LONGEST_LINE)),
    ],
)
def test_a_line_becomes_the_same_however_often_it_is_met(
    line: bytes, becomes: tuple[Fate, bytes] | None
) -> None:
    lines = Lines(judge)
    assert [lines[bytes(line)] for _ in range(3)] == [becomes] * 3


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"noted",
        b": x",
        b" noted: x",
        b"noted : x",
        b"noted: a\rb",
        b"noted: a\nb",
        b"noted: a\0b",
        b"no\xfc: x",
    ],
)
def test_what_is_no_field_line_is_refused_each_time(line: bytes) -> None:
    lines = Lines(judge)
    for _ in range(2):
        with pytest.raises(MalformedHTTP):
            lines[line]
    assert not lines


@pytest.mark.parametrize("name", sorted(UNREMEMBERED))
def test_no_secret_and_nothing_that_never_repeats_is_kept(name: bytes) -> None:
    lines = Lines(judge)
    assert lines[name.title() + b": of this message alone"] is None
    assert not lines


def test_long_lines_are_not_kept() -> None:
    lines = Lines(judge)
    assert lines[b"x" * (LONGEST_LINE - 2) + b": y"] is None
    assert not lines


def test_what_is_kept_stays_bounded_and_what_repeats_comes_back() -> None:
    lines = Lines(judge)
    for number in range(3 * REMEMBERED):
        assert lines[b"Other: %d" % number] is None
        assert lines[b"Noted: x"] == (NOTED, b"x")
        assert len(lines) <= REMEMBERED
    assert b"Noted: x" in lines
