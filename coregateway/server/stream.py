"""One request after the other on a client connection: strict heads and bodies, responses as bytes.

The life of a request begins and ends here: its head is read and checked, an `Exchange` is opened, the
gateway's handler runs, and whatever came of it the exchange is closed and announced, exactly once.
"""

from asyncio import CancelledError
from time import monotonic
from typing import TYPE_CHECKING, cast

from sanic.http import Stage

from coregateway.errors import (
    BadRequest,
    BodyTooLarge,
    ClientClosed,
    Draining,
    GatewayError,
    HeadTooLarge,
)
from coregateway.exchange import Exchange, request_id
from coregateway.http1.framing import persists
from coregateway.http1.grammar import END, MalformedHTTP, TooManyFields
from coregateway.http1.request import RequestHead
from coregateway.server.answers import send_problem
from coregateway.server.body import RequestBody
from coregateway.server.message import ClientMessage
from coregateway.target import is_confined

if TYPE_CHECKING:
    from coregateway.proxy import Passage
    from coregateway.server.connection import ClientConnection


class ClientStream(ClientMessage):
    """Sanic's `Http` with its parsing and its loop replaced, too."""

    __slots__ = ("_max_head", "_wrong", "passage")

    def __init__(self, protocol: "ClientConnection") -> None:
        super().__init__(protocol)
        self._max_head = protocol.app.ctx.settings.limits.request.max_head
        self._wrong: Exception | None = None
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
                await send_problem(self, self._wrong)
            elif self._wrong is not None:
                await self._app.handle_exception(self.as_request(), self._wrong)
            elif self.stage is Stage.IDLE:
                await self.protocol.drained()  # it has its answer
            else:
                await self._app.handle(self)
                await self.end_own_answer()
            if self.request_body is not None:
                # What came of the body was not wanted; the rest may be endless.
                self.keep_alive = False
        except CancelledError:
            self.keep_alive = False
            if exchange.error is None:
                exchange.error = ClientClosed.cause
                exchange.status = ClientClosed.status
            raise
        finally:
            self._finish(exchange)
            self._app.signal_router.end_turn()  # the client has its response, so it should be on record

    # A request that needs no waiting is served by whoever brings its bytes; the loop's task sleeps on.

    def take(self, data: bytes) -> bool:
        """Serve the request that these bytes are, or begin with; False: they are for the loop's task.

        What turns out to need waiting is handed over to the task.
        """
        end = data.find(END) + len(END)
        if self.exchange is not None or not len(END) < end <= self._max_head or data.startswith(b"\r\n"):
            return False
        if end == len(data):
            self.protocol.buffer = b""
        else:
            self.protocol.buffer = data[end:]
            data = data[:end]
        exchange = self._start(data)
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
        exchange = self.exchange
        passage = self.passage
        if exchange is None or passage is None or connection.transport.is_closing():
            return  # the client has left, and the task has seen it or is about to
        try:
            ended = passage.end()
        except Exception as error:
            self.fail(error)
            return
        if ended and self.keep_alive and not connection.is_write_paused:
            self._finish(exchange)
            self._reset()
            connection.rest(exchange.ended)
        else:
            connection.hand_over()

    def fail(self, error: Exception) -> None:
        """A request that was begun at once has waited in vain, or a defect of ours has stopped it."""
        self._wrong = error
        if self.passage is not None:
            self.passage.leave()
        self.protocol.hand_over()

    def _abandon(self) -> None:
        """The client has left a request that was begun at once."""
        exchange = cast(Exchange, self.exchange)
        self.keep_alive = False
        if self.passage is not None:
            exchange.upstream_ended = monotonic()
            self.passage.leave()
        if exchange.error is None:
            exchange.error = ClientClosed.cause
            exchange.status = ClientClosed.status
        self._finish(exchange)

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
        connection.patience = connection.timeouts.client
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
            self._app.signal_router.start(exchange)
        return exchange

    def _record_unread(self) -> None:
        """A head that began to come and never will be complete is a request, too."""
        connection = self.protocol
        self.exchange = exchange = Exchange(connection.received_at, connection.peer)
        exchange.request_id = request_id(None)
        cause: type[GatewayError] = Draining if self._app.ctx.draining else ClientClosed
        exchange.error = cause.cause
        exchange.status = cause.status
        self._finish(exchange)

    def _open(self, raw: bytes | GatewayError, exchange: Exchange) -> None:
        """Check a head by all rules that do not depend on the route."""
        if isinstance(raw, GatewayError):
            raise raw
        context = self._app.ctx
        try:
            head = RequestHead(raw)
        except TooManyFields:
            raise HeadTooLarge from None
        except MalformedHTTP:
            raise BadRequest from None
        self.head = head
        exchange.describe(head, context.tracer)
        if self.protocol.trusted:
            exchange.client = context.client_of(self.protocol, head)
        if not is_confined(head.path):
            raise BadRequest
        self.keep_alive = persists(head)
        self.head_only = head.method == "HEAD"
        if head.length:
            self._open_body(head, context.settings.limits.request.max_body)

    def _open_body(self, head: RequestHead, max_body: int) -> None:
        if max_body and head.length > max_body:
            raise BodyTooLarge
        self.expecting_continue = (
            head.minor == 1 and head.noted.get(b"expect", b"").lower() == b"100-continue"
        )
        self.request_body = RequestBody(head.length, max_body)

    def announce(self, name: str, **context: object) -> None:
        """Tell the subscribers of an event what happened to the exchange."""
        self._app.signal_router.announce(name, exchange=self.exchange, **context)

    def _finish(self, exchange: Exchange) -> None:
        exchange.ended = monotonic()
        self._app.signal_router.finish(exchange)
        if self.request is not None:
            self.request.stream = None
