"""One request from the client's head to the recorded outcome.

Most come whole and are answered whole. They need no task:

    begin      take a connection that rests, or a place in line              `begin`
    set out    send head and body, at once or when its turn has come         `Passage.set_out`
    end        answer, when the whole response is there                      `Passage.end`

Whatever has to wait for anything else takes these steps in a task, from wherever it is (`serve`):

    refuse     a path or method that this backend does not serve             `Passage.carry`
    attempt    take a connection, send the head and what there is of a body  `Passage._attempt`
    retry      only what was provably not processed                          `retry.may_retry`
    pump       stream the rest of the body, while the answer may come        `relay.upwards`
    relay      render the response head, then its body as it arrives         `relay.downwards`
    tunnel     after a 101: bytes both ways until either side ends           `tunnel.run`

Whatever happens, the connection goes back to its pool exactly once, the client either gets a complete
response or sees that it did not, and the exchange carries the outcome to its record.
"""

from asyncio import Task, create_task
from collections.abc import Coroutine
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, cast

from mypy_extensions import mypyc_attr

from coregateway import relay, tunnel
from coregateway.errors import GatewayError, MethodNotAllowed, UpstreamError, UpstreamProtocolError
from coregateway.exchange import Exchange
from coregateway.headers import WEBSOCKET, Outgoing
from coregateway.http1.chunked import chunks
from coregateway.http1.framing import ends_with_connection, is_chunked, request_content, response_fields
from coregateway.http1.grammar import CHUNKED, members
from coregateway.http1.reader import SPLIT
from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead
from coregateway.retry import IDEMPOTENT, NEW, REPLAYABLE, RESTED, may_retry
from coregateway.server.answers import send_problem
from coregateway.server.signals import ATTEMPT_FAILED, TUNNEL_OPENED
from coregateway.service import Service
from coregateway.tracing.timing import server_timing
from coregateway.upstream.address import Upstream
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.line import Waiter

if TYPE_CHECKING:
    from coregateway.server.downstream import Downstream
    from coregateway.server.stream import ClientStream


def begin(service: Service, downstream: "Downstream", head: RequestHead, exchange: Exchange) -> bool:
    """Set the request whose head has come on its way, if that needs no waiting; else False.

    So it is with most: they have come whole, and a connection rests. `Passage.end` follows when the upstream
    has answered; what has to wait after all goes on by `serve`.
    """
    if (
        head.method not in service.allowed
        or b"upgrade" in head.noted
        or (head.length and not downstream.is_whole)
    ):
        return False
    pool = service.pool
    connection = pool.take(inf if head.method in IDEMPOTENT else RESTED)
    if connection is None and not pool.has_line:
        return False
    passage = Passage(service, downstream, head, exchange)
    passage.count_attempt()
    if head.length:
        passage.body = downstream.take_body()
    downstream.passage = passage
    if connection is None:
        passage.joined = now = monotonic()
        # Now, while it is at hand: when its turn comes, it has left the processor's caches.
        passage.prepare()
        head.condense()
        pool.join(passage, now)
    else:
        passage.set_out(connection)
    return True


def serve(service: Service, stream: "ClientStream") -> Coroutine[None, None, None]:
    """Serve the request whose head a stream has read, to its end; it may have been begun."""
    downstream = stream.downstream
    passage = downstream.passage
    downstream.passage = None
    if passage is None:
        head = cast(RequestHead, downstream.head)
        passage = Passage(service, downstream, head, cast(Exchange, downstream.exchange))
    return passage.carry(stream)


@mypyc_attr(acyclic=True)
class Passage(Waiter):
    """One request on its way to a backend and back: what it consists of, and its steps.

    Without a task it waits for its answer, or in line for a connection, and `downstream.passage` leads to it,
    until it lets go (`leave`); with one, whoever awaits `carry` does.
    """

    __slots__ = (
        "body",
        "connection",
        "downstream",
        "exchange",
        "head",
        "joined",
        "may_open",
        "outgoing",
        "service",
        "upstream",
    )

    upstream: Upstream
    """Whom it was sent to last; the connection may serve others already."""

    def __init__(
        self, service: Service, downstream: "Downstream", head: RequestHead, exchange: Exchange
    ) -> None:
        self.service = service
        self.downstream = downstream
        self.head = head
        self.exchange = exchange
        self.body = b""
        """What has come of the request's body before anything was sent, while it may have to be sent."""
        self.outgoing: Outgoing | None = None
        """The request's head, once it was rendered."""
        self.connection: UpstreamConnection | None = None
        """Carries the request, and has to be given back."""
        self.joined = 0.0
        """Since when it waits in line; 0.0: it does not."""
        self.may_open = False
        """Whether it has waited for the right to open a connection, and opens it next."""
        exchange.backend = service.name
        exchange.route = service.route
        downstream.patience = service.client_timeout
        service.in_flight += 1

    # Without a task

    def done(self) -> bool:
        return not self.joined

    def take_turn(self, connection: UpstreamConnection | None) -> None:
        """It is its turn: a connection, or the right to open one, which takes a task."""
        self.service.pool.leave_line()
        waited = monotonic() - self.joined
        self.joined = 0.0
        if connection is None:
            self.may_open = True
            self.exchange.waited += waited
            self.downstream.hand_over()
            return
        connection.waited = waited
        try:
            self.set_out(connection)
        except Exception as error:
            self.downstream.fail(error)

    def refuse(self, error: GatewayError) -> None:
        """It has waited in line in vain."""
        self.exchange.waited += monotonic() - self.joined
        self.downstream.fail(error)

    def set_out(self, connection: UpstreamConnection) -> None:
        """Send the request; the downstream is told of the answer."""
        self.connection = connection
        self._send(connection, complete=True)
        connection.when_answered(self.answered)

    def answered(self) -> None:
        """The upstream has answered, or failed to. Until then the downstream is left alone: it is far from
        the processor when a turn has come."""
        self.downstream.answered()

    def end(self) -> bool:
        """Answer, if the whole response is there; else False."""
        connection = self.connection
        response = None if connection is None else connection.whole
        if connection is None or response is None:
            return False
        exchange = self.exchange
        exchange.responded = exchange.upstream_ended = monotonic()
        exchange.upstream_status = response.status
        size = connection.waiting
        if size > SPLIT and not is_chunked(self.head, response):
            pieces = connection.take_pieces()
            self.leave()
            self.downstream.answer([self._render_response(response), *pieces])
        else:
            whole = connection.take()
            self.leave()
            self.downstream.answer(self._answer(response, whole))
        exchange.status = response.status
        exchange.bytes_out += size
        return True

    def leave(self) -> None:
        """Let go of everything: the request has its answer, or will have none on this way."""
        self.downstream.passage = None
        self.service.in_flight -= 1
        if self.joined:
            self.joined = 0.0
            self.service.pool.leave_line()
        elif self.connection is not None:
            self.service.pool.give_back(self.connection)
        elif self.may_open:
            self.service.pool.free_slot()

    # With a task

    async def carry(self, stream: "ClientStream") -> None:
        """Go all the way from here to the end; an error is told to the client, if nothing else was."""
        exchange = self.exchange
        try:
            if self.head.method not in self.service.allowed:
                raise MethodNotAllowed(self.service.methods)
            await self._try(stream)
        except GatewayError as error:
            if exchange.status is None:
                await send_problem(stream, error)
            else:
                exchange.fail(error)
                stream.abort()
        except Exception:
            if exchange.status is not None:
                stream.abort()
            raise
        finally:
            self.service.in_flight -= 1

    async def _try(self, stream: "ClientStream") -> None:
        """Attempt it, again where that may be done."""
        exchange = self.exchange
        if not exchange.attempts:
            self.body = self.downstream.take_body()
            self.count_attempt()
            if self.downstream.expecting_continue:
                await stream.ask_for_body()
        rested = inf if self.head.method in IDEMPOTENT else RESTED
        while True:
            replayable = self.downstream.request_body is None and len(self.body) <= REPLAYABLE
            try:
                await self._attempt(stream, rested)
            except UpstreamError as error:
                exchange.upstream = error.upstream or exchange.upstream
                if exchange.trace is not None:
                    exchange.trace.fail_attempt(
                        exchange.upstream, exchange.upstream_status, error.cause, monotonic()
                    )
                if exchange.status is not None or not may_retry(
                    error,
                    self.head.method,
                    attempt=exchange.attempts,
                    attempts=self.service.attempts,
                    replayable=replayable,
                ):
                    raise
                stream.announce(ATTEMPT_FAILED, error=error)
                if error.reused:
                    rested = NEW
                self.count_attempt()
            else:
                return

    async def _attempt(self, stream: "ClientStream", rested: float) -> None:
        """Send the request once, unless it is on its way already, and relay what comes back.

        `rested`: for how long a connection for it may have been idle.
        """
        exchange = self.exchange
        pool = self.service.pool
        complete = self.downstream.request_body is None
        whole: bytes | None = None
        pump: Task[None] | None = None
        may_open, self.may_open = self.may_open, False
        sent = self.connection
        connection = self.connection = sent or await pool.acquire(rested=rested, may_open=may_open)
        try:
            if sent is None:
                self._send(connection, complete=complete)
            if not complete:
                connection.source = stream.protocol
                stream.protocol.client_transport.stream()
                pump = create_task(relay.upwards(stream, connection, chunked=self.head.length == CHUNKED))
            response = await connection.head()
            exchange.responded = monotonic()
            exchange.upstream_status = response.status
            self.body = b""  # nothing is sent again behind an answer
            if pump is not None and pump.done():
                stream.drop_rest()
            if response.status == 101:
                await self._switch(stream, response, connection)
            elif connection.complete:
                whole = connection.take()
            else:
                chunked = is_chunked(self.head, response)
                rendered = self._render_response(response)
                await relay.downwards(stream, connection, response.status, rendered, chunked=chunked)
        finally:
            exchange.upstream_ended = monotonic()
            stream.protocol.source = connection.source = None
            if pump is not None:
                pump.cancel()
            self.connection = None
            pool.give_back(connection)
        if whole is not None:
            # The connection serves others already while this client takes its time.
            stream.drop_rest()
            stream.begin(response.status, self._answer(response, whole), len(whole))
            whole = None  # a slow client's response waits once, in its transport
            await stream.protocol.drained()
            stream.end()

    async def _switch(
        self, stream: "ClientStream", response: ResponseHead, connection: UpstreamConnection
    ) -> None:
        """Open the tunnel: the backend has agreed to speak WebSocket."""
        if members(response.noted.get(b"upgrade", b"")) != [b"websocket"]:
            raise UpstreamProtocolError(sent=True)
        self.downstream.keep_alive = False
        stream.begin(101, self._render_response(response), 0)
        await stream.protocol.drained()
        stream.announce(TUNNEL_OPENED)
        self.service.tunnels += 1
        try:
            idle = self.service.tunnel_idle
            await tunnel.run(stream.protocol, connection, self.exchange, idle=idle)
        finally:
            self.service.tunnels -= 1
        stream.end()

    # Either way

    def count_attempt(self) -> None:
        """Another attempt begins."""
        exchange = self.exchange
        exchange.attempts += 1
        if exchange.trace is not None and exchange.trace.sampled:
            exchange.trace.begin_attempt(monotonic())

    def render_request(self) -> Outgoing:
        """The head of the request, which is the same for all attempts."""
        outgoing = self.outgoing
        if outgoing is None:
            exchange = self.exchange
            downstream = self.downstream
            self.outgoing = outgoing = self.service.outbound.render(
                self.head,
                peer=downstream.peer_bytes,
                trusted=downstream.trusted,
                request_id=exchange.request_id.encode(),
                traced=exchange.trace is not None,
            )
        return outgoing

    def prepare(self) -> None:
        """Render all of the request's head that does not depend on its turn."""
        outgoing = self.render_request()
        upstream = self.service.pool.only
        trace = self.exchange.trace
        if upstream is not None and (trace is None or not trace.sampled):
            outgoing.address(upstream.authority, b"" if trace is None else trace.fields)

    def _send(self, connection: UpstreamConnection, *, complete: bool) -> None:
        """Write the request, as much of it as has come, to its upstream."""
        exchange = self.exchange
        self.upstream = upstream = connection.upstream
        exchange.upstream = upstream.name
        exchange.waited += connection.waited
        exchange.upstream_started = monotonic()
        outgoing = self.render_request()
        trace = b"" if exchange.trace is None else exchange.trace.fields
        content = b"" if outgoing.empty else request_content(self.head, self.body, complete=complete)
        connection.begin(
            outgoing.to(upstream.authority, trace, content),
            complete=complete,
            bodiless=outgoing.bodiless,
            upgrade=outgoing.websocket,
        )
        if connection.error is None and (not complete or len(self.body) > REPLAYABLE):
            self.body = b""  # it is sent, not to be sent again, and nobody keeps it

    def _answer(self, response: ResponseHead, whole: bytes) -> bytes:
        """A response whose body is there in full, as the client gets it."""
        rendered = self._render_response(response)
        return rendered + (chunks(whole, last=True) if is_chunked(self.head, response) else whole)

    def _render_response(self, response: ResponseHead) -> bytes:
        """The head of the response to the client."""
        head = self.head
        if response.status == 101:
            framing = WEBSOCKET
        else:
            if ends_with_connection(head, response):
                self.downstream.keep_alive = False
            framing = response_fields(head, response, keep_alive=self.downstream.settle())
        if self.service.tells_time:
            framing += server_timing(self.exchange, monotonic())
        addressed_as: tuple[bytes, ...] = ()
        if b"location" in response.noted or b"content-location" in response.noted:
            upstream = self.upstream
            addressed_as = (self.render_request().host(upstream.authority).lower(), upstream.origin)
        return self.service.inbound.render(
            response,
            addressed_as=addressed_as,
            origin=head.noted.get(b"origin"),
            framing=framing,
            request_id=self.exchange.request_id.encode(),
        )
