"""What the gateway answers without a handler: problem documents, and answers without content."""

from http import HTTPStatus
from time import monotonic
from typing import cast

from coregateway import __version__
from coregateway.downstream.request_reader import RequestReader
from coregateway.http1.date import date
from coregateway.http1.grammar import END
from coregateway.model.errors import GatewayError
from coregateway.model.exchange import Exchange, request_id
from coregateway.model.problem import render
from coregateway.proxy.admission import Refusal
from coregateway.proxy.client import Client
from coregateway.proxy.server_timing import server_timing


def write_problem(connection: RequestReader, error: GatewayError) -> None:
    """Answer with a problem document."""
    exchange = cast(Exchange, connection.exchange)
    exchange.fail(error)
    if error.closes:
        connection.keep_alive = False
    if not exchange.request_id:
        exchange.request_id = request_id(None)
    if connection.keep_alive:
        connection.discard_body()
    _write(connection, error.status, problem(connection, exchange, error, bodiless=connection.head_only))


def write_refusal(connection: RequestReader, refusal: Refusal) -> None:
    """Answer as a policy says."""
    if refusal.error is not None:
        write_problem(connection, refusal.error)
        return
    exchange = cast(Exchange, connection.exchange)
    connection.discard_body()
    _write(connection, refusal.status, empty(connection, exchange, refusal.status, refusal.fields))


def _write(connection: RequestReader, status: int, data: bytes) -> None:
    connection.worker.io.writer.flush()  # an earlier answer may wait in it
    connection.begin_response(status, data, len(data) - data.find(END) - len(END))
    connection.drop_rest()


def problem(client: Client, exchange: Exchange, error: GatewayError, *, bodiless: bool) -> bytes:
    """A problem document, with its head; whether the connection is kept is decided with it.

    `bodiless`: the request is a HEAD.
    """
    head = client.head
    origin = head.noted.get(b"origin") if head is not None else None
    return render(
        error,
        request_id=exchange.request_id,
        version=__version__,
        extra=client.worker.plan.cors.lines_of_own_answer(origin) + _timing(client, exchange),
        keep_alive=client.settle(),
        bodiless=bodiless,
    )


def empty(client: Client, exchange: Exchange, status: int, fields: bytes) -> bytes:
    """The head of an answer without content. `fields`: further field lines with their line ends."""
    connection = b"" if client.settle() else b"Connection: close\r\n"
    return b"HTTP/1.1 %d %b\r\n%b%bX-CoreRL-Version: %b\r\nX-Request-ID: %b\r\n\r\n" % (
        status,
        HTTPStatus(status).phrase.encode(),
        date.line() + fields + _timing(client, exchange),
        connection,
        __version__.encode(),
        exchange.request_id.encode(),
    )


def _timing(client: Client, exchange: Exchange) -> bytes:
    """For an answer of our own, if clients are to be told."""
    return server_timing(exchange, monotonic()) if client.worker.plan.tells_time else b""
