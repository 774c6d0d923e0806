"""The client's side of a request, as the code that forwards it needs it. `downstream` implements it."""

from contextvars import Context
from typing import TYPE_CHECKING

from coregateway.http1.reader import Piece
from coregateway.http1.request import RequestHead
from coregateway.model.errors import GatewayError
from coregateway.model.exchange import Exchange
from coregateway.net.budgeted_reader import Source
from coregateway.net.transport import Receiver, Transport
from coregateway.upstream.roles import Peer

if TYPE_CHECKING:
    from coregateway.proxy.forwarded_request import ForwardedRequest
    from coregateway.proxy.route import Forwarding, Route
    from coregateway.proxy.worker import Worker


class Client(Receiver):
    """One client connection, and the request that it serves at the moment."""

    __slots__ = (
        "context",
        "exchange",
        "forwarded",
        "forwarding",
        "head",
        "is_write_paused",
        "keep_alive",
        "patience",
        "peer",
        "peer_bytes",
        "route",
        "scheme",
        "source",
        "transport",
        "trusted",
        "worker",
    )

    worker: "Worker"
    transport: Transport
    peer: str
    """The address of the connection's other end."""
    peer_bytes: bytes
    scheme: bytes
    """How the client has come: `http`, or `https` over TLS."""
    trusted: bool
    """Whether the peer is a trusted proxy."""
    exchange: Exchange | None
    """Of the request that is served; None between two requests."""
    head: RequestHead | None
    route: "Route | None"
    """Of the request; None between two requests, and while none is found."""
    forwarding: "Forwarding | None"
    """Where the request goes, which a step of admission may decide; None: to no backend."""
    context: Context | None
    """That of the request in which the application's middleware runs; None: it has not seen the request."""
    forwarded: "ForwardedRequest | None"
    """The request on its way to a backend, while no task serves it."""
    keep_alive: bool
    """Whether the connection may serve another request after this one."""
    patience: float
    """Seconds that the client may be silent within a body, or leave written bytes untaken."""
    is_write_paused: bool
    """Whether the client has not taken all that was written."""
    source: Source | None
    """Where a streamed response comes from; it is read no further while the client takes nothing."""

    # The request

    def has_whole_request(self) -> bool:
        """Whether the request's body is in the buffer to its last byte, or there is none."""
        raise NotImplementedError

    def has_body_left(self) -> bool:
        """Whether a part of the request's body was not taken yet."""
        raise NotImplementedError

    def take_body(self) -> bytes:
        """The content of the body that has come, without waiting.

        Raises: as `read_body`.
        """
        raise NotImplementedError

    def return_body(self, content: bytes) -> None:
        """Have content that was taken or read be what is taken next: it was looked at, and goes on."""
        raise NotImplementedError

    async def ask_for_body(self) -> None:
        """Tell a client that waits for it to send its body (RFC 9110 §10.1.1), unless it has begun to."""
        raise NotImplementedError

    def drop_rest(self) -> None:
        """Drop what is still to come of the body, while the answer to it leaves.

        Many clients read no answer before they have sent their whole request. If nothing were read of it, an
        answer that does not fit into the kernel's buffers would never leave.
        """
        raise NotImplementedError

    async def read_body(self) -> bytes | None:
        """The next content of the body, or None at its end.

        Raises:
            BadRequest: the chunked coding is broken.
            BodyTooLarge: more than `limits.request.max_body` bytes came in chunks.
            ClientTimeout: nothing came in time.
        """
        raise NotImplementedError

    def hold(self) -> None:
        """Read no more until the body is asked for."""
        raise NotImplementedError

    def expect_stream(self) -> None:
        """A body is about to be streamed: let one read bring more."""
        raise NotImplementedError

    # The response

    def settle(self) -> bool:
        """Decide, when a response is about to begin, whether the connection is kept after it."""
        raise NotImplementedError

    def respond(self, status: int, data: bytes | list[Piece], size: int) -> None:
        """Write a whole response, with `size` bytes of content, at the end of this turn of the loop."""
        raise NotImplementedError

    def begin_response(self, status: int, data: bytes, size: int) -> None:
        """Write the first bytes of a response: its head, and `size` bytes of content."""
        raise NotImplementedError

    def relay(self, data: bytes, size: int) -> None:
        """Write the next bytes of a response, of which `size` are content and the rest is chunk framing."""
        raise NotImplementedError

    async def drained(self) -> None:
        """Wait until the client has taken everything that was written."""
        raise NotImplementedError

    def break_off(self) -> None:
        """End the connection so that the client can tell that the response is not complete."""
        raise NotImplementedError

    def reset(self) -> None:
        """End the connection by a reset (RFC 9293 §3.5.2)."""
        raise NotImplementedError

    def refuse(self, error: GatewayError) -> None:
        """Answer with a problem document."""
        raise NotImplementedError

    # What follows

    def complete(self) -> None:
        """The request has its answer: record it, and be ready for the next one, or end the connection."""
        raise NotImplementedError

    def continue_in_task(self) -> None:
        """Serve the rest of the request in a task, for it has to wait."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """End the request that no task serves with an error."""
        raise NotImplementedError

    def open_tunnel(self, tunnel: Peer) -> bytes:
        """Hand each further byte of the client to a tunnel; returns those that are here already."""
        raise NotImplementedError

    def catch_up(self) -> None:
        """Read at once what the kernel holds: a time limit has passed, and these bytes came before it."""
        raise NotImplementedError
