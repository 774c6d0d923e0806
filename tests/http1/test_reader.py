"""A response in pieces: when it is seen to be none."""

import pytest

from coregateway.http1 import MalformedHTTP
from coregateway.http1.reader import ResponseReader

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
