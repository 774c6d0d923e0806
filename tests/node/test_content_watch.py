"""When the content of a file counts as changed."""

from collections.abc import Sequence

import pytest

from coregateway.node.content_watch import ContentWatch


def looks(contents: Sequence[bytes | None], pause: float = 1.0) -> list[bool]:
    """What the looks find, one a second; the first content is that of the start."""
    found = iter(contents)
    watch = ContentWatch(lambda: next(found))
    return [watch.look(float(number), pause) for number in range(len(contents) - 1)]


@pytest.mark.parametrize(
    ("contents", "new"),
    [
        ([b"a", b"a", b"a"], [False, False]),
        ([b"a", b"b", b"b", b"b"], [False, True, False]),
        ([b"a", b"b", b"bc", b"bcd", b"bcd"], [False, False, False, True]),
        ([b"a", b"b", b"a", b"a"], [False, False, False]),
        ([b"a", None, None, b"a", b"a"], [False] * 4),
        ([b"a", None, b"b", None, b"b", b"b"], [False, False, False, False, True]),
        ([None, b"a", b"a"], [False, True]),
    ],
    ids=["the same", "another", "half written", "and back", "away for a while", "another, by halves", "new"],
)
def test_a_change_counts_once_it_has_settled(contents: list[bytes | None], new: list[bool]) -> None:
    assert looks(contents) == new


def test_it_looks_no_more_often_than_it_should() -> None:
    contents = iter([b"a", b"b", b"b"])
    watch = ContentWatch(lambda: next(contents))
    assert [watch.look(now, 5.0) for now in (0.0, 1.0, 4.9, 5.0)] == [False, False, False, True]


def test_without_a_pause_it_never_looks() -> None:
    watch = ContentWatch(iter([b"a"]).__next__)
    assert not watch.look(100.0, 0.0)


def test_what_others_have_read_is_not_new() -> None:
    contents = iter([b"a", b"b", b"b", b"b"])
    watch = ContentWatch(lambda: next(contents))
    watch.know()
    assert [watch.look(now, 1.0) for now in (0.0, 1.0)] == [False, False]
