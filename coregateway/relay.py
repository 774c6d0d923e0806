"""Bodies in pieces, on as they come: a request's to its upstream, a response's to its client.

No piece is held here once it is written: what a slow client or upstream has not taken yet waits once, in the
transport to it.
"""

from asyncio import get_running_loop
from typing import TYPE_CHECKING

from coregateway.errors import GatewayError, ReadTimeout, UpstreamClosed, UpstreamError
from coregateway.http1.chunked import LAST_CHUNK, chunk, chunks
from coregateway.splice import WORTH, End, prepare
from coregateway.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from coregateway.server.message import ClientMessage


async def upwards(stream: "ClientMessage", connection: UpstreamConnection, *, chunked: bool) -> None:
    """Stream the rest of a request's body to its upstream.

    A client that is at fault ends the attempt with its own error. An upstream that takes no more is not an
    error here: its answer may be on the way, and whoever waits for that learns how the connection ended. What
    it does not take behind its answer is dropped.
    """
    try:
        while (data := await stream.read()) is not None:
            writing = connection.write(chunk(data) if chunked else data)
            data = b""
            await writing
        if chunked:
            await connection.write(LAST_CHUNK)
        connection.end_request()
    except UpstreamError:
        if connection.answered:
            stream.drop_rest()
    except GatewayError as error:
        connection.cancel(error)


async def downwards(
    stream: "ClientMessage", connection: UpstreamConnection, status: int, head: bytes, *, chunked: bool
) -> None:
    """Stream a response to its client, behind its rendered head.

    Raises:
        UpstreamError: the body is broken; what came before it was written.
    """
    stream.protocol.source = connection
    body = connection.take()
    content = chunks(body, last=False) if chunked else body
    stream.begin(status, head + content, len(body))
    body = content = b""
    await stream.protocol.drained()
    if connection.unread >= WORTH and connection.error is None:
        await _by_kernel(stream, connection)
    while body := await connection.read():
        stream.relay(chunk(body) if chunked else body, len(body))
        body = b""
        await stream.protocol.drained()
    if chunked:
        stream.relay(LAST_CHUNK, 0)
        await stream.protocol.drained()
    stream.end()


async def _by_kernel(stream: "ClientMessage", connection: UpstreamConnection) -> None:
    """Let the kernel pass on the rest of a response, if it can; what it has not is still to be relayed.

    Raises:
        UpstreamError: the body is broken; what came before it was passed on.
    """
    protocol = stream.protocol
    splice = prepare(get_running_loop(), connection.transport, protocol.client_transport)
    if splice is None:
        return
    try:
        body = connection.lend(splice.interrupt)
        stream.relay(body, len(body))
        body = b""
        await protocol.drained()
        end = await splice.run(
            connection.unread, silence=connection.timeouts.read, patience=stream.downstream.patience
        )
    finally:
        splice.close()
        connection.passed(splice.passed)
        stream.exchange.bytes_out += splice.passed
    connection.check()
    if end is End.SOURCE_ENDED:
        raise UpstreamClosed(sent=True)
    if end is End.SOURCE_LATE:
        raise ReadTimeout(sent=True)
    if end is End.SINK_LATE:
        protocol.reset()
    elif end is End.SINK_ENDED:
        protocol.transport.abort()  # whose loss ends all that follows
