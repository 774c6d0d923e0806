"""One request as Sanic's handlers have it, over a connection that the gateway serves itself."""

from asyncio import AbstractEventLoop, BaseProtocol, Task, wait
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, cast

from sanic.http import Http, Stage
from sanic.models.server_types import ConnInfo
from sanic.response import BaseHTTPResponse

from coregateway.downstream.body import RequestBody
from coregateway.downstream.connection import ClientConnection
from coregateway.downstream.states import State
from coregateway.logs.events import event
from coregateway.model.errors import BodyTooLarge, MiddlewareFailed
from coregateway.model.exchange import Exchange
from coregateway.net.transport import Transport
from coregateway.sanic_app.observed_transport import ObservedTransport
from coregateway.sanic_app.request import GatewayRequest
from coregateway.sanic_app.signals import RESPONSE
from coregateway.sanic_app.websocket import OwnWebSocket

if TYPE_CHECKING:
    from coregateway.sanic_app.gateway import Gateway


class Relayed(BaseHTTPResponse):
    """Stands for a response that was forwarded; there is nothing left for Sanic to send. It has a status."""

    __slots__ = ()

    def __init__(self, status: int | None) -> None:
        super().__init__()
        self.status = cast(int, status)  # None where it was cut off

    async def send(self, data: Any = None, end_stream: bool | None = None) -> None:
        """Nothing: the response is out."""


class ConnectionInfo(ConnInfo):
    """Sanic's; the connection tells whether it is lost, and over TLS the name and the certificate."""

    __slots__ = ("_client",)

    def __init__(self, client: ClientConnection) -> None:
        self._client = client
        transport = client.transport
        super().__init__(cast(Any, transport))  # pyright: ignore[reportUnknownMemberType] -- untyped
        if self.ssl:
            self.server_name = transport.get_extra_info("server_name")
            self.cert = {"names": list(transport.get_extra_info("certificate").names)}

    @property
    def lost(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] -- looked up
        return self._client.state is State.CLOSED

    @lost.setter
    def lost(self, _: bool) -> None:
        """Sanic begins with a value of its own."""


class HandlersTransport:
    """The transport of a connection, as handlers have it: one that knows Sanic's protocol."""

    __slots__ = ("_protocol", "_transport")

    def __init__(self, transport: Transport, protocol: "SanicConnection") -> None:
        self._transport = transport
        self._protocol = protocol

    def get_protocol(self) -> "SanicConnection":
        return self._protocol

    def can_write_eof(self) -> bool:
        """Whether one direction can end alone: always, over TLS by a close_notify. Sanic's WebSocket asks."""
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class SanicConnection(BaseProtocol):
    """What Sanic knows of one connection, made for the first request that reaches Sanic on it."""

    __slots__ = (
        "_observed",
        "access_log",
        "app",
        "begun",
        "conn_info",
        "connection",
        "loop",
        "serving",
        "transport",
    )

    def __init__(self, app: "Gateway", connection: ClientConnection) -> None:
        self.app = app
        self.connection = connection
        self.access_log = False
        self.loop: AbstractEventLoop = connection.worker.loop
        self.transport = HandlersTransport(connection.transport, self)
        self.conn_info = ConnectionInfo(connection)
        self.begun: Task[None] | None = None
        """Tells the subscribers of `http.lifecycle.begin`, for whom the first request waits."""
        self.serving: Task[Any] | None = None
        """Of the request that is served."""
        transport = connection.transport
        self._observed = transport if isinstance(transport, ObservedTransport) else None

    @property
    def ctx(self) -> Any:
        """What handlers keep of the connection."""
        return self.conn_info.ctx

    async def send(self, data: bytes) -> None:
        """Write; returns when the client has room for more."""
        connection = self.connection
        transport = connection.transport
        if self._observed is not None:
            await self.app.ctx.http_events.tell_send(data)
            transport = self._observed.inner
        transport.write(data)
        del data  # what of it was sent need not wait here for the rest
        if connection.is_write_paused:
            await connection.drained()

    async def websocket_handshake(self, request: Any, subprotocols: Sequence[str] | None = None) -> Any:
        """As `OwnWebSocket.websocket_handshake`, for the request that is served."""
        return await OwnWebSocket(request.stream).websocket_handshake(request, subprotocols)


class SanicStream(Http):
    """Sanic's `Http` for one request, with its parsing and its loop replaced."""

    __slots__ = ("_app", "client")

    protocol: SanicConnection  # pyright: ignore[reportIncompatibleVariableOverride] -- always ours
    request: GatewayRequest | None  # pyright: ignore[reportIncompatibleVariableOverride] -- always ours
    response: BaseHTTPResponse | None  # pyright: ignore[reportIncompatibleVariableOverride] -- None until it is
    stage: Stage

    def __init__(self, app: "Gateway", client: ClientConnection, request: GatewayRequest) -> None:
        self.protocol = known = app.connection_of(client)
        self.client = client
        self._app = app
        self._send = known.send
        self.dispatch = app.dispatch  # pyright: ignore[reportUnknownMemberType] -- Sanic's own overloads
        self.stage = Stage.HANDLER
        self.response = None  # pyright: ignore[reportIncompatibleVariableOverride] -- as declared
        self.upgrade_websocket = False
        self.exception = None
        self.response_func = self.http1_response_header
        self.request = request  # pyright: ignore[reportIncompatibleVariableOverride] -- as declared

    # What Sanic's methods know of the request

    @property
    def keep_alive(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] -- kept elsewhere
        return self.client.keep_alive

    @keep_alive.setter
    def keep_alive(self, kept: bool) -> None:
        self.client.keep_alive = kept

    @property
    def head_only(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] -- likewise
        return self.client.head_only

    @property
    def expecting_continue(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] -- likewise
        return self.client.expecting_continue

    @property
    def request_body(self) -> RequestBody | None:  # pyright: ignore[reportIncompatibleVariableOverride] -- likewise
        client = self.client
        if self.request is not None and self.request.chain is not None and self.exchange.attempts:
            return None  # it is the backend's
        return client.request_body

    @property
    def exchange(self) -> Exchange:
        """Of the request."""
        return cast(Exchange, self.client.exchange)

    async def read(self) -> bytes | None:
        """The next piece of the body, or None at its end.

        What a middleware reads of a request that is forwarded is kept for the backend.

        Raises: as `Client.read_body`; `BodyTooLarge`: a middleware may not read so much.
        """
        client = self.client
        request = self.request
        if request is None or request.chain is None:
            data = await client.read_body()
            if data and self._app.ctx.http_events.body:
                await self._app.ctx.http_events.tell_body(data)
            return data
        most = request.chain.most_body
        head = request.parsed
        if head.length > most:
            raise BodyTooLarge(most)
        piece = await client.read_body()
        if piece is not None:
            client.read_ahead += piece
            if len(client.read_ahead) > most:
                raise BodyTooLarge(most)
        return piece

    # The request

    async def serve(self) -> None:
        """Have it served by the application, as Sanic's `Http.http1` does."""
        request = cast(GatewayRequest, self.request)
        try:
            await self._begin(request)
            await self._app.handle_request(request)
            await self.end_own_answer()
        except Exception as error:  # handlers' own were answered
            if self.stage is Stage.RESPONSE:
                self.keep_alive = False
                raise
            await self._answer_failure(error)

    async def _answer_failure(self, error: Exception) -> None:
        """Answer by Sanic's handlers of exceptions. Raises `MiddlewareFailed` where one of them fails."""
        try:
            await self.error_response(error)  # pyright: ignore[reportUnknownMemberType] -- untyped
        except Exception as failure:
            if self.exchange.status is not None:
                raise
            event("request.failed", level="ERROR", exception=failure)
            raise MiddlewareFailed from failure

    async def _begin(self, request: GatewayRequest) -> None:
        """Let subscribers see what has come; one of them that fails ends the request and its connection."""
        begun = self.protocol.begun
        if begun is not None and not begun.done():
            await wait({begun})
        events = self._app.ctx.http_events
        if not events.of_heads:
            request.become_current()
            return
        self.stage = Stage.REQUEST
        await events.tell_head(request.head)
        request.become_current()
        await events.tell_request(request)
        self.stage = Stage.HANDLER

    # The response

    async def http1_response_header(self, data: bytes, end_stream: bool) -> None:
        """Send the head of a response that Sanic renders: one of the gateway's own answers."""
        client = self.client
        exchange = self.exchange
        response = cast(BaseHTTPResponse, self.response)
        client.worker.io.writer.flush()  # an earlier answer may wait in it
        client.discard_body()
        client.settle()
        client.expecting_continue = False  # Sanic would ask for the body now, and this is the answer
        exchange.status = response.status
        self._app.signal_router.announce(RESPONSE, request=self.request, response=response)
        if not self.head_only:
            exchange.bytes_out += len(data or response.body or b"")
        if end_stream:
            client.drop_rest()
        await super().http1_response_header(data, end_stream)

    async def http1_response_chunked(self, data: bytes, end_stream: bool) -> None:
        """Send the next piece of an own answer whose length was not known."""
        self.exchange.bytes_out += len(data)
        await super().http1_response_chunked(data, end_stream)

    async def http1_response_normal(self, data: bytes, end_stream: bool) -> None:
        """Send the next piece of an own answer whose length was known."""
        self.exchange.bytes_out += len(data)
        await super().http1_response_normal(data, end_stream)

    async def head_response_ignored(self, data: bytes, end_stream: bool) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] -- see below
        """Send no piece of an own answer to a HEAD. Sanic awaits this, but its own is no coroutine: a handler
        that streams would fail behind its head."""
        super().head_response_ignored(data, end_stream)

    async def end_own_answer(self) -> None:
        """A handler that streams with Sanic's means may leave the end to its server."""
        if self.stage is Stage.RESPONSE and self.response is not None:
            await self.response.send(end_stream=True)

    async def relay(self, forwarding: Coroutine[Any, Any, None]) -> None:
        """Forward the request, as the handler of a backend's route does.

        Raises: `GatewayError`, where nothing of an answer has been sent: it is Sanic's to give one.
        """
        try:
            await forwarding
        finally:
            if self.exchange.status is not None:
                if self.response is None:
                    self.response = Relayed(self.exchange.status)  # pyright: ignore[reportIncompatibleVariableOverride] -- as declared
                self.stage = Stage.IDLE
