"""How a message that passes the gateway is delimited, and what becomes of its connection (RFC 9112 §6, §9).

Both sides are framed anew: what one of them sends in chunks, the other gets with a length, or until its
connection ends, as its own head says or as its version allows.
"""

from coregateway.http1.chunked import chunks
from coregateway.http1.fields import connection_options
from coregateway.http1.grammar import CHUNKED, UNTIL_CLOSE
from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead


def persists(head: RequestHead) -> bool:
    """Whether the client keeps the connection after this request (RFC 9112 §9.3)."""
    connection = head.noted.get(b"connection")
    if connection is None:
        return head.minor == 1
    options = connection_options(connection)
    return not options.close and (head.minor == 1 or options.keep_alive)


def request_content(head: RequestHead, body: bytes, *, complete: bool) -> bytes:
    """A request's body as it goes upstream, or the beginning of it, unless it is `complete`."""
    return chunks(body, last=complete) if head.length == CHUNKED else body


def is_chunked(head: RequestHead, response: ResponseHead) -> bool:
    """Whether the client gets the body in chunks: its length is not known, and the client can read them."""
    return response.length in (CHUNKED, UNTIL_CLOSE) and head.minor == 1


def ends_with_connection(response: ResponseHead) -> bool:
    """Whether only the end of the connection can tell an HTTP/1.0 client, which knows no chunks, that of the
    body."""
    return response.length in (CHUNKED, UNTIL_CLOSE)


def response_fields(head: RequestHead, response: ResponseHead, *, chunked: bool, keep_alive: bool) -> bytes:
    """The field lines, each with its line end, that frame a response for the client that sent `head`.

    `chunked`: see `is_chunked`. `keep_alive`: whether the client's connection outlasts it. A response without
    a body keeps the length that its backend has declared (HEAD, 304), but for a 204, which must not have one
    (RFC 9110 §8.6).
    """
    framing = b""
    if response.declared is not None and response.status != 204:
        framing = b"Content-Length: %d\r\n" % response.declared
    elif chunked:
        framing = b"Transfer-Encoding: chunked\r\n"
    if not keep_alive:
        return framing + b"Connection: close\r\n"
    if not head.minor:
        return framing + b"Connection: keep-alive\r\n"
    return framing
