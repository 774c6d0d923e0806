"""What a request and its response are made of on a client connection: a body that comes, bytes that go.

Whatever answers a request does it by the methods of a `ClientMessage`; whose turn it is, and what follows,
`server.stream` knows.
"""

from typing import TYPE_CHECKING, Any, cast

from sanic.http import Http, Stage
from sanic.response import BaseHTTPResponse

from coregateway.errors import BodyTooLarge, GatewayError
from coregateway.exchange import Exchange
from coregateway.http1.reader import Piece
from coregateway.http1.request import RequestHead
from coregateway.outbox import outbox
from coregateway.server.body import RequestBody
from coregateway.server.request import GatewayRequest
from coregateway.server.signals import RESPONSE

if TYPE_CHECKING:
    from coregateway.server.connection import ClientConnection

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Relayed(BaseHTTPResponse):
    """Stands for a response whose bytes the handler wrote itself; there is nothing left for Sanic to send."""

    __slots__ = ()

    async def send(self, data: Any = None, end_stream: bool | None = None) -> None:
        """Nothing: the response is out."""


RELAYED = Relayed()


class ClientMessage(Http):
    """Sanic's `Http` as far as it reads bodies and writes responses, for one request after the other."""

    __slots__ = ("_app", "exchange", "head")

    protocol: "ClientConnection"  # pyright: ignore[reportIncompatibleVariableOverride] -- always ours
    request: GatewayRequest | None  # pyright: ignore[reportIncompatibleVariableOverride] -- always ours
    response: BaseHTTPResponse | None  # pyright: ignore[reportIncompatibleVariableOverride] -- None until it is
    request_body: RequestBody | None  # pyright: ignore[reportIncompatibleVariableOverride] -- while more is to come
    head_only: bool  # pyright: ignore[reportIncompatibleVariableOverride] -- whether a response goes without its body
    stage: Stage

    def __init__(self, protocol: "ClientConnection") -> None:
        self.protocol = protocol
        self._send = protocol.send
        self._app = protocol.app
        self.dispatch = protocol.app.dispatch  # pyright: ignore[reportUnknownMemberType] -- Sanic's own overloads
        self.keep_alive = True
        self.stage = Stage.IDLE
        self.exchange: Exchange | None = None
        self.head: RequestHead | None = None

    # The request's body

    @property
    def is_whole(self) -> bool:
        """Whether the request has come in full."""
        body = self.request_body
        return body is None or body.is_whole(len(self.protocol.buffer))

    async def read(self) -> bytes | None:
        """The next piece of the body, or None at its end.

        Raises:
            BadRequest: the chunked coding is broken.
            BodyTooLarge: more than `limits.request.max_body` bytes came in chunks.
            ClientTimeout: nothing came in time.
        """
        while self.request_body is not None:
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
        if self.request_body is None or not self.protocol.buffer:
            return b""
        self.expecting_continue = False
        return self._content(self.protocol.take())

    def _content(self, data: bytes) -> bytes:
        """The part of some bytes from the connection that is this body's content; the rest goes back."""
        exchange = cast(Exchange, self.exchange)
        body = cast(RequestBody, self.request_body)
        content = body.feed(data)
        if body.done:
            self.protocol.buffer = body.surplus
            self.request_body = None
        exchange.bytes_in += len(content)
        if 0 < body.limit < exchange.bytes_in:
            raise BodyTooLarge
        return content

    def discard_body(self) -> None:
        """Drop what has come of a body that nobody wants; one that is not complete costs the connection."""
        try:
            self.take_body()
        except GatewayError:
            self.keep_alive = False

    # A response as bytes

    def settle(self) -> bool:
        """Decide, when a response is about to begin, whether the connection is kept after it.

        It is not while the gateway drains, and not while a part of the request's body is still to come.
        """
        if self.request_body is not None or self._app.ctx.draining:
            self.keep_alive = False
        return self.keep_alive

    def answer(self, data: bytes | list[Piece]) -> None:
        """Write a whole response that nobody waits for; it may be in pieces."""
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

    # For Sanic

    def as_request(self) -> GatewayRequest:
        """The request as Sanic's handlers know it; only they need it."""
        if self.request is None:
            self.exception = None
            self.response_func = self.http1_response_header
            self.request = GatewayRequest(self)  # pyright: ignore[reportIncompatibleVariableOverride] -- as declared
        return self.request

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

    async def end_own_answer(self) -> None:
        """A handler that streams with Sanic's means may leave the end to its server."""
        if self.stage is Stage.RESPONSE and self.response is not None:
            await self.response.send(end_stream=True)
