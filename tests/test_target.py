import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.target import is_confined

quick = settings(max_examples=300, deadline=None, derandomize=True)


@pytest.mark.parametrize(
    "path",
    [
        b"/p/../x",
        b"/p/..",
        b"/p/../",
        b"/../p",
        b"..",
        b"/p/x/../y",
        b"/p/%2e%2e/x",
        b"/p/%2E%2e",
        b"/p/.%2e/x",
        b"/p/%2E./x",
        b"/p/..%2fx",
        b"/p/..%2Fx",
        b"/p/x%2f..",
        b"/p/x%2F%2e%2e%2Fy",
        b"/p/..%5cx",
        b"/p/..%5Cx",
        b"/p/x%5c..",
        b"/p/%5c%2e%2e%5c",
        b"/p/..;/x",
        b"/p/..;",
        b"/p/..;a=b/x",
        b"/p/%2e%2e;a/x",
        b"/p/..%3b/x",
        b"/p/..%3Ba",
        b"/p/%2e%2e%3b%2fx",
        b"/p//../x",
        b"/p/..//x",
        b"/p/;/../x",
        b"/p/;a%2f../x",
        b"/p/%zz/../x",
        b"/p/%/..",
        b"/p/\xff/..",
        b"/p\\x",
        b"/p/..\\x",
        b"/p/\\../x",
        b"\\",
        b"/p/x%00",
        b"/p/..%00/x",
        b"/p/..%0a",
    ],
)
def test_a_parent_segment_is_refused_in_whatever_dress(path: bytes) -> None:
    assert not is_confined(path)


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"*",
        b"/",
        b"/p/x",
        b"/p/a%2Fb%2f",
        b"/p;a=b/x;/;",
        b"/p//x//",
        b"/p/100%25",
        b"/p/%252e%252e%252fx",
        b"/p/..%252fx",
        b"/p/%%32e%%32e/x",
        b"/p/./x/.",
        b"/p/.../x",
        b"/p/..x/x../a..b/.x.",
        b"/p/..%20x",
        b"/p/%2e/x",
        b"/p/.;./x",
        b"/p/x;..",
        b"/p/x;a=..;b=..",
        b"/p/%zz/%2/%",
        b"/p/caf%C3%A9/%c0%ae%c0%ae/x",
        b"/p/%3f..%23",
    ],
)
def test_what_climbs_nowhere_passes(path: bytes) -> None:
    assert is_confined(path)


def _decoded(path: bytes) -> bytes:
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes((int(found[1], 16),)), path)


def _segments(path: bytes) -> list[bytes]:
    return [segment.partition(b";")[0] for segment in re.split(rb"[/\\]", path)]


FRAGMENTS = st.sampled_from(
    [
        b"/", b".", b".", b"..", b"%2e", b"%2E", b"%2f", b"%2F", b"%5c", b"\\", b";", b"%3b", b"a", b"%25",
        b"%", b"2e", b"%zz", b"%c0%ae", b"%00", b"\xff",
    ]
)  # fmt: skip


@quick
@given(st.lists(FRAGMENTS, max_size=9).map(b"".join))
def test_no_order_of_decoding_splitting_and_cutting_finds_a_parent_segment(rest: bytes) -> None:
    path = b"/p/" + rest
    readings = (
        _segments(path),
        _segments(_decoded(path)),
        [_decoded(segment) for segment in _segments(path)],
        [inner for segment in _segments(path) for inner in _segments(_decoded(segment))],
    )
    if any(b".." in reading for reading in readings):
        assert not is_confined(path)
    elif b"\\" not in path and b"\0" not in _decoded(path):
        assert is_confined(path)
