import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.target import is_confined

quick = settings(max_examples=300, deadline=None, derandomize=True)


@pytest.mark.parametrize(
    "path",
    [
        "/p/../x",
        "/p/..",
        "/p/../",
        "/../p",
        "..",
        "/p/x/../y",
        "/p/%2e%2e/x",
        "/p/%2E%2e",
        "/p/.%2e/x",
        "/p/%2E./x",
        "/p/..%2fx",
        "/p/..%2Fx",
        "/p/x%2f..",
        "/p/x%2F%2e%2e%2Fy",
        "/p/..%5cx",
        "/p/..%5Cx",
        "/p/x%5c..",
        "/p/%5c%2e%2e%5c",
        "/p/..;/x",
        "/p/..;",
        "/p/..;a=b/x",
        "/p/%2e%2e;a/x",
        "/p/..%3b/x",
        "/p/..%3Ba",
        "/p/%2e%2e%3b%2fx",
        "/p//../x",
        "/p/..//x",
        "/p/;/../x",
        "/p/;a%2f../x",
        "/p/%zz/../x",
        "/p/%/..",
        "/p/\xff/..",
        "/p\\x",
        "/p/..\\x",
        "/p/\\../x",
        "\\",
        "/p/x%00",
        "/p/..%00/x",
        "/p/..%0a",
    ],
)
def test_a_parent_segment_is_refused_in_whatever_dress(path: str) -> None:
    assert not is_confined(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "*",
        "/",
        "/p/x",
        "/p/a%2Fb%2f",
        "/p;a=b/x;/;",
        "/p//x//",
        "/p/100%25",
        "/p/%252e%252e%252fx",
        "/p/..%252fx",
        "/p/%%32e%%32e/x",
        "/p/./x/.",
        "/p/.../x",
        "/p/..x/x../a..b/.x.",
        "/p/..%20x",
        "/p/%2e/x",
        "/p/.;./x",
        "/p/x;..",
        "/p/x;a=..;b=..",
        "/p/%zz/%2/%",
        "/p/caf%C3%A9/%c0%ae%c0%ae/x",
        "/p/%3f..%23",
    ],
)
def test_what_climbs_nowhere_passes(path: str) -> None:
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
        assert not is_confined(path.decode("latin-1"))
    elif b"\\" not in path and b"\0" not in _decoded(path):
        assert is_confined(path.decode("latin-1"))
