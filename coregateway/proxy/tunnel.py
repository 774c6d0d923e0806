"""After a 101: bytes both ways, untouched, until either side ends (RFC 9110 §7.8)."""

from asyncio import AbstractEventLoop, Future
from select import POLLIN
from typing import TYPE_CHECKING
from typing import Protocol as Interface

from coregateway.http1.response import ResponseHead
from coregateway.model.exchange import Exchange
from coregateway.net.deadline import Deadline
from coregateway.proxy import answer
from coregateway.proxy.client import Client
from coregateway.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from coregateway.proxy.forwarded_request import ForwardedRequest


class _Side(Interface):
    """The transport of either side."""

    def write(self, data: bytes) -> None: ...
    def write_eof(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool: ...
    def close(self) -> None: ...


class _Direction:
    """What arrives on one side and leaves on the other. A `Peer` for the side that it listens to."""

    def __init__(self, tunnel: "_Tunnel", target: _Side, *, upwards: bool) -> None:
        self._tunnel = tunnel
        self._target = target
        self._upwards = upwards

    def receive(self, data: bytes) -> None:
        self._tunnel.active()
        exchange = self._tunnel.exchange
        if self._upwards:
            exchange.bytes_in += len(data)
        else:
            exchange.bytes_out += len(data)
        if data and not self._target.is_closing():
            self._target.write(data)

    def receive_eof(self) -> None:
        """Half-closed: the other direction may go on."""
        self._tunnel.half_closed(self._target)

    def lost(self) -> None:
        """The side that this listens to is gone: the other gets what is on the way, then its end."""
        self._tunnel.end()  # first: the end of the target, which follows, would pass for the client's leaving
        self._target.close()

    def pause(self) -> None:
        """The side that this listens to takes no more bytes: stop reading the other."""
        if not self._target.is_closing():
            self._target.pause_reading()

    def resume(self) -> None:
        if not self._target.is_closing():
            self._target.resume_reading()


class _Tunnel:
    def __init__(
        self,
        loop: AbstractEventLoop,
        client: Client,
        connection: UpstreamConnection,
        exchange: Exchange,
        idle: float,
    ) -> None:
        self.exchange = exchange
        self.ended: Future[None] = loop.create_future()
        self._catch_up = client.catch_up
        self._client: _Side = client.transport
        self._connection = connection
        self._idle = idle
        self._half_closed: _Side | None = None
        """That of the side to which nothing more is sent, as the other has ended."""
        self._silence = Deadline(loop, self._silent)
        self._silence.within(idle)

    def active(self) -> None:
        self._silence.within(self._idle)

    def half_closed(self, target: _Side) -> None:
        if self._half_closed is not None:
            self.end()
        elif not target.is_closing():
            self._half_closed = target
            target.write_eof()

    def end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def close(self) -> None:
        self._silence.close()
        self._client.close()
        self._connection.transport.close()

    def _silent(self) -> None:
        if self._half_closed is not self._client and self._connection.is_ready(POLLIN):
            self.active()
        self._catch_up()
        if not self._silence.pending:
            self.end()


async def carry(request: "ForwardedRequest", response: ResponseHead, connection: UpstreamConnection) -> None:
    """Tell the client that the backend has agreed to speak WebSocket, and pass bytes until the tunnel ends.

    Raises: as `run`.
    """
    client = request.client
    exchange = request.exchange
    backend = request.forwarding.backend
    client.keep_alive = False
    client.begin_response(101, answer.render(request, response, chunked=False), 0)
    await client.drained()
    client.worker.events.open_tunnel(exchange)
    backend.tunnels += 1
    try:
        await run(client, connection, exchange, idle=request.forwarding.tunnel_idle)
    finally:
        backend.tunnels -= 1


async def run(client: Client, connection: UpstreamConnection, exchange: Exchange, *, idle: float) -> None:
    """Pass bytes between a client and an upstream; returns when the tunnel has ended.

    `idle`: seconds without a byte either way after which it ends. Backpressure: a side that takes no more
    bytes stops the reading of the other.

    Raises:
        GatewayError: it was ended by `cancel`, as at the end of a shutdown's grace.
    """
    tunnel = _Tunnel(client.worker.loop, client, connection, exchange, idle)
    upwards = _Direction(tunnel, connection.transport, upwards=True)
    downwards = _Direction(tunnel, client.transport, upwards=False)
    try:
        upwards.receive(client.open_tunnel(upwards))
        downwards.receive(connection.switch(downwards))
        await tunnel.ended
        connection.check()
    finally:
        tunnel.close()
