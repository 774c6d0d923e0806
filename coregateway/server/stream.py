"""One request after the other on a client connection: strict heads and bodies, responses as bytes.

The life of a request begins and ends here: its head is read and checked, an `Exchange` is opened, the
gateway's handler runs, and whatever came of it the exchange is closed and announced, exactly once.
"""

from asyncio import CancelledError
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from sanic.http import Http, Stage
from sanic.response import BaseHTTPResponse

from coregateway import __version__
from coregateway.errors import (
    BadRequest,
    BodyTooLarge,
    ClientClosed,
    Draining,
    GatewayError,
    HeadTooLarge,
)
from coregateway.exchange import Exchange, request_id
from coregateway.http1 import CHUNKED, MalformedHTTP, TooManyFields
from coregateway.http1.chunked import ChunkedDecoder
from coregateway.http1.fields import connection_options
from coregateway.http1.request import RequestHead
from coregateway.outbox import outbox
from coregateway.problem import render
from coregateway.server.request import GatewayRequest
from coregateway.server.signals import RESPONSE, STARTED
from coregateway.target import is_confined
from coregateway.tracing.timing import server_timing

if TYPE_CHECKING:
    from coregateway.proxy import Passage
    from coregateway.server.connection import ClientConnection

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Relayed(BaseHTTPResponse):
    """Stands for a response whose bytes the handler wrote itself; there is nothing left for Sanic to send."""

    __slots__ = ()

    async def send(self, data: Any = None, end_stream: bool | None = None) -> None:
        """Nothing: the response is out."""


RELAYED = Relayed()


class ClientStream(Http):
    """Sanic's `Http` with its parsing, its loop and its body reader replaced."""

    __slots__ = ("_app", "_decoder", "_left", "_max_head", "_wrong", "exchange", "head", "passage")

    protocol: "ClientConnection"  # pyright: ignore[reportIncompatibleVariableOverride] -- always ours
    request: GatewayRequest | None  # pyright: ignore[reportIncompatibleVariableOverride] -- always ours
    response: BaseHTTPResponse | None  # pyright: ignore[reportIncompatibleVariableOverride] -- None until it is
    request_body: bool | None  # pyright: ignore[reportIncompatibleVariableOverride] -- whether more is to come
    stage: Stage

    def __init__(self, protocol: "ClientConnection") -> None:
        self.protocol = protocol
        self._send = protocol.send
        self._app = protocol.app
        self.dispatch = protocol.app.dispatch  # pyright: ignore[reportUnknownMemberType] -- Sanic's own overloads
        self.keep_alive = True
        self.stage = Stage.IDLE
        self._max_head = protocol.app.ctx.settings.limits.request.max_head
        self._wrong: Exception | None = None
        self.exchange: Exchange | None = None
        self.head: RequestHead | None = None
        self.passage: Passage | None = None
        """Where a request is that was set on its way at once."""

    # The loop

    async def http1(self) -> None:
        """Serve the connection until it cannot or need not be kept."""
        while self.keep_alive:
            self._reset()
            try:
                raw = await self.protocol.read_head(self._max_head)
            except GatewayError as error:
                raw = error
            except CancelledError:
                if self.exchange is not None:
                    self._abandon()
                elif self.protocol.buffer:
                    self._record_unread()
                raise
            if self.exchange is None:
                if raw is None:
                    break
                self._start(raw)
            await self._serve()
        if not self.keep_alive:
            await self.protocol.linger()

    async def _serve(self) -> None:
        """Carry the request that was started to its end."""
        exchange = cast(Exchange, self.exchange)
        try:
            if isinstance(self._wrong, GatewayError):
                await self.send_problem(self._wrong)
            elif self._wrong is not None:
                await self._app.handle_exception(self.as_request(), self._wrong)
            elif self.stage is Stage.IDLE:
                await self.protocol.drained()  # it has its answer
            else:
                await self._app.handle(self)
                await self._end_own_answer()
            if self.request_body:
                # What came of the body was not wanted; the rest may be endless.
                self.keep_alive = False
        except CancelledError:
            self.keep_alive = False
            if exchange.error is None:
                exchange.error = ClientClosed.cause
                exchange.status = ClientClosed.status
            raise
        finally:
            self._finish()
            self._app.signal_router.end_turn()  # the client has its response, so it should be on record

    # A request that needs no waiting is served by whoever brings its bytes; the loop's task sleeps on.

    def take(self, data: bytes) -> bool:
        """Serve the request that these bytes are, or begin with; False: they are for the loop's task.

        What turns out to need waiting is handed over to the task.
        """
        end = data.find(b"\r\n\r\n")
        if self.exchange is not None or not 0 < end <= self._max_head - 4 or data.startswith(b"\r\n"):
            return False
        self.protocol.buffer = data[end + 4 :]
        exchange = self._start(data[:end])
        head = self.head
        try:
            if head is not None and self._wrong is None and self._app.begin(self, head, exchange):
                return True
        except Exception as error:
            self.fail(error)
            return True
        self.protocol.hand_over()
        return True

    def answered(self) -> None:
        """The upstream has answered a request that was begun at once, or failed to."""
        connection = self.protocol
        passage = self.passage
        if passage is None or connection.transport.is_closing():
            return  # the client has left, and the task has seen it or is about to
        try:
            ended = passage.forwarder.end(self, passage)
        except Exception as error:
            self.fail(error)
            return
        if ended and self.keep_alive and not connection.is_write_paused:
            self._finish()
            self._reset()
            connection.rest()
        else:
            connection.hand_over()

    def fail(self, error: Exception) -> None:
        """A request that was begun at once has waited in vain, or a defect of ours has stopped it."""
        self._wrong = error
        if self.passage is not None:
            self.passage.forwarder.leave(self, self.passage)
        self.protocol.hand_over()

    def _abandon(self) -> None:
        """The client has left a request that was begun at once."""
        exchange = cast(Exchange, self.exchange)
        self.keep_alive = False
        if self.passage is not None:
            exchange.upstream_ended = monotonic()
            self.passage.forwarder.leave(self, self.passage)
        if exchange.error is None:
            exchange.error = ClientClosed.cause
            exchange.status = ClientClosed.status
        self._finish()

    # The steps of both

    def _reset(self) -> None:
        """Be ready for the next request."""
        self.stage = Stage.IDLE
        self.exchange = self.head = self.passage = self._wrong = None
        self.request = self.response = None  # pyright: ignore[reportIncompatibleVariableOverride] -- as declared
        self.request_body = None
        self.head_only = self.expecting_continue = self.upgrade_websocket = False

    def _start(self, raw: bytes | GatewayError) -> Exchange:
        """Open the exchange of a request: its head, or why there is none."""
        connection = self.protocol
        connection.served += 1
        connection.patience = self._app.ctx.settings.timeouts.client
        self.exchange = exchange = Exchange(connection.received_at, connection.peer)
        if connection.buffer:
            connection.received_at = monotonic()  # of the next request, which is here already
        self.stage = Stage.HANDLER
        try:
            self._open(raw, exchange)
        except GatewayError as error:
            self._wrong = error
            self.keep_alive = False
            begun = raw if isinstance(raw, bytes) else connection.buffer
            self.head_only = begun.startswith(b"HEAD ")  # whatever is wrong with the rest of it
        else:
            self._app.signal_router.announce(STARTED, exchange=exchange)
        return exchange

    async def _end_own_answer(self) -> None:
        """A handler that streams with Sanic's means may leave the end to its server."""
        if self.stage is Stage.RESPONSE and self.response is not None:
            await self.response.send(end_stream=True)

    def _record_unread(self) -> None:
        """A head that began to come and never will be complete is a request, too."""
        connection = self.protocol
        self.exchange = exchange = Exchange(connection.received_at, connection.peer)
        exchange.request_id = request_id(None)
        cause: type[GatewayError] = Draining if self._app.ctx.draining else ClientClosed
        exchange.error = cause.cause
        exchange.status = cause.status
        self._finish()

    def _open(self, raw: bytes | GatewayError, exchange: Exchange) -> None:
        """Check a head by all rules that do not depend on the route."""
        if isinstance(raw, GatewayError):
            raise raw
        limits = self._app.ctx.settings.limits.request
        try:
            head = RequestHead(raw)
        except TooManyFields:
            raise HeadTooLarge from None
        except MalformedHTTP:
            raise BadRequest from None
        self.head = head
        exchange.request_id = request_id(head.noted.get(b"x-request-id"))
        if self._app.ctx.tracer is not None:
            exchange.trace = self._app.ctx.tracer.begin(head.noted)
        exchange.method = head.method
        exchange.path = head.path.decode()
        exchange.protocol = "HTTP/1.1" if head.minor else "HTTP/1.0"
        exchange.client = self._app.ctx.client_of(self.protocol, head)
        if not is_confined(head.path):
            raise BadRequest
        self.keep_alive = _persists(head)
        self.head_only = head.method == "HEAD"
        if head.length:
            self._open_body(head, limits.max_body)

    def as_request(self) -> GatewayRequest:
        """The request as Sanic's handlers know it; only they need it."""
        if self.request is None:
            self.exception = None
            self.response_func = self.http1_response_header
            self.request = GatewayRequest(self)  # pyright: ignore[reportIncompatibleVariableOverride] -- as declared
        return self.request

    def _open_body(self, head: RequestHead, max_body: int) -> None:
        if max_body and head.length > max_body:
            raise BodyTooLarge
        self.request_max_size = max_body
        self.expecting_continue = (
            head.minor == 1 and head.noted.get(b"expect", b"").lower() == b"100-continue"
        )
        self._left = head.length
        self._decoder = ChunkedDecoder() if head.length == CHUNKED else None
        self.request_body = True

    def _finish(self) -> None:
        exchange = cast(Exchange, self.exchange)
        exchange.ended = monotonic()
        self._app.signal_router.finish(exchange)
        if self.request is not None:
            self.request.stream = None

    # The request's body

    @property
    def is_whole(self) -> bool:
        """Whether the request has come in full."""
        if not self.request_body:
            return True
        return self._decoder is None and len(self.protocol.buffer) >= self._left

    async def read(self) -> bytes | None:
        """The next piece of the body, or None at its end.

        Raises:
            BadRequest: the chunked coding is broken.
            BodyTooLarge: more than `limits.request.max_body` bytes came in chunks.
            ClientTimeout: nothing came in time.
        """
        while self.request_body:
            if self.expecting_continue:
                self.expecting_continue = False
                if not self.protocol.buffer:
                    await self.protocol.send(CONTINUE)
            data = self._content(await self.protocol.read_body())
            if data:
                return data
        return None

    def take_body(self) -> bytes:
        """What has come of the body, without waiting. `request_body` tells whether there will be more.

        Raises: as `read`, but for the time.
        """
        if not self.request_body or not self.protocol.buffer:
            return b""
        self.expecting_continue = False
        return self._content(self.protocol.take())

    def _content(self, data: bytes) -> bytes:
        """The part of some bytes from the connection that is this body's content; the rest goes back."""
        exchange = cast(Exchange, self.exchange)
        if self._decoder is None:
            if len(data) > self._left:
                self.protocol.buffer = data[self._left :]
                data = data[: self._left]
            self._left -= len(data)
            if not self._left:
                self.request_body = None
        else:
            try:
                data = self._decoder.feed(data)
            except MalformedHTTP:
                raise BadRequest from None
            if self._decoder.done:
                self.protocol.buffer = self._decoder.surplus
                self.request_body = None
        exchange.bytes_in += len(data)
        if self.request_max_size and exchange.bytes_in > self.request_max_size:
            raise BodyTooLarge
        return data

    def announce(self, name: str, **context: object) -> None:
        """Tell the subscribers of an event what happened to the exchange."""
        self._app.signal_router.announce(name, exchange=self.exchange, **context)

    # Responses as bytes

    def discard_body(self) -> None:
        """Drop what has come of a body that nobody wants; one that is not complete costs the connection."""
        try:
            self.take_body()
        except GatewayError:
            self.keep_alive = False

    def settle(self) -> bool:
        """Decide, when a response is about to begin, whether the connection is kept after it.

        It is not while the gateway drains, and not while a part of the request's body is still to come.
        """
        if self.request_body or self._app.ctx.draining:
            self.keep_alive = False
        return self.keep_alive

    def answer(self, status: int, data: bytes, body: int) -> None:
        """As `begin`, for a whole response that nobody waits for."""
        exchange = cast(Exchange, self.exchange)
        exchange.status = status
        exchange.bytes_out += body
        outbox.write(self.protocol.transport, data)
        self.stage = Stage.IDLE

    def begin(self, status: int, data: bytes, body: int) -> None:
        """Write the first bytes of a response: its head and as much of its body, of which `body` bytes.

        A client that is slow to take them is waited for by `protocol.drained()`.
        """
        exchange = cast(Exchange, self.exchange)
        exchange.status = status
        exchange.bytes_out += body
        self.stage = Stage.RESPONSE
        self.response = RELAYED  # pyright: ignore[reportIncompatibleVariableOverride] -- as declared
        self.protocol.transport.write(data)

    def relay(self, data: bytes, body: int) -> None:
        """Write the next bytes of a response, of which `body` are content; the rest is chunk framing."""
        cast(Exchange, self.exchange).bytes_out += body
        self.protocol.transport.write(data)

    def end(self) -> None:
        """The response is complete."""
        self.stage = Stage.IDLE

    def abort(self) -> None:
        """The response cannot be completed: end the connection so that the client can tell."""
        self.keep_alive = False
        self.stage = Stage.IDLE
        if self.head is not None and not self.head.minor:
            self.protocol.reset()  # an orderly end would complete a body without a length
        else:
            self.protocol.abort()

    async def send_problem(self, error: GatewayError) -> None:
        """Answer with a problem document, if nothing was answered yet."""
        exchange = cast(Exchange, self.exchange)
        exchange.error = error.cause
        if error.closes:
            self.keep_alive = False
        if not exchange.request_id:
            exchange.request_id = request_id(None)
        if self.keep_alive:
            self.discard_body()
        origin = self.head.noted.get(b"origin") if self.head is not None else None
        data = render(
            error,
            request_id=exchange.request_id,
            version=__version__,
            extra=self._app.ctx.cors.lines_of_own_answer(origin) + self._timing(),
            keep_alive=self.settle(),
            bodiless=bool(self.head_only),
        )
        self.begin(error.status, data, 0)
        await self.protocol.drained()
        self.end()

    async def send_empty(self, status: int, extra: bytes) -> None:
        """Answer without content. `extra`: field lines with their line ends."""
        exchange = cast(Exchange, self.exchange)
        self.discard_body()
        connection = b"" if self.settle() else b"Connection: close\r\n"
        data = b"HTTP/1.1 %d %b\r\n%b%bX-CoreRL-Version: %b\r\nX-Request-ID: %b\r\n\r\n" % (
            status,
            HTTPStatus(status).phrase.encode(),
            extra + self._timing(),
            connection,
            __version__.encode(),
            exchange.request_id.encode(),
        )
        self.begin(status, data, 0)
        await self.protocol.drained()
        self.end()

    def _timing(self) -> bytes:
        """For an answer of our own, if clients are to be told."""
        if not self._app.ctx.settings.tracing.server_timing:
            return b""
        return server_timing(cast(Exchange, self.exchange), monotonic())

    async def http1_response_header(self, data: bytes, end_stream: bool) -> None:
        """Send the head of a response that Sanic renders: one of the gateway's own answers."""
        exchange = cast(Exchange, self.exchange)
        response = cast(BaseHTTPResponse, self.response)
        self.discard_body()
        self.settle()
        self.expecting_continue = False  # Sanic would ask for the body now, and this is the answer
        exchange.status = response.status
        self._app.signal_router.announce(RESPONSE, request=self.request, response=response)
        if not self.head_only:
            exchange.bytes_out += len(data or response.body or b"")
        await super().http1_response_header(data, end_stream)


def _persists(head: RequestHead) -> bool:
    """Whether the client keeps the connection (RFC 9112 §9.3)."""
    connection = head.noted.get(b"connection")
    if connection is None:
        return head.minor == 1
    options = connection_options(connection)
    return not options.close and (head.minor == 1 or options.keep_alive)
