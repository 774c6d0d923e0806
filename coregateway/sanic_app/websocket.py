"""WebSockets on own routes: Sanic's own protocol over a connection that the gateway serves itself."""

from asyncio import CancelledError, Task, Transport, current_task
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast, override

from sanic.request import Request
from sanic.server import HttpProtocol
from sanic.server.protocols.websocket_protocol import WebSocketProtocol
from sanic.server.websockets.impl import WebsocketImplProtocol
from websockets.frames import CloseCode

from coregateway import __version__
from coregateway.downstream.states import State

if TYPE_CHECKING:
    from coregateway.sanic_app.stream import SanicStream

type _Take = Callable[[Any, Any], Awaitable[None]]

_LINE_END = b"\r\n"


class _Handshaking(HttpProtocol):
    """Stands between Sanic's WebSocket and its writing, which shows what is sent."""

    __slots__ = ()

    @override
    async def send(self, data: bytes) -> None:  # pyright: ignore[reportUnknownMemberType] -- untyped
        data = self._sent(data)
        await super().send(data)  # pyright: ignore[reportUnknownMemberType] -- likewise

    def _sent(self, data: bytes) -> bytes:
        raise NotImplementedError


class OwnWebSocket(WebSocketProtocol, _Handshaking):  # pyright: ignore[reportIncompatibleMethodOverride] -- Sanic's own
    """Of one request. After the handshake it is a `Peer` of the client's connection."""

    __slots__ = ("_client", "_exchange", "_request", "_taking")

    def __init__(self, stream: "SanicStream") -> None:
        connection = stream.protocol
        config = connection.app.config
        super().__init__(  # pyright: ignore[reportUnknownMemberType] -- untyped
            loop=connection.loop,
            app=connection.app,
            websocket_max_size=config.WEBSOCKET_MAX_SIZE,
            websocket_ping_interval=config.WEBSOCKET_PING_INTERVAL,
            websocket_ping_timeout=config.WEBSOCKET_PING_TIMEOUT,
        )
        self.transport = cast(Transport, connection.transport)
        self.conn_info = connection.conn_info
        self._http = stream
        self._client = stream.client
        self._exchange = stream.exchange
        self._request = stream.request
        self._taking: set[Task[Any]] = set()

    @override
    async def websocket_handshake(self, request: Request, subprotocols: Sequence[str] | None = None) -> Any:
        """Answer with a 101, and take the client's bytes from then on.

        Raises `SanicException`: the request asks for no WebSocket, or for one that is not spoken here.
        """
        client = self._client
        websocket: Any = await super().websocket_handshake(request, subprotocols)  # pyright: ignore[reportUnknownMemberType] -- untyped
        if client.state is not State.TASK:
            raise CancelledError  # the client has left
        websocket.async_data_received = partial(self._take, websocket, websocket.async_data_received)
        data = client.open_tunnel(self)
        if data:
            self.receive(data)
        return websocket

    async def _take(self, websocket: WebsocketImplProtocol, take: _Take, to_send: Any, events: Any) -> None:
        """Have Sanic's `take` process what one read has brought.

        Sanic starts a task for each read and forgets it. The task waits until the handler has read the
        messages, so it must end with the connection; and its errors must be handled here.
        """
        if self._client.state is State.CLOSED:
            return
        task = cast(Task[Any], current_task())
        self._taking.add(task)
        try:
            await take(to_send, events)
        except UnicodeDecodeError:  # RFC 6455 §8.1
            websocket.fail_connection(CloseCode.INVALID_DATA)
        finally:
            self._taking.discard(task)

    @override
    def _sent(self, data: bytes) -> bytes:
        exchange = self._exchange
        if self.websocket is not None:
            exchange.bytes_out += len(data)
            return data
        exchange.status = 101
        if self._request is not None and self._request.route is not None:
            exchange.route = f"/{self._request.route.path}"
        own = f"X-CoreRL-Version: {__version__}\r\nX-Request-ID: {exchange.request_id}\r\n"
        return data.removesuffix(_LINE_END) + own.encode() + _LINE_END

    # What the connection tells

    def receive(self, data: bytes) -> None:
        self._exchange.bytes_in += len(data)
        self.data_received(data)

    def receive_eof(self) -> None:
        self.eof_received()

    def lost(self) -> None:
        self.connection_lost(None)  # pyright: ignore[reportUnknownMemberType] -- untyped
        for task in self._taking:
            task.cancel()

    def pause(self) -> None:
        self.pause_writing()

    def resume(self) -> None:
        self.resume_writing()
