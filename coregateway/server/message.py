"""What a request and its response are made of on a client connection: a body that comes, bytes that go.

Whatever answers a request does it by the methods of a `ClientMessage`; whose turn it is, and what follows,
`server.stream` knows.
"""

from typing import TYPE_CHECKING, Any, cast

from sanic.http import Http, Stage
from sanic.response import BaseHTTPResponse

from coregateway.errors import GatewayError
from coregateway.exchange import Exchange
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

    __slots__ = ("_app", "downstream")

    protocol: "ClientConnection"  # pyright: ignore[reportIncompatibleVariableOverride] -- always ours
    request: GatewayRequest | None  # pyright: ignore[reportIncompatibleVariableOverride] -- always ours
    response: BaseHTTPResponse | None  # pyright: ignore[reportIncompatibleVariableOverride] -- None until it is
    stage: Stage

    def __init__(self, protocol: "ClientConnection") -> None:
        self.protocol = protocol
        self.downstream = protocol.downstream
        self._send = protocol.send
        self._app = protocol.app
        self.dispatch = protocol.app.dispatch  # pyright: ignore[reportUnknownMemberType] -- Sanic's own overloads
        self.stage = Stage.IDLE
        self.request = self.response = None  # pyright: ignore[reportIncompatibleVariableOverride] -- as declared
        self.upgrade_websocket = False

    # What Sanic's methods know of the request under way

    @property
    def keep_alive(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] -- kept elsewhere
        return self.downstream.keep_alive

    @property
    def head_only(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] -- likewise
        return self.downstream.head_only

    @property
    def expecting_continue(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] -- likewise
        return self.downstream.expecting_continue

    @property
    def request_body(self) -> RequestBody | None:  # pyright: ignore[reportIncompatibleVariableOverride] -- likewise
        return self.downstream.request_body

    @property
    def exchange(self) -> Exchange:
        """Of the request under way: ask for it only while there is one."""
        return cast(Exchange, self.downstream.exchange)

    # The request's body

    async def read(self) -> bytes | None:
        """The next piece of the body, or None at its end.

        Raises:
            BadRequest: the chunked coding is broken.
            BodyTooLarge: more than `limits.request.max_body` bytes came in chunks.
            ClientTimeout: nothing came in time.
        """
        downstream = self.downstream
        while downstream.request_body is not None:
            if downstream.expecting_continue:
                await self.ask_for_body()
            data = downstream.content(await self.protocol.read_body())
            if data:
                return data
        return None

    async def ask_for_body(self) -> None:
        """Tell a client that waits for it to send its body (RFC 9110 §10.1.1), unless it has begun to."""
        self.downstream.expecting_continue = False
        if not self.downstream.buffer:
            await self.protocol.send(CONTINUE)

    def drop_rest(self) -> None:
        """Drop what is still to come of a body that nobody wants, while the answer to it leaves.

        Many clients read no answer before they have sent their whole request; were nothing read of it, an
        answer that does not fit into the kernel's buffers would never leave.
        """
        if self.downstream.request_body is not None:
            self.downstream.keep_alive = False
            self.downstream.discard()

    def discard_body(self) -> None:
        """Drop what has come of a body that nobody wants; one that is not complete costs the connection."""
        try:
            self.downstream.take_body()
        except GatewayError:
            self.downstream.keep_alive = False

    # A response as bytes

    def begin(self, status: int, data: bytes, body: int) -> None:
        """Write the first bytes of a response: its head and as much of its body, of which `body` bytes.

        A client that is slow to take them is waited for by `protocol.drained()`.
        """
        exchange = self.exchange
        exchange.status = status
        exchange.bytes_out += body
        self.stage = Stage.RESPONSE
        self.response = RELAYED  # pyright: ignore[reportIncompatibleVariableOverride] -- as declared
        self.protocol.transport.write(data)

    def relay(self, data: bytes, body: int) -> None:
        """Write the next bytes of a response, of which `body` are content; the rest is chunk framing."""
        self.exchange.bytes_out += body
        self.protocol.transport.write(data)

    def end(self) -> None:
        """The response is complete."""
        self.stage = Stage.IDLE

    def abort(self) -> None:
        """The response cannot be completed: end the connection so that the client can tell."""
        head = self.downstream.head
        self.downstream.keep_alive = False
        self.stage = Stage.IDLE
        if head is not None and not head.minor:
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
        exchange = self.exchange
        response = cast(BaseHTTPResponse, self.response)
        self.discard_body()
        self.downstream.settle()
        self.downstream.expecting_continue = False  # Sanic would ask for the body now, and this is the answer
        exchange.status = response.status
        self._app.signal_router.announce(RESPONSE, request=self.request, response=response)
        if not self.head_only:
            exchange.bytes_out += len(data or response.body or b"")
        if end_stream:
            self.drop_rest()
        await super().http1_response_header(data, end_stream)

    async def http1_response_chunked(self, data: bytes, end_stream: bool) -> None:
        """Send the next piece of an own answer whose length was not known."""
        self.exchange.bytes_out += len(data)
        await super().http1_response_chunked(data, end_stream)

    async def http1_response_normal(self, data: bytes, end_stream: bool) -> None:
        """Send the next piece of an own answer whose length was known."""
        self.exchange.bytes_out += len(data)
        await super().http1_response_normal(data, end_stream)

    async def end_own_answer(self) -> None:
        """A handler that streams with Sanic's means may leave the end to its server."""
        if self.stage is Stage.RESPONSE and self.response is not None:
            await self.response.send(end_stream=True)
