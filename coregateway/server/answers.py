"""What the gateway answers by itself without a handler of Sanic's: problems, and answers without content."""

from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING

from coregateway import __version__
from coregateway.date import date
from coregateway.errors import GatewayError
from coregateway.exchange import Exchange, request_id
from coregateway.http1.grammar import END
from coregateway.problem import render
from coregateway.tracing.timing import server_timing

if TYPE_CHECKING:
    from coregateway.server.message import ClientMessage


async def send_problem(stream: "ClientMessage", error: GatewayError) -> None:
    """Answer with a problem document, if nothing was answered yet."""
    downstream = stream.downstream
    exchange = stream.exchange
    exchange.fail(error)
    if error.closes:
        downstream.keep_alive = False
    if not exchange.request_id:
        exchange.request_id = request_id(None)
    if downstream.keep_alive:
        stream.discard_body()
    origin = downstream.head.noted.get(b"origin") if downstream.head is not None else None
    data = render(
        error,
        request_id=exchange.request_id,
        version=__version__,
        extra=stream.protocol.app.ctx.cors.lines_of_own_answer(origin) + _timing(stream, exchange),
        keep_alive=downstream.settle(),
        bodiless=downstream.head_only,
    )
    await _send(stream, error.status, data)


async def send_empty(stream: "ClientMessage", status: int, extra: bytes) -> None:
    """Answer without content. `extra`: field lines with their line ends."""
    exchange = stream.exchange
    stream.discard_body()
    connection = b"" if stream.downstream.settle() else b"Connection: close\r\n"
    data = b"HTTP/1.1 %d %b\r\n%b%bX-CoreRL-Version: %b\r\nX-Request-ID: %b\r\n\r\n" % (
        status,
        HTTPStatus(status).phrase.encode(),
        date.line() + extra + _timing(stream, exchange),
        connection,
        __version__.encode(),
        exchange.request_id.encode(),
    )
    await _send(stream, status, data)


async def _send(stream: "ClientMessage", status: int, data: bytes) -> None:
    body = len(data) - data.find(END) - len(END)
    stream.begin(status, data, body)
    stream.drop_rest()
    await stream.protocol.drained()
    stream.end()


def _timing(stream: "ClientMessage", exchange: Exchange) -> bytes:
    """For an answer of our own, if clients are to be told."""
    if not stream.protocol.app.ctx.settings.tracing.server_timing:
        return b""
    return server_timing(exchange, monotonic())
