"""The client's side of a gateway as each request needs it: bytes that come, and whole answers that go.

A request that needs no waiting is served here, by whoever brings its bytes; the connection's task sleeps on,
and gets what turns out to need waiting after all (`ClientStream.http1`). Among a thousand connections each
request finds the memory of its own gone from the processor's nearer caches: so what it needs of one lies in
this one object, and what it does not need lies in the connection and the stream behind it.
"""

from asyncio import Transport
from time import monotonic
from typing import TYPE_CHECKING, cast

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
from coregateway.http1.grammar import END, TooManyFields
from coregateway.http1.reader import Piece
from coregateway.http1.request import RequestHead
from coregateway.http1.rules import FIELDS, PATH, BrokenRule
from coregateway.outbox import Outlet, outbox
from coregateway.proxy import Passage, begin
from coregateway.server.body import RequestBody
from coregateway.server.frontend import Frontend
from coregateway.server.hold import Hold
from coregateway.target import is_confined

if TYPE_CHECKING:
    from coregateway.server.connection import ClientConnection


class Downstream(Outlet):
    """Of one client connection: the protocol of its transport, and the request under way."""

    __slots__ = (
        "buffer",
        "connection",
        "diverted",
        "exchange",
        "expecting_continue",
        "frontend",
        "has_answer",
        "head",
        "head_only",
        "hold",
        "is_write_paused",
        "keep_alive",
        "passage",
        "patience",
        "peer",
        "peer_bytes",
        "received_at",
        "request_body",
        "resting",
        "served",
        "trusted",
        "wrong",
    )

    def __init__(
        self,
        frontend: Frontend,
        connection: "ClientConnection",
        transport: Transport,
        hold: Hold,
        peer: str,
        peer_bytes: bytes,
    ) -> None:
        self.buffer = b""
        """What has come and nobody has taken."""
        self.received_at = monotonic()
        """When the request that is served now began to come; between two, when the last one ended."""
        self.resting = False
        """Whether the task waits for a head of which nothing has come."""
        self.diverted = False
        """Whether what comes is for the tunnel that the connection is."""
        self.is_write_paused = False
        """Whether the client owes it to take what was written: as the backlog has it, but nearer."""
        self.keep_alive = True
        """Whether the connection may serve another request after this one."""
        self.head_only = False
        """Whether a response goes without its body."""
        self.expecting_continue = False
        self.has_answer = False
        """Whether the whole answer is on its way."""
        self.trusted = peer in frontend.proxies
        """Whether the peer is a trusted proxy."""
        self.served = 0
        """Requests, with the one under way."""
        self.frontend = frontend
        self.connection = connection
        self.exchange: Exchange | None = None
        """Of the request under way; None: there is none."""
        self.head: RequestHead | None = None
        self.passage: Passage | None = None
        """Where a request is that was set on its way at once."""
        self.wrong: Exception | None = None
        """Why the request under way cannot be served."""
        self.request_body: RequestBody | None = None
        """While more of it is to come."""
        self.patience = frontend.client_timeout
        """Seconds that the client may be silent within a body, or leave written bytes untaken."""
        self.peer = peer
        self.peer_bytes = peer_bytes
        self.transport = transport
        self.closing = self.looks = False
        self.descriptor = transport.get_extra_info("socket").fileno()
        self.hold = hold

    # What the loop calls

    def data_received(self, data: bytes) -> None:
        if self.diverted:
            self.connection.divert(data)
            return
        if self.buffer:
            self.buffer += data
        else:
            self.received_at = monotonic()
            self.buffer = data
            if self.resting and self.exchange is None and not self.is_write_paused and self._take(data):
                return
        self.connection.notice()

    def eof_received(self) -> bool:
        return self.connection.eof_received()

    def pause_writing(self) -> None:
        self.connection.pause_writing()

    def resume_writing(self) -> None:
        self.connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self.connection.connection_lost(exc)

    # A request that needs no waiting

    def _take(self, data: bytes) -> bool:
        """Serve the request that these bytes are, or begin with; False: they are for the task."""
        end = data.find(END) + len(END)
        if not len(END) < end <= self.frontend.max_head or data.startswith(b"\r\n"):
            return False
        if end == len(data):
            self.buffer = b""
        else:
            self.buffer = data[end:]
            data = data[:end]
        exchange = self.open(data)
        head = self.head
        try:
            if head is not None and self.wrong is None and self._begin(head, exchange):
                return True
        except Exception as error:
            self.fail(error)
            return True
        self.connection.hand_over()
        return True

    def _begin(self, head: RequestHead, exchange: Exchange) -> bool:
        """Set the request on its way to its backend, if that needs no waiting."""
        frontend = self.frontend
        service = frontend.routes.match(head.path)
        if service is None or head.method == "OPTIONS" or frontend.observed:
            return False
        return begin(service, self, head, exchange)

    def answered(self) -> None:
        """The upstream has answered a request that was begun at once, or failed to."""
        exchange = self.exchange
        passage = self.passage
        if exchange is None or passage is None or self.closing:
            return  # the client has left, and the task has seen it or is about to
        try:
            ended = passage.end()
        except Exception as error:
            self.fail(error)
            return
        if not ended or not self.keep_alive or self.is_write_paused:
            self.connection.hand_over()
            return
        self.finish()
        if self.served == 1 or self.buffer:
            self.connection.rest()

    def fail(self, error: Exception) -> None:
        """A request that was begun at once has waited in vain, or a defect of ours has stopped it."""
        self.wrong = error
        if self.passage is not None:
            self.passage.leave()
        self.connection.hand_over()

    def abandon(self) -> None:
        """The client has left a request that was begun at once."""
        exchange = cast(Exchange, self.exchange)
        self.keep_alive = False
        if self.passage is not None:
            exchange.upstream_ended = monotonic()
            self.passage.leave()
        if exchange.error is None:
            exchange.error = ClientClosed.cause
            exchange.status = ClientClosed.status
        self.finish()

    # The request under way, whoever serves it

    def open(self, raw: bytes | GatewayError) -> Exchange:
        """Open the exchange of a request: its head, or why there is none."""
        self.served += 1
        self.patience = self.frontend.client_timeout
        self.exchange = exchange = Exchange(self.received_at, self.peer)
        if self.buffer:
            self.received_at = monotonic()  # of the next request, which is here already
        try:
            self._check(raw, exchange)
        except GatewayError as error:
            self.wrong = error
            self.keep_alive = False
            begun = raw if isinstance(raw, bytes) else self.buffer
            self.head_only = begun.startswith(b"HEAD ")  # whatever is wrong with the rest of it
            if self.head is None:
                exchange.describe_refused(begun)
        else:
            self.frontend.ledger.start(exchange)
        return exchange

    def _check(self, raw: bytes | GatewayError, exchange: Exchange) -> None:
        """Check a head by all rules that do not depend on the route."""
        if isinstance(raw, GatewayError):
            raise raw
        frontend = self.frontend
        try:
            head = RequestHead(raw)
        except TooManyFields:
            raise HeadTooLarge(FIELDS) from None
        except BrokenRule as error:
            raise BadRequest(error.rule) from None
        self.head = head
        exchange.describe(head, frontend.tracer)
        if self.trusted:
            exchange.client = frontend.client_of(self.peer, head)
        if not is_confined(head.path):
            raise BadRequest(PATH)
        self.keep_alive = persists(head)
        self.head_only = head.method == "HEAD"
        if head.length:
            self._open_body(head, frontend.max_body)

    def _open_body(self, head: RequestHead, max_body: int) -> None:
        if max_body and head.length > max_body:
            raise BodyTooLarge(max_body)
        self.expecting_continue = (
            head.minor == 1 and head.noted.get(b"expect", b"").lower() == b"100-continue"
        )
        self.request_body = RequestBody(head.length, max_body)

    def record_unread(self) -> None:
        """A head that began to come and never will be complete is a request, too."""
        self.exchange = exchange = Exchange(self.received_at, self.peer)
        exchange.request_id = request_id(None)
        if self.frontend.draining:
            exchange.error = Draining.cause
            exchange.status = Draining.status
        else:
            exchange.error = ClientClosed.cause
            exchange.status = ClientClosed.status
        self.finish()

    def finish(self) -> None:
        """The exchange is over: put it on record, and be ready for the next request."""
        exchange = cast(Exchange, self.exchange)
        exchange.ended = monotonic()
        self.frontend.ledger.end(exchange)
        if not self.buffer:
            self.received_at = exchange.ended
        self.exchange = self.head = self.passage = self.wrong = self.request_body = None
        self.head_only = self.expecting_continue = self.has_answer = False

    # What a request and its answer consist of

    @property
    def is_whole(self) -> bool:
        """Whether the request has come in full."""
        body = self.request_body
        return body is None or body.is_whole(len(self.buffer))

    def take(self) -> bytes:
        """All bytes that have come, without waiting; what is not used goes back to `buffer`."""
        data, self.buffer = self.buffer, b""
        if self.hold.lasts:
            self.hold.end()
        return data

    def discard(self) -> None:
        """Drop what has come, and all that will: nobody wants it."""
        self.take()
        self.connection.client_transport.discard()

    def take_body(self) -> bytes:
        """What has come of the body, without waiting. `request_body` tells whether there will be more.

        Raises: as `content`.
        """
        if self.request_body is None or not self.buffer:
            return b""
        self.expecting_continue = False
        return self.content(self.take())

    def content(self, data: bytes) -> bytes:
        """The part of some bytes from the connection that is this body's content; the rest goes back.

        Raises:
            BadRequest: the chunked coding is broken.
            BodyTooLarge: more than `limits.request.max_body` bytes came in chunks.
        """
        exchange = cast(Exchange, self.exchange)
        body = cast(RequestBody, self.request_body)
        content = body.feed(data)
        if body.done:
            self.buffer = body.surplus
            self.request_body = None
        exchange.bytes_in += len(content)
        if 0 < body.limit < exchange.bytes_in:
            raise BodyTooLarge(body.limit)
        return content

    def settle(self) -> bool:
        """Decide, when a response is about to begin, whether the connection is kept after it.

        It is not while the gateway drains, and not while a part of the request's body is still to come.
        """
        if self.request_body is not None or self.frontend.draining:
            self.keep_alive = False
        return self.keep_alive

    def answer(self, data: bytes | list[Piece]) -> None:
        """Write a whole response that nobody waits for; it may be in pieces."""
        if not self.is_write_paused:
            outbox.write(self, data)
        elif isinstance(data, list):  # the rest of the answer before it goes first
            self.transport.writelines(data)
        else:
            self.transport.write(data)
        self.has_answer = True

    def hand_over(self) -> None:
        """Let the task of the connection go on with the request."""
        self.connection.hand_over()
