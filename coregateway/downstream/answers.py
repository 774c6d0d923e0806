"""What the gateway answers without a handler: problem documents, and what a policy says."""

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
from coregateway.policy.fields import FieldRules
from coregateway.policy.fixed_answer import BODILESS
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
    data = problem(connection, exchange, error, bodiless=connection.head_only)
    _write(connection, exchange, error.status, data, connection.worker.plan.own_fields)


def write_refusal(connection: RequestReader, refusal: Refusal) -> None:
    """Answer as a policy says."""
    if refusal.error is not None:
        write_problem(connection, refusal.error)
        return
    exchange = cast(Exchange, connection.exchange)
    connection.discard_body()
    data = answer(connection, exchange, refusal, bodiless=connection.head_only)
    rules = connection.worker.plan.own_fields if refusal.rules is None else refusal.rules
    _write(connection, exchange, refusal.status, data, rules)


def _write(
    connection: RequestReader, exchange: Exchange, status: int, data: bytes, rules: FieldRules | None
) -> None:
    end = data.find(END) + len(END)
    size = len(data) - end
    if rules is not None:
        data = rules.amend(data[:end], exchange) + data[end:]
    connection.worker.io.writer.flush()  # an earlier answer may wait in it
    connection.begin_response(status, data, size)
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
        extra=client.worker.plan.cors.lines_of_own_answer(origin)
        + _told(client, exchange)
        + exchange.explanation,
        keep_alive=client.settle(),
        bodiless=bodiless,
    )


def answer(client: Client, exchange: Exchange, refusal: Refusal, *, bodiless: bool) -> bytes:
    """What a policy answers, with its head; `bodiless` as for `problem`."""
    status = refusal.status
    framing = b"" if client.settle() else b"Connection: close\r\n"
    if status not in BODILESS:
        framing += b"Content-Length: %d\r\n" % len(refusal.body)
    return b"HTTP/1.1 %d %b\r\n%b%bX-CoreRL-Version: %b\r\nX-Request-ID: %b\r\n\r\n%b" % (
        status,
        _reason(status),
        date.line() + refusal.fields + _told(client, exchange) + exchange.explanation,
        framing,
        __version__.encode(),
        exchange.request_id.encode(),
        b"" if bodiless else refusal.body,
    )


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:  # a status of the settings, which no RFC names
        return b""


def _told(client: Client, exchange: Exchange) -> bytes:
    """What else an answer of our own tells a client: of rates, and of the time taken."""
    rates = exchange.rate_fields() if exchange.quota_left else b""
    return rates + server_timing(exchange, monotonic()) if client.worker.plan.tells_time else rates
