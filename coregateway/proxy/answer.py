"""The answer to a forwarded request: shown to the response middleware, rendered, written when all is there.

One that is not whole yet is streamed behind its rendered head (`relay.downwards`).
"""

from collections.abc import Awaitable
from time import monotonic
from typing import TYPE_CHECKING

from coregateway.http1.chunked import chunks
from coregateway.http1.framing import ends_with_connection, is_chunked, response_fields
from coregateway.http1.reader import SPLIT
from coregateway.http1.response import ResponseHead
from coregateway.model.errors import GatewayError
from coregateway.proxy.admission import Refusal
from coregateway.proxy.headers import WEBSOCKET
from coregateway.proxy.server_timing import server_timing
from coregateway.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from coregateway.proxy.forwarded_request import ForwardedRequest


def review(request: "ForwardedRequest", response: ResponseHead) -> bool | Awaitable[bool]:
    """Show the response middleware an answer, as the settings have changed it.

    True: it has sent another in its place. An awaitable of that: it waits.
    """
    middleware = request.forwarding.middleware
    if middleware is None or middleware.review is None:
        return False
    addressed_as, base = _addressed_as(request)
    request.prepared = request.forwarding.inbound.prepare(
        response, request.head, request.exchange, addressed_as, base
    )
    return middleware.review(request, response)


async def is_replaced(request: "ForwardedRequest", response: ResponseHead) -> bool:
    """As `review`, which may have begun already."""
    if request.reviewed is None:
        replaced = review(request, response)
        if isinstance(replaced, bool):
            return replaced
        request.reviewed = replaced
    return await request.reviewed


def write(request: "ForwardedRequest", response: ResponseHead, connection: UpstreamConnection) -> None:
    """Write an answer, all of which is there, and give back what the request holds."""
    size = connection.response.waiting
    chunked = is_chunked(request.head, response)
    if size > SPLIT and not chunked:
        pieces = connection.take_pieces()
        request.release()
        head = render(request, response, chunked=False)
        request.client.respond(response.status, [head, *pieces], size)
    else:
        body = connection.take()
        request.release()
        head = render(request, response, chunked=chunked)
        content = chunks(body, last=True) if chunked else body
        request.client.respond(response.status, head + content, size)


def render(request: "ForwardedRequest", response: ResponseHead, *, chunked: bool) -> bytes:
    """The head of an answer, as the client gets it; `chunked`: see `is_chunked`."""
    head = request.head
    client = request.client
    forwarding = request.forwarding
    if response.status == 101:
        framing = WEBSOCKET
    else:
        if not head.minor and ends_with_connection(response):
            client.keep_alive = False
        framing = response_fields(head, response, chunked=chunked, keep_alive=client.settle())
    if forwarding.tells_time:
        framing += server_timing(request.exchange, monotonic())
    noted = response.noted
    named = b"location" in noted or b"content-location" in noted
    addressed_as, base = _addressed_as(request) if named else ((), b"")
    return forwarding.inbound.render(
        response,
        head,
        request.exchange,
        addressed_as=addressed_as,
        base=base,
        framing=framing,
        prepared=request.prepared,
    )


async def refuse(request: "ForwardedRequest", error: GatewayError) -> None:
    """Answer with an error, past the response middleware."""
    client = request.client
    middleware = request.forwarding.middleware
    if middleware is None:
        client.refuse(error)
        return
    verdict = middleware.answer(client, Refusal(error=error))
    if verdict is not None and not isinstance(verdict, Refusal):
        await verdict


def _addressed_as(request: "ForwardedRequest") -> tuple[tuple[bytes, ...], bytes]:
    """The authorities by which the backend may call itself in this response, and the path it adds."""
    endpoint = request.endpoint
    return (request.outgoing.host(endpoint.authority).lower(), endpoint.origin), endpoint.base
