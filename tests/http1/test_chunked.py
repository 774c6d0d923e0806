import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coregateway.http1.chunked import LAST_CHUNK, MAX_TRAILERS, ChunkedDecoder, chunk
from coregateway.http1.grammar import MalformedHTTP

quick = settings(max_examples=200, deadline=None, derandomize=True)

type Outcome = tuple[bytes, bool, bytes] | None
"""Content, whether the body ended, and what came behind its end; None: refused."""


def decode(*pieces: bytes) -> Outcome:
    decoder = ChunkedDecoder()
    content = b""
    surplus = b""
    try:
        for piece in pieces:
            if decoder.done:
                surplus += piece
            else:
                content += decoder.feed(piece)
    except MalformedHTTP:
        return None
    return content, decoder.done, decoder.surplus + surplus


def bytewise(raw: bytes) -> list[bytes]:
    return [raw[at : at + 1] for at in range(len(raw))]


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({0, len(raw), *(place % (len(raw) + 1) for place in places)})
    return [raw[start:stop] for start, stop in pairwise(bounds)]


# Encoding


@pytest.mark.parametrize(
    ("data", "size"), [(b"x", b"1"), (b"\r\n" * 5, b"a"), (b"z" * 256, b"100"), (b"z" * 4096, b"1000")]
)
def test_a_chunk_is_its_size_and_its_data(data: bytes, size: bytes) -> None:
    assert chunk(data) == size + b"\r\n" + data + b"\r\n"


# Decoding


@pytest.mark.parametrize(
    ("raw", "content", "surplus"),
    [
        (b"0\r\n\r\n", b"", b""),
        (b"000\r\n\r\n", b"", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b""),
        (b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"hello", b"GET / HTTP/1.1\r\n\r\n"),
        (b"0000000000000005\r\nhello\r\n0\r\n\r\n\r\n", b"hello", b"\r\n"),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", b""),
        (b"9\r\n\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n\r\n", b""),
        (b'5;a=b;c="d e"\r\nhello\r\n0;x\r\n\r\n', b"hello", b""),
        (b"5;\xe9\t\r\nhello\r\n0\r\n\r\n", b"hello", b""),
        (b"0\r\nX-T: v\r\nContent-Length: 50\r\nEmpty:\r\n\r\nrest", b"", b"rest"),
    ],
)
def test_content_and_surplus_are_exact(raw: bytes, content: bytes, surplus: bytes) -> None:
    assert decode(raw) == (content, True, surplus)
    assert decode(*bytewise(raw)) == (content, True, surplus)


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n",
        b"\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"0_5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5\t;a\r\nhello\r\n0\r\n\r\n",
        b"5,\r\nhello\r\n0\r\n\r\n",
        b"g\r\n",
        b"\xb2\r\nhe\r\n0\r\n\r\n",
        b";a=b\r\n",
        b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5\r\r\nhello\r\n0\r\n\r\n",
        b"5;a=\rb\r\nhello\r\n0\r\n\r\n",
        b"5;a=\nb\r\nhello\r\n0\r\n\r\n",
        b"5;a\0\r\nhello\r\n0\r\n\r\n",
        b"5;a\x7f\r\nhello\r\n0\r\n\r\n",
        b"5;" + b"e" * 241 + b"\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\rX0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhell\r\n0\r\n\r\n",
        b"0\r\nX-T\r\n\r\n",
        b"0\r\n: v\r\n\r\n",
        b"0\r\nX-T : v\r\n\r\n",
        b"0\r\n X-T: v\r\n\r\n",
        b"0\r\nX-T: v\r\n folded\r\n\r\n",
        b"0\r\nX-T: v\n\r\n",
        b"0\r\nX-T: a\rb\r\n\r\n",
        b"0\r\nX-T: \0\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\n\r\n",
        b"0\r\n\n",
        b"0\r\n\r\r\n",
    ],
)
def test_anything_else_is_refused_however_it_arrives(raw: bytes) -> None:
    assert decode(raw) is None
    assert decode(*bytewise(raw)) is None


@pytest.mark.parametrize("raw", [b"5;a=b\r\nhello\r\n0;c\r\nX-T: v\r\n\r\n", b"1\r\n0\r\n0\r\n\r\n"])
def test_a_cut_body_never_looks_complete(raw: bytes) -> None:
    for end in range(len(raw)):
        outcome = decode(raw[:end])
        assert outcome is not None
        assert outcome[1:] == (False, b"")


def test_content_is_given_as_soon_as_it_comes() -> None:
    decoder = ChunkedDecoder()
    assert decoder.feed(b"5\r\nhe") == b"he"
    assert decoder.feed(b"l") == b"l"
    assert decoder.feed(b"lo\r\n3") == b"lo"
    assert decoder.feed(b"\r\n") == b""


def test_a_huge_chunk_is_not_held() -> None:
    decoder = ChunkedDecoder()
    assert decoder.feed(b"ffffffffffffffff\r\n" + b"x" * 1000) == b"x" * 1000
    assert not decoder.done


@pytest.mark.parametrize(
    "lines",
    [
        [b"X: " + b"v" * (MAX_TRAILERS - 3)],
        [b"X: " + b"v" * 1021] * 8,
        [b"X:"] * (MAX_TRAILERS // 2),
    ],
)
def test_trailers_of_the_limit_pass_and_one_byte_more_does_not(lines: list[bytes]) -> None:
    for surplus, accepted in ((b"", True), (b"v", False)):
        *first, last = lines
        raw = b"0\r\n" + b"".join(line + b"\r\n" for line in (*first, last + surplus)) + b"\r\n"
        assert (decode(raw) is not None) is accepted
        assert (decode(raw[:-3], raw[-3:]) is not None) is accepted
        assert (decode(*bytewise(raw)) is not None) is accepted


@pytest.mark.parametrize("endless", [b"1;" + b"e" * 300, b"0\r\nX: " + b"v" * MAX_TRAILERS, b"0" * 17])
def test_a_line_without_an_end_is_refused_before_it_ends(endless: bytes) -> None:
    assert decode(endless) is None
    assert decode(*bytewise(endless)) is None


# Whatever comes

PIECES = st.lists(st.binary(min_size=1, max_size=300), max_size=6)
PLACES = st.lists(st.integers(0, 10_000), max_size=12)
FRAGMENTS = st.sampled_from(
    [
        b"0", b"1", b"5", b"a", b"05", b"f", b"\r\n", b"\r\n", b"\r\n", b"\r", b"\n", b";a=b", b";",
        b"hello", b"x", b" ", b"\t", b"-", b"+", b"_", b"\0", b"\x7f", b"\xe9", b":", b"X: y\r\n",
        b"0\r\n\r\n", b"0\r\n", b"5\r\nhello\r\n", b"1;a=b\r\n\r\r\n", b"2\r\n\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ]
)  # fmt: skip
NOISE = st.lists(FRAGMENTS, max_size=12).map(b"".join)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sound body in which a few bytes were lost, changed or added."""
    raw = b"".join(map(chunk, draw(PIECES))) + draw(
        st.sampled_from([LAST_CHUNK, b"0;e\r\nX: y\r\nZ:\r\n\r\n"])
    )
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(FRAGMENTS | st.just(b"")) + raw[at + draw(st.integers(0, 2)) :]
    return raw


@quick
@given(PIECES, st.binary(max_size=50), PLACES)
def test_what_was_encoded_is_decoded_and_the_rest_left(
    pieces: list[bytes], surplus: bytes, places: list[int]
) -> None:
    raw = b"".join(map(chunk, pieces)) + LAST_CHUNK + surplus
    assert decode(*cut(raw, places)) == (b"".join(pieces), True, surplus)


@quick
@given(NOISE | damaged(), PLACES)
@example(b"0\r\n" + b"X" * (MAX_TRAILERS - 1) + b":\r\n\r\n", [MAX_TRAILERS + 4])
def test_how_a_body_is_cut_up_changes_nothing(raw: bytes, places: list[int]) -> None:
    whole = decode(raw)
    assert decode(*bytewise(raw)) == whole
    assert decode(*cut(raw, places)) == whole


_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]+)(?:;[\t -~\x80-\xff]*)?\r\n")
_TRAILERS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*\r\n")


def by_the_grammar(raw: bytes) -> Outcome:
    """RFC 9112 §7.1, for a body that is all there; None when it is not, or is no body."""
    content = b""
    while (line := _SIZE_LINE.match(raw)) is not None:
        raw = raw[line.end() :]
        size = int(line[1], 16)
        if size == 0:
            end = _TRAILERS.match(raw)
            return None if end is None else (content, True, raw[end.end() :])
        if raw[size : size + 2] != b"\r\n":
            return None
        content += raw[:size]
        raw = raw[size + 2 :]
    return None


@quick
@given(NOISE | damaged())
def test_a_body_is_complete_exactly_when_the_grammar_says_so(raw: bytes) -> None:
    outcome = decode(raw)
    complete = outcome if outcome is not None and outcome[1] else None
    assert complete == by_the_grammar(raw)
