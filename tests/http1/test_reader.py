"""A response in pieces: when it is seen to be none."""

import pytest

from coregateway.http1.grammar import MalformedHTTP
from coregateway.http1.reader import MAX_HEAD, SPLIT, ResponseReader

SOUND = b"HTTP/1.1 200 OK\r\nX-A: \t\xe9\r\nX-B:\r\nContent-Length: 2\r\n\r\n"


@pytest.mark.parametrize(
    "beginning",
    [
        b"SSH-2.0",
        b"HTTP/1.1 200 OK\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\n",
        b"HTTP/1.1 200 OK\rX",
        b"HTTP/1.1 2\0",
    ],
)
def test_a_beginning_that_cannot_become_a_response_is_not_waited_with(beginning: bytes) -> None:
    reader = ResponseReader(bodiless=False, upgrade=False)
    with pytest.raises(MalformedHTTP):
        reader.feed(beginning)


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_sound_response_may_come_in_any_pieces(interim: bytes) -> None:
    raw = interim + SOUND + b"ok"
    for cut in range(1, len(raw)):
        for pieces in ([raw[:cut], raw[cut:]], [raw[i : i + 1] for i in range(len(raw))]):
            reader = ResponseReader(bodiless=False, upgrade=False)
            for piece in pieces:
                reader.feed(piece)
            assert (reader.complete, reader.surplus, reader.take()) == (True, False, b"ok")


BODY = bytes(range(256)) * 100


@pytest.mark.parametrize("size", [SPLIT - 1, SPLIT, SPLIT + 1, len(BODY)])
@pytest.mark.parametrize("surplus", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_a_large_body_may_come_with_its_head_and_what_is_behind_it_is_no_part_of_it(
    size: int, surplus: bytes
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    for cut in (0, 10, len(head), len(head) + 1, len(head) + size):
        raw = head + BODY[:size] + surplus
        reader = ResponseReader(bodiless=False, upgrade=False)
        for piece in filter(None, (raw[:cut], raw[cut:])):
            reader.feed(piece)
        assert (reader.complete, reader.left, reader.waiting) == (True, 0, size)
        assert reader.surplus == bool(surplus)
        assert b"".join(reader.take_pieces()) == BODY[:size]
        assert (reader.waiting, reader.take()) == (0, b"")


def test_a_large_body_without_a_length_is_complete_with_its_connection() -> None:
    reader = ResponseReader(bodiless=False, upgrade=False)
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)
    assert (reader.complete, reader.take()) == (False, BODY)
    reader.feed(BODY)
    assert reader.close()
    assert reader.take() == BODY


def test_what_went_another_way_counts_as_come() -> None:
    reader = ResponseReader(bodiless=False, upgrade=False)
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY[:9000])
    reader.skip(600)
    assert (reader.complete, reader.left) == (False, len(BODY) - 9600)
    reader.skip(len(BODY) - 9600)
    assert (reader.complete, reader.left, reader.waiting) == (True, 0, 9000)


def head_of(size: int, *, fields: int = 0) -> bytes:
    """A response head of so many bytes, without the empty line, and with at least so many fields."""
    start = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + b"A: b\r\n" * fields + b"X: "
    return start + b"x" * (size - len(start))


@pytest.mark.parametrize("step", [1, 3, 4, 5, 1000, MAX_HEAD, MAX_HEAD + 3, MAX_HEAD + 4])
@pytest.mark.parametrize(
    ("fields", "interim"), [(0, b""), (998, b""), (0, b"HTTP/1.1 103 Early Hints\r\n\r\n")]
)
def test_a_head_as_large_as_may_be_passes_in_any_pieces_and_a_larger_one_does_not(
    step: int, fields: int, interim: bytes
) -> None:
    for size in (MAX_HEAD, MAX_HEAD + 1):
        raw = interim + head_of(size, fields=fields) + b"\r\n\r\n"
        reader = ResponseReader(bodiless=False, upgrade=False)
        refused = False
        try:
            for at in range(0, len(raw), step):
                reader.feed(raw[at : at + step])
        except MalformedHTTP:
            refused = True
        assert (reader.complete, refused) == (size == MAX_HEAD, size > MAX_HEAD)


@pytest.mark.parametrize("broken", [b"a\nb", b"a\rb", b"a\0b", b"\n", b"\r\r\n"])
def test_a_broken_line_is_found_wherever_the_pieces_are_cut(broken: bytes) -> None:
    raw = b"HTTP/1.1 200 OK\r\nA: b\r\nX: " + broken + b"c"
    for cut in range(len(raw) + 1):
        reader = ResponseReader(bodiless=False, upgrade=False)
        refused = False
        try:
            for piece in (raw[:cut], raw[cut:]):
                reader.feed(piece)
        except MalformedHTTP:
            refused = True
        assert refused
