"""Bodies in pieces, on as they come: a request's to its upstream, a response's to its client.

No piece is held here once it is written: what a slow client or upstream has not taken yet waits once, in the
transport to it.
"""

from coregateway.http1.chunked import LAST_CHUNK, chunk, chunks
from coregateway.model.errors import GatewayError, ReadTimeout, UpstreamClosed, UpstreamError
from coregateway.net.splice import WORTH, End, prepare
from coregateway.proxy.backend_claim import STREAM, BackendClaim
from coregateway.proxy.client import Client
from coregateway.upstream.connection import UpstreamConnection


async def upwards(client: Client, connection: UpstreamConnection, *, chunked: bool) -> None:
    """Stream the rest of a request's body to its upstream.

    A client that is at fault ends the attempt with its own error. An upstream that takes no more is not an
    error here: its answer may be on the way, and the task that waits for it learns how the connection ended.
    What it does not take behind its answer is dropped.
    """
    on_body = client.worker.on_body
    try:
        while (data := await client.read_body()) is not None:
            if on_body is not None:
                on_body(data)
            writing = connection.write(chunk(data) if chunked else data)
            data = b""
            await writing
        if chunked:
            await connection.write(LAST_CHUNK)
        connection.end_request()
    except UpstreamError:
        if connection.answered:
            client.drop_rest()
    except GatewayError as error:
        connection.cancel(error)


async def downwards(
    claim: BackendClaim, connection: UpstreamConnection, status: int, head: bytes, *, chunked: bool
) -> None:
    """Stream a response to its client, behind its rendered head.

    Raises:
        UpstreamError: the body is broken; what came before it was written.
    """
    client = claim.client
    if claim.holds is not STREAM:
        claim.begin_transfer(connection)
    client.source = connection
    body = connection.take()
    content = chunks(body, last=False) if chunked else body
    client.begin_response(status, head + content, len(body))
    body = content = b""
    await client.drained()
    if connection.response.left >= WORTH and connection.error is None:
        await _by_kernel(claim, connection)
    while body := await connection.read():
        client.relay(chunk(body) if chunked else body, len(body))
        body = b""
        if client.is_write_paused:
            await client.drained()
    if chunked:
        client.relay(LAST_CHUNK, 0)
        await client.drained()


async def _by_kernel(claim: BackendClaim, connection: UpstreamConnection) -> None:
    """Let the kernel pass on the rest of a response, if it can; what it has not is still to be relayed.

    Raises:
        UpstreamError: the body is broken; what came before it was passed on.
    """
    client = claim.client
    transfer = claim.transfer
    splice = prepare(client.worker.io, connection.descriptor, client.transport)
    if splice is None:
        return
    try:
        body = connection.lend(splice.interrupt)
        if transfer is not None:
            transfer.splice = splice
        client.relay(body, len(body))
        body = b""
        await client.drained()
        end = await splice.run(
            connection.response.left, silence=connection.timeouts.read, patience=client.patience
        )
    finally:
        if transfer is not None:
            transfer.splice = None
        splice.close()
        connection.passed(splice.passed)
        if client.exchange is not None:
            client.exchange.bytes_out += splice.passed
    connection.check()
    if end is End.SOURCE_ENDED:
        raise UpstreamClosed(sent=True)
    if end is End.SOURCE_LATE:
        raise ReadTimeout(sent=True)
    if end is End.SINK_LATE:
        client.reset()
    elif end is End.SINK_ENDED:
        client.transport.abort()  # whose loss ends all that follows
