"""One request from the client's head to the recorded outcome.

Most come whole and are answered whole. They need no task: `begin` sends them, or lets them wait in line until
`go_on`, and `end` answers. Whatever has to wait for anything else takes these steps, from wherever it is:

    refuse     a path or method that this backend does not serve            `Forwarder.__call__`
    attempt    take a connection, send the head and what there is of a body  `_attempt`
    retry      only what was provably not processed                          `retry.may_retry`
    pump       stream the rest of the body, while the answer may come        `_pump`
    relay      render the response head, then its body as it arrives         `_relay`
    tunnel     after a 101: bytes both ways until either side ends           `tunnel.run`

Whatever happens, the connection goes back to its pool exactly once, the client either gets a complete
response or sees that it did not, and the exchange carries the outcome to its record.
"""

from asyncio import Task, create_task
from math import inf
from time import monotonic
from typing import cast

from coregateway import tunnel
from coregateway.errors import GatewayError, MethodNotAllowed, UpstreamError, UpstreamProtocolError
from coregateway.exchange import Exchange
from coregateway.headers import WEBSOCKET, Inbound, Outbound, asks_for_websocket
from coregateway.http1 import CHUNKED, UNTIL_CLOSE, members
from coregateway.http1.chunked import LAST_CHUNK, chunk, chunks
from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead
from coregateway.retry import IDEMPOTENT, NEW, REPLAYABLE, RESTED, may_retry
from coregateway.server.answers import send_problem
from coregateway.server.signals import ATTEMPT_FAILED, TUNNEL_OPENED
from coregateway.server.stream import ClientStream
from coregateway.tracing.timing import server_timing
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.pool import Pool


class Passage:
    """A request that waits for its answer, or in line for a connection (a `Waiter`), without a task."""

    __slots__ = ("body", "connection", "exchange", "forwarder", "head", "joined", "may_open", "stream")

    def __init__(
        self,
        forwarder: "Forwarder",
        stream: ClientStream,
        head: RequestHead,
        body: bytes,
        exchange: Exchange,
    ) -> None:
        self.forwarder = forwarder
        self.stream = stream
        self.head = head
        self.body = body
        self.exchange = exchange
        self.connection: UpstreamConnection | None = None
        self.joined = 0.0
        """Since when it waits in line; 0.0: it does not."""
        self.may_open = False
        """Whether it has waited for the right to open a connection, and opens it next."""

    def done(self) -> bool:
        return not self.joined

    def set_result(self, result: UpstreamConnection | None, /) -> None:
        self.forwarder.go_on(self, result)

    def set_exception(self, exception: GatewayError, /) -> None:
        self.forwarder.refuse(self, exception)


class Forwarder:
    """Forwards the requests of one backend. One instance per worker."""

    def __init__(
        self,
        name: str,
        route: str,
        methods: tuple[str, ...],
        pool: Pool,
        outbound: Outbound,
        inbound: Inbound,
        *,
        attempts: int,
        client_timeout: float,
        tunnel_idle: float,
        tells_time: bool = False,
    ) -> None:
        self.name = name
        self.pool = pool
        self.in_flight = 0
        """Requests under way, in this worker."""
        self.tunnels = 0
        """WebSockets of them, which are open."""
        self._route = route
        self._methods = methods
        self._allowed = frozenset(methods)
        self._outbound = outbound
        self._inbound = inbound
        self._attempts = attempts
        self._client_timeout = client_timeout
        self._tunnel_idle = tunnel_idle
        self._tells_time = tells_time

    def begin(self, stream: ClientStream, head: RequestHead, exchange: Exchange) -> bool:
        """Set the request whose head a stream has read on its way, if that needs no waiting; else False.

        So it is with most: they have come whole, and a connection rests. `end` follows when the upstream has
        answered; what has to wait after all goes on in `__call__`.
        """
        if head.method not in self._allowed or not stream.is_whole or b"upgrade" in head.noted:
            return False
        connection = self.pool.take(inf if head.method in IDEMPOTENT else RESTED)
        if connection is None and not self.pool.has_line:
            return False
        self._enter(stream, exchange)
        exchange.attempts = 1
        if exchange.trace is not None:
            exchange.trace.begin_attempt(monotonic())
        passage = stream.passage = Passage(self, stream, head, stream.take_body(), exchange)
        if connection is None:
            passage.joined = monotonic()
            self.pool.join(passage)
        else:
            self._set_out(passage, connection)
        return True

    def go_on(self, passage: Passage, connection: UpstreamConnection | None) -> None:
        """It is a request's turn, which has waited in line."""
        self.pool.leave_line()
        waited = monotonic() - passage.joined
        passage.joined = 0.0
        stream = passage.stream
        if connection is None:
            passage.may_open = True
            passage.exchange.waited += waited
            stream.protocol.hand_over()
            return
        connection.waited = waited
        try:
            self._set_out(passage, connection)
        except Exception as error:
            stream.fail(error)

    def refuse(self, passage: Passage, error: GatewayError) -> None:
        """A request has waited in line in vain."""
        passage.exchange.waited += monotonic() - passage.joined
        passage.stream.fail(error)

    def _set_out(self, passage: Passage, connection: UpstreamConnection) -> None:
        passage.connection = connection
        stream = passage.stream
        self._send(passage.head, passage.body, connection, stream, passage.exchange)
        connection.when_answered(stream.answered)

    def end(self, stream: ClientStream, passage: Passage) -> bool:
        """Answer a request that was begun, if the whole response is there; else False."""
        connection = passage.connection
        response = None if connection is None else connection.whole
        if connection is None or response is None:
            return False
        head = passage.head
        exchange = passage.exchange
        exchange.responded = exchange.upstream_ended = monotonic()
        exchange.upstream_status = response.status
        whole = connection.take()
        self.leave(stream, passage)
        stream.answer(
            response.status, self._answer(whole, head, response, connection, stream, exchange), len(whole)
        )
        return True

    def leave(self, stream: ClientStream, passage: Passage) -> None:
        """Let go of a request that was begun: it has its answer, or will have none."""
        stream.passage = None
        self.in_flight -= 1
        if passage.joined:
            passage.joined = 0.0
            self.pool.leave_line()
        elif passage.connection is not None:
            self.pool.give_back(passage.connection)
        elif passage.may_open:
            self.pool.free_slot()

    def _enter(self, stream: ClientStream, exchange: Exchange) -> None:
        exchange.backend = self.name
        exchange.route = self._route
        stream.protocol.patience = self._client_timeout
        self.in_flight += 1

    async def __call__(self, stream: ClientStream) -> None:
        """Serve the request whose head a stream has read, to its end."""
        head = cast(RequestHead, stream.head)
        exchange = cast(Exchange, stream.exchange)
        passage, stream.passage = stream.passage, None
        if passage is None:
            self._enter(stream, exchange)
        try:
            if head.method not in self._allowed:
                raise MethodNotAllowed(self._methods)
            await self._forward(head, stream, exchange, passage)
        except GatewayError as error:
            if exchange.status is None:
                await send_problem(stream, error)
            else:
                exchange.error = error.cause
                stream.abort()
        except Exception:
            if exchange.status is not None:
                stream.abort()
            raise
        finally:
            self.in_flight -= 1

    async def _forward(
        self, head: RequestHead, stream: ClientStream, exchange: Exchange, passage: "Passage | None"
    ) -> None:
        begun = [stream.take_body() if passage is None else passage.body]
        rested = inf if head.method in IDEMPOTENT else RESTED
        while True:
            if passage is None:
                exchange.attempts += 1
                if exchange.trace is not None:
                    exchange.trace.begin_attempt(monotonic())
            replayable = stream.request_body is None and len(begun[0]) <= REPLAYABLE
            sent, may_open = (None, False) if passage is None else (passage.connection, passage.may_open)
            passage = None
            try:
                await self._attempt(head, begun, stream, exchange, rested, sent, may_open=may_open)
            except UpstreamError as error:
                exchange.upstream = error.upstream or exchange.upstream
                if exchange.trace is not None:
                    exchange.trace.fail_attempt(
                        exchange.upstream, exchange.upstream_status, error.cause, monotonic()
                    )
                if exchange.status is not None or not may_retry(
                    error,
                    head.method,
                    attempt=exchange.attempts,
                    attempts=self._attempts,
                    replayable=replayable,
                ):
                    raise
                stream.announce(ATTEMPT_FAILED, error=error)
                if error.reused:
                    rested = NEW
            else:
                return

    async def _attempt(
        self,
        head: RequestHead,
        begun: list[bytes],
        stream: ClientStream,
        exchange: Exchange,
        rested: float,
        sent: UpstreamConnection | None,
        *,
        may_open: bool,
    ) -> None:
        """Send the request once and relay what comes back.

        `begun`: what has come of its body so far, emptied when more is streamed behind it. `rested`: for how
        long its connection may have been idle. `sent`: the connection that carries the request already.
        `may_open`: it has waited in line for the right to open one.
        """
        complete = stream.request_body is None
        whole: bytes | None = None
        pump: Task[None] | None = None
        connection = sent or await self.pool.acquire(rested=rested, may_open=may_open)
        try:
            if sent is None:
                self._send(head, begun[0], connection, stream, exchange)
            if not complete:
                connection.source = stream.protocol
                stream.protocol.meter()
                pump = create_task(_pump(begun, stream, connection, chunked=head.length == CHUNKED))
            response = await connection.head()
            exchange.responded = monotonic()
            exchange.upstream_status = response.status
            if response.status == 101:
                await self._switch(head, response, connection, stream, exchange)
            elif connection.complete:
                whole = connection.take()
            else:
                await self._relay(head, response, connection, stream, exchange)
        finally:
            exchange.upstream_ended = monotonic()
            stream.protocol.source = connection.source = None
            if pump is not None:
                pump.cancel()
            self.pool.give_back(connection)
        if whole is not None:
            # The connection serves others already while this client takes its time.
            stream.begin(
                response.status, self._answer(whole, head, response, connection, stream, exchange), len(whole)
            )
            whole = None  # a slow client's response waits once, in its transport
            await stream.protocol.drained()
            stream.end()

    def _send(
        self,
        head: RequestHead,
        body: bytes,
        connection: UpstreamConnection,
        stream: ClientStream,
        exchange: Exchange,
    ) -> None:
        """Write the request, as much of it as has come, to its upstream."""
        upstream = connection.upstream
        exchange.upstream = upstream.name
        exchange.waited += connection.waited
        exchange.upstream_started = monotonic()
        websocket = asks_for_websocket(head)
        complete = stream.request_body is None
        data = self._outbound.render(
            head,
            upstream.authority,
            peer=stream.protocol.peer_bytes,
            trusted=stream.protocol.trusted,
            request_id=exchange.request_id.encode(),
            websocket=websocket,
            trace=b"" if exchange.trace is None else exchange.trace.fields,
        )
        connection.begin(
            data + _framed(body, head, complete=complete),
            complete=complete,
            bodiless=head.method == "HEAD",
            upgrade=websocket,
        )

    def _answer(
        self,
        whole: bytes,
        head: RequestHead,
        response: ResponseHead,
        connection: UpstreamConnection,
        stream: ClientStream,
        exchange: Exchange,
    ) -> bytes:
        """A response whose body is there in full, as the client gets it."""
        rendered = self._render(head, response, connection, stream, exchange)
        return rendered + (chunks(whole, last=True) if _to_chunk(head, response) else whole)

    async def _relay(
        self,
        head: RequestHead,
        response: ResponseHead,
        connection: UpstreamConnection,
        stream: ClientStream,
        exchange: Exchange,
    ) -> None:
        """Send a response on, as it arrives."""
        chunked = _to_chunk(head, response)
        rendered = self._render(head, response, connection, stream, exchange)
        stream.protocol.source = connection
        body = connection.take()
        content = chunks(body, last=False) if chunked else body
        stream.begin(response.status, rendered + content, len(body))
        body = content = b""  # what waits for a slow client waits once, in its transport
        await stream.protocol.drained()
        while body := await connection.read():
            stream.relay(chunk(body) if chunked else body, len(body))
            body = b""
            await stream.protocol.drained()
        if chunked:
            stream.relay(LAST_CHUNK, 0)
            await stream.protocol.drained()
        stream.end()

    def _render(
        self,
        head: RequestHead,
        response: ResponseHead,
        connection: UpstreamConnection,
        stream: ClientStream,
        exchange: Exchange,
    ) -> bytes:
        """The head of the response to the client."""
        if response.status == 101:
            framing = WEBSOCKET
        else:
            if response.length < 0 and not head.minor:
                stream.keep_alive = False  # HTTP/1.0 knows no chunks: the body ends with the connection
            keep_alive = stream.settle()
            framing = b""
            if response.declared is not None and response.status != 204:
                framing = b"Content-Length: %d\r\n" % response.declared
            elif response.length < 0 and head.minor:
                framing = b"Transfer-Encoding: chunked\r\n"
            if not keep_alive:
                framing += b"Connection: close\r\n"
            elif not head.minor:
                framing += b"Connection: keep-alive\r\n"
        if self._tells_time:
            framing += server_timing(exchange, monotonic())
        addressed_as: tuple[bytes, ...] = ()
        if b"location" in response.noted or b"content-location" in response.noted:
            upstream = connection.upstream
            addressed_as = (self._outbound.host(head, upstream.authority).lower(), upstream.origin)
        return self._inbound.render(
            response,
            addressed_as=addressed_as,
            origin=head.noted.get(b"origin"),
            framing=framing,
            request_id=exchange.request_id.encode(),
        )

    async def _switch(
        self,
        head: RequestHead,
        response: ResponseHead,
        connection: UpstreamConnection,
        stream: ClientStream,
        exchange: Exchange,
    ) -> None:
        """Open the tunnel: the backend has agreed to speak WebSocket."""
        if members(response.noted.get(b"upgrade", b"")) != [b"websocket"]:
            raise UpstreamProtocolError(sent=True)
        stream.keep_alive = False
        stream.begin(101, self._render(head, response, connection, stream, exchange), 0)
        await stream.protocol.drained()
        stream.announce(TUNNEL_OPENED)
        self.tunnels += 1
        try:
            await tunnel.run(stream.protocol, connection, exchange, idle=self._tunnel_idle)
        finally:
            self.tunnels -= 1
        stream.end()


def _framed(body: bytes, head: RequestHead, *, complete: bool) -> bytes:
    """A request's body, or the beginning of it, as it goes upstream."""
    return chunks(body, last=complete) if head.length == CHUNKED else body


def _to_chunk(head: RequestHead, response: ResponseHead) -> bool:
    """Whether the client gets the body in chunks: its length is not known, and the client can read them."""
    return response.length in (CHUNKED, UNTIL_CLOSE) and head.minor == 1


async def _pump(
    begun: list[bytes], stream: ClientStream, connection: UpstreamConnection, *, chunked: bool
) -> None:
    """Stream the rest of a request's body to its upstream.

    A client that is at fault ends the attempt with its own error. An upstream that takes no more is not an
    error here: its answer may be on the way, and whoever waits for that learns how the connection ended.
    """
    begun.clear()  # it is sent, and nobody keeps it
    try:
        while (data := await stream.read()) is not None:
            writing = connection.write(chunk(data) if chunked else data)
            data = b""  # as in `_relay`
            await writing
        if chunked:
            await connection.write(LAST_CHUNK)
        connection.end_request()
    except UpstreamError:
        pass
    except GatewayError as error:
        connection.cancel(error)
