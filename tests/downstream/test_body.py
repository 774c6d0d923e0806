import pytest

from coregateway.downstream.body import RequestBody
from coregateway.http1.grammar import CHUNKED
from coregateway.model.errors import BadRequest

NEXT = b"GET / HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("length", "raw", "content", "done", "surplus"),
    [
        (5, b"hello", b"hello", True, b""),
        (5, b"hell", b"hell", False, b""),
        (5, b"hello" + NEXT, b"hello", True, NEXT),
        (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n", b"hello", True, b""),
        (CHUNKED, b"5\r\nhello\r\n0\r\n\r", b"hello", False, b""),
        (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n" + NEXT, b"hello", True, NEXT),
    ],
)
@pytest.mark.parametrize("cut", [0, 1, 3, 4])
def test_a_body_ends_where_its_head_said_and_the_rest_is_the_next_request_s(
    length: int, raw: bytes, content: bytes, done: bool, surplus: bytes, cut: int
) -> None:
    body = RequestBody(length, 0)
    assert body.feed(raw[:cut]) + body.feed(raw[cut:]) == content
    assert (body.done, body.surplus) == (done, surplus)


@pytest.mark.parametrize(
    ("length", "begun", "available", "whole"),
    [
        (5, 0, 4, False),
        (5, 0, 5, True),
        (5, 0, 6, True),
        (5, 3, 1, False),
        (5, 3, 2, True),
        (CHUNKED, 0, 99, False),
    ],
)
def test_only_a_length_tells_beforehand_that_a_body_is_whole(
    length: int, begun: int, available: int, whole: bool
) -> None:
    body = RequestBody(length, 0)
    body.feed(bytes(begun))
    assert body.is_whole(available) is whole


def test_broken_chunks_are_the_client_s_fault() -> None:
    with pytest.raises(BadRequest):
        RequestBody(CHUNKED, 0).feed(b"x\r\n")
