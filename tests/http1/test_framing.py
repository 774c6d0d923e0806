import pytest

from coregateway.http1.framing import (
    ends_with_connection,
    is_chunked,
    persists,
    request_content,
    response_fields,
)
from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead

LENGTH = b"Content-Length: 5"
CHUNKS = b"Transfer-Encoding: chunked"


def asked(*fields: bytes, version: bytes = b"1.1") -> RequestHead:
    return RequestHead(b"\r\n".join((b"POST /a HTTP/" + version, b"Host: a", *fields)))


def answered(*fields: bytes, status: int = 200, bodiless: bool = False) -> ResponseHead:
    return ResponseHead(b"\r\n".join((b"HTTP/1.1 %d X" % status, *fields)), bodiless=bodiless)


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", [], True),
        (b"1.1", [b"Connection: keep-alive"], True),
        (b"1.1", [b"Connection: X-Hop"], True),
        (b"1.1", [b"Connection: close"], False),
        (b"1.1", [b"Connection: keep-alive", b"Connection: Close"], False),
        (b"1.0", [], False),
        (b"1.0", [b"Connection: X-Hop"], False),
        (b"1.0", [b"Connection: Keep-Alive"], True),
        (b"1.0", [b"Connection: keep-alive, close"], False),
    ],
)
def test_a_client_keeps_its_connection_as_rfc_9112_section_9_3_says(
    version: bytes, connection: list[bytes], kept: bool
) -> None:
    assert persists(asked(*connection, version=version)) is kept


@pytest.mark.parametrize(
    ("field", "body", "complete", "content"),
    [
        (LENGTH, b"hello", True, b"hello"),
        (LENGTH, b"he", False, b"he"),
        (b"X: a", b"", True, b""),
        (CHUNKS, b"hello", True, b"5\r\nhello\r\n0\r\n\r\n"),
        (CHUNKS, b"he", False, b"2\r\nhe\r\n"),
        (CHUNKS, b"", True, b"0\r\n\r\n"),
        (CHUNKS, b"", False, b""),
    ],
)
def test_a_request_goes_upstream_in_chunks_when_it_came_in_chunks(
    field: bytes, body: bytes, complete: bool, content: bytes
) -> None:
    assert request_content(asked(field), body, complete=complete) == content


@pytest.mark.parametrize(
    ("fields", "status", "bodiless", "framing", "framing_of_old"),
    [
        ([LENGTH], 200, False, b"Content-Length: 5\r\n", b"Content-Length: 5\r\n"),
        ([b"Content-Length: 0"], 200, False, b"Content-Length: 0\r\n", b"Content-Length: 0\r\n"),
        ([CHUNKS], 200, False, b"Transfer-Encoding: chunked\r\n", b""),
        ([], 200, False, b"Transfer-Encoding: chunked\r\n", b""),
        # without a body, but with the length of the one that GET would bring
        ([LENGTH], 200, True, b"Content-Length: 5\r\n", b"Content-Length: 5\r\n"),
        ([LENGTH], 304, False, b"Content-Length: 5\r\n", b"Content-Length: 5\r\n"),
        ([CHUNKS], 200, True, b"", b""),
        ([], 304, False, b"", b""),
        ([b"Content-Length: 0"], 204, False, b"", b""),
        ([], 204, False, b"", b""),
    ],
)
def test_a_response_is_framed_as_its_client_can_read_it(
    fields: list[bytes], status: int, bodiless: bool, framing: bytes, framing_of_old: bytes
) -> None:
    response = answered(*fields, status=status, bodiless=bodiless)
    head = asked()
    chunked = is_chunked(head, response)
    assert response_fields(head, response, chunked=chunked, keep_alive=True) == framing
    assert (
        response_fields(head, response, chunked=chunked, keep_alive=False)
        == framing + b"Connection: close\r\n"
    )
    assert chunked is (b"chunked" in framing)
    old = asked(version=b"1.0")
    assert (
        response_fields(old, response, chunked=False, keep_alive=True)
        == framing_of_old + b"Connection: keep-alive\r\n"
    )
    assert (
        response_fields(old, response, chunked=False, keep_alive=False)
        == framing_of_old + b"Connection: close\r\n"
    )
    assert not is_chunked(old, response)
    assert ends_with_connection(response) is (b"chunked" in framing)
