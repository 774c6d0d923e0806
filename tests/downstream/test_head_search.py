"""Where a head ends, in whatever pieces it comes; and that what cannot become one is refused at once."""

import pytest

from coregateway.downstream.head_search import HeadSearch
from coregateway.http1.grammar import END
from coregateway.model.errors import BadRequest, GatewayError, HeadTooLarge, URITooLong

MOST = 64
HEAD = b"GET / HTTP/1.1\r\nHost: a"


def search(data: bytes, size: int) -> tuple[bytes, bytes]:
    """The head, and what is left, of data that comes in pieces of a size."""
    finder = HeadSearch(MOST)
    buffer = b""
    for at in range(0, len(data), size):
        buffer = finder.trim(buffer + data[at : at + size])
        if (end := finder.find(buffer)) >= 0:
            return buffer[:end], buffer[end + len(END) :] + data[at + size :]
    raise EOFError


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 1000])
@pytest.mark.parametrize(
    ("data", "head", "left"),
    [
        (HEAD + END, HEAD, b""),
        (HEAD + END + b"\r\n\r\nmore", HEAD, b"\r\n\r\nmore"),
        (b"\r\n" + HEAD + END, HEAD, b""),
        (b"x" * (MOST - 4) + END, b"x" * (MOST - 4), b""),
    ],
    ids=["alone", "more behind it", "a line end before it", "as long as it may be"],
)
def test_the_end_is_found_in_pieces_of_any_size(data: bytes, head: bytes, left: bytes, size: int) -> None:
    assert search(data, size) == (head, left)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"x" * (MOST + 1), URITooLong),
        (b"GET / HTTP/1.1\r\n" + b"x" * MOST, HeadTooLarge),
        (b"x" * (MOST - 3) + END, HeadTooLarge),
        (b"GET /\nHost", BadRequest),
        (b"GET /\rHost", BadRequest),
        (b"GET /\0", BadRequest),
        (b"\n", BadRequest),
    ],
)
def test_what_cannot_become_a_head_is_refused_before_its_end(
    data: bytes, error: type[GatewayError], size: int
) -> None:
    with pytest.raises(error):
        search(data, size)


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_one_empty_line_before_a_head_is_passed_over_and_a_second_is_a_head_of_none(size: int) -> None:
    assert search(b"\r\n\r\n" + END, size)[0] == b""


def test_what_was_searched_is_not_searched_again() -> None:
    finder = HeadSearch(MOST)
    assert finder.find(HEAD) == -1
    assert finder.searched == len(HEAD)
    # Not how it would be used: what lies before the seam does not count any more.
    assert finder.find(END + HEAD[4:] + b"\r\n") == -1
