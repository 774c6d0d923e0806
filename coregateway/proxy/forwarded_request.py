"""One request on its way to a backend and back: the story of forwarding, from top to bottom.

Most requests come whole and are answered whole. They need no task:

    start      take an idle connection, or a place in the queue              `start`
    send       write head and body, at once or when the turn has come        `ForwardedRequest.send`
    answer     write the response, when all of it is there                   `ForwardedRequest.answered`

A request that has to wait for anything else takes these steps in a task, from wherever it is (`carry`):

    attempt    take a connection, send the head and what there is of a body  `_attempt`
    pump       stream the rest of the body, while the answer may come        `relay.upwards`
    retry      only what was provably not processed                          `retry.way_on`
    review     show the answer to the response middleware, if there is any   `_is_replaced`
    relay      render the response head, then its body as it arrives         `relay.downwards`
    tunnel     after a 101: bytes both ways until either side ends           `tunnel.run`

Either way `release` gives back what the request holds, exactly once. The client gets a complete response or
sees that it did not, and the exchange carries the outcome to its record.
"""

from asyncio import CancelledError, Timeout, create_task, sleep, timeout_at
from collections.abc import Awaitable
from math import inf
from random import random
from time import monotonic
from typing import cast

from mypy_extensions import mypyc_attr

from coregateway.http1.chunked import chunks
from coregateway.http1.framing import ends_with_connection, is_chunked, request_content, response_fields
from coregateway.http1.grammar import CHUNKED, members
from coregateway.http1.reader import SPLIT
from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead
from coregateway.model.errors import (
    ConnectFailed,
    ConnectTimeout,
    GatewayError,
    RetriedStatus,
    TotalTimeout,
    UpstreamError,
    UpstreamProtocolError,
)
from coregateway.model.exchange import Exchange
from coregateway.proxy import relay, tunnel
from coregateway.proxy.admission import Refusal
from coregateway.proxy.backend_claim import CONNECTION, NOTHING, PLACE, SLOT, BackendClaim
from coregateway.proxy.client import Client
from coregateway.proxy.headers import WEBSOCKET, Outgoing
from coregateway.proxy.retry import (
    IDEMPOTENT,
    LATER,
    NEVER,
    REPEATED,
    REPLAYABLE,
    RESTED,
    longest_pause,
    way_on,
)
from coregateway.proxy.route import Forwarding
from coregateway.proxy.server_timing import server_timing
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.endpoint import Endpoint
from coregateway.upstream.idle import NEW


def start(forwarding: Forwarding, client: Client, head: RequestHead, exchange: Exchange) -> bool:
    """Start at once if the request is complete and an idle connection or a place in the queue is free.

    Else return False: a task takes over. `ForwardedRequest.answered` follows.
    """
    if b"upgrade" in head.noted or (head.length and not client.has_whole_request()):
        return False
    pool = forwarding.backend.pool
    key = 0 if forwarding.hash_keys is None else forwarding.hash_keys.key(head, exchange)
    connection = pool.take_idle_connection(inf if head.method in IDEMPOTENT else RESTED, key)
    if connection is None and not pool.must_queue:
        return False
    request = ForwardedRequest(forwarding, client, head, exchange)
    request.begin_attempt()
    if head.length:
        request.body = client.take_body()
    client.forwarded = request
    if forwarding.mirror is not None:
        forwarding.mirror.copy(client, head, exchange, request.body, complete=True)
    if forwarding.total is not None:
        forwarding.total.add(request, request.end_of_time)
    if connection is None:
        request.queue()
    else:
        request.send(connection, complete=True)
        connection.when_answered(request.answered)
    return True


def is_event_stream(response: ResponseHead) -> bool:
    """Whether a response is one that goes on for as long as the client listens (`text/event-stream`)."""
    for line in response.lines:
        if line[:13].lower() == b"content-type:":
            return line[13:].lstrip(b" \t")[:17].lower() == b"text/event-stream"
    return False


@mypyc_attr(acyclic=True)
class ForwardedRequest(BackendClaim):
    """See the module. Without a task `client.forwarded` leads to it; with one, `carry` is awaited."""

    __slots__ = (
        "body",
        "endpoint",
        "key",
        "outgoing",
        "prepared",
        "queued_at",
        "reviewed",
    )

    endpoint: Endpoint
    """The one that it was sent to last; the connection may serve others already."""

    def __init__(self, forwarding: Forwarding, client: Client, head: RequestHead, exchange: Exchange) -> None:
        super().__init__(forwarding, client, head, exchange)
        self.body = b""
        """What has come of the request's body before anything was sent, while it may have to be sent."""
        self.outgoing: Outgoing = forwarding.outbound.render(
            head, exchange, peer=client.peer_bytes, trusted=client.trusted
        )
        """The request's head, which is the same for all attempts."""
        if exchange.trace is not None and exchange.trace.sampled:
            inside = forwarding.outbound.rewriting.inside(head.target)
            exchange.trace.path = inside.partition(b"?")[0]
        self.queued_at = 0.0
        """When it joined the queue."""
        keys = forwarding.hash_keys
        self.key = 0 if keys is None else keys.key(head, exchange)
        """By which it is balanced; 0: by none."""
        self.prepared: bytes | None = None
        """The field lines that are added to the response, once it is prepared for its review."""
        self.reviewed: Awaitable[bool] | None = None
        """What a response middleware that waits will say."""

    # Without a task

    def queue(self) -> None:
        """Wait in the queue for a connection."""
        self.holds = PLACE
        self.queued_at = now = monotonic()
        # Now, while it is at hand: when its turn comes, it has left the processor's caches.
        only = self.forwarding.backend.pool.only
        trace = self.exchange.trace
        if only is not None and (trace is None or not trace.sampled):
            self.outgoing.address(only.authority, b"" if trace is None else trace.fields, only.base)
        self.head.condense()
        self.forwarding.backend.pool.join_queue(self, now, self.forwarding.timeouts.pool)

    def take_connection(self, connection: UpstreamConnection) -> None:
        self.forwarding.backend.pool.leave_queue()
        self.holds = NOTHING
        connection.waited = monotonic() - self.queued_at
        try:
            self.send(connection, complete=True)
            connection.when_answered(self.answered)
        except Exception as error:
            self.client.fail(error)

    def take_slot(self, endpoint: Endpoint) -> None:
        self.forwarding.backend.pool.leave_queue()
        self.holds = SLOT
        self.slot = endpoint
        self.exchange.waited += monotonic() - self.queued_at
        self._continue_in_task()  # for opening a connection takes one

    def refuse(self, error: GatewayError) -> None:
        self.exchange.waited += monotonic() - self.queued_at
        self.client.fail(error)

    def answered(self) -> None:
        """The upstream has answered, or has failed to: answer the client, or let a task go on."""
        client = self.client
        if client.closing or client.forwarded is not self:
            return  # the client has left, and its loss follows or was here
        connection = self.connection
        response = None if connection is None else connection.whole
        retried = self.forwarding.retries.statuses
        if connection is None or response is None or (retried is not None and response.status in retried):
            self._continue_in_task()
            return
        exchange = self.exchange
        exchange.responded = monotonic()
        exchange.upstream_status = response.status
        try:
            if self.forwarding.middleware is not None:
                replaced = self._review(response)
                if not isinstance(replaced, bool):
                    self.reviewed = replaced
                    self._continue_in_task()
                    return
                if replaced:
                    client.complete()
                    return
            self._answer(connection, response)
        except Exception as error:
            client.fail(error)
        else:
            client.complete()

    def _continue_in_task(self) -> None:
        if self.forwarding.total is not None:
            self.forwarding.total.take_away(self)
        self.client.continue_in_task()

    @property
    def end_of_time(self) -> float:
        """When the time for the request as a whole is spent, by the loop's clock; inf: never."""
        total = self.forwarding.total
        if total is None:
            return inf
        return self.client.worker.loop.time() + total.seconds - (monotonic() - self.exchange.started)

    def _answer(self, connection: UpstreamConnection, response: ResponseHead) -> None:
        """Write the response, all of which is there."""
        size = connection.response.waiting
        chunked = is_chunked(self.head, response)
        if size > SPLIT and not chunked:
            pieces = connection.take_pieces()
            self.release()
            head = self._render_response(response, chunked=False)
            self.client.respond(response.status, [head, *pieces], size)
        else:
            body = connection.take()
            self.release()
            head = self._render_response(response, chunked=chunked)
            self.client.respond(response.status, head + (chunks(body, last=True) if chunked else body), size)

    # With a task

    async def carry(self) -> None:
        """Go all the way from here to the end; the client is told of an error, if it was told nothing else.

        Raises: what is a defect of the gateway. The client is told of that, too, if an answer has begun. Of a
        request that passes through Sanic, also `GatewayError`, if none has: Sanic's means answer it.
        """
        if self.forwarding.total is None:
            await self._carry(None)
            return
        limit = timeout_at(self.end_of_time)
        try:
            async with limit:
                await self._carry(limit)
        except TimeoutError:
            await self._end_late()

    async def _end_late(self) -> None:
        """The time for the request as a whole is spent; all that it held was given back."""
        error = TotalTimeout()
        if self.exchange.status is None:
            await self._refuse(error)
        else:
            self.exchange.fail(error)
            self.client.break_off()

    async def _carry(self, limit: Timeout | None) -> None:
        """As `carry`. `limit`: for the request as a whole."""
        exchange = self.exchange
        client = self.client
        try:
            response = await self._obtain_response()
            if limit is not None and (response.status == 101 or is_event_stream(response)):
                limit.reschedule(None)
            connection = cast(UpstreamConnection, self.connection)
            if response.status == 101 and members(response.noted.get(b"upgrade", b"")) != [b"websocket"]:
                raise UpstreamProtocolError(sent=True)
            if self.forwarding.middleware is not None and await self._is_replaced(response):
                await client.drained()
            elif response.status == 101:
                await self._tunnel(response, connection)
            elif connection.complete:
                self._answer(connection, response)
                client.drop_rest()
                await client.drained()
            else:
                chunked = is_chunked(self.head, response)
                rendered = self._render_response(response, chunked=chunked)
                await relay.downwards(client, connection, response.status, rendered, chunked=chunked)
        except GatewayError as error:
            if isinstance(error, UpstreamError):
                self._note_failure(error)
            self.release()
            if exchange.status is None:
                if client.worker.via_sanic:
                    raise
                await self._refuse(error)
            else:
                exchange.fail(error)
                client.break_off()
        except CancelledError:
            if limit is not None and limit.expired():
                self.note_late()
            raise
        except Exception:
            if exchange.status is not None:
                client.break_off()
            raise
        finally:
            self.release()

    async def _obtain_response(self) -> ResponseHead:
        """The head of the response to the request, which is attempted again where that may be done."""
        exchange = self.exchange
        client = self.client
        if not exchange.attempts:
            self.body = client.take_body()
            mirror = self.forwarding.mirror
            if mirror is not None:
                mirror.copy(client, self.head, exchange, self.body, complete=not client.has_body_left())
            if self.body and client.worker.on_body is not None:
                client.worker.on_body(self.body)
            self.begin_attempt()
            await client.ask_for_body()
        pool = self.forwarding.backend.pool
        retries = self.forwarding.retries
        rested = inf if self.head.method in IDEMPOTENT else RESTED
        tried: list[str] = []
        unconnected = repetitions = 0
        while True:
            replayable = not client.has_body_left() and len(self.body) <= REPLAYABLE
            failure: UpstreamError
            response: ResponseHead | None = None
            try:
                response = await self._attempt(rested, tried)
                if retries.statuses is None or response.status not in retries.statuses:
                    return response
                failure = RetriedStatus(sent=True, upstream=exchange.upstream)
            except UpstreamError as error:
                failure = error
            lone = len(pool.endpoints) == 1
            if isinstance(failure, ConnectFailed | ConnectTimeout) and not lone:
                unconnected += 1
            if failure.upstream is not None:
                exchange.upstream = failure.upstream
            if exchange.upstream is not None and (failure.sent or not failure.reused):
                tried.append(exchange.upstream)
            way = way_on(
                failure,
                self.head.method,
                attempt=exchange.attempts - unconnected,
                attempts=retries.attempts,
                replayable=replayable,
                others=pool.has_other_than(tried),
                lone=lone,
            )
            if way == NEVER or (way == REPEATED and not self._may_repeat()):
                if response is not None:
                    self.body = b""
                    return response
                raise failure
            self._note_failure(failure)
            self.let_go()
            client.worker.events.fail_attempt(exchange, failure)
            if failure.reused:
                rested = NEW
            if response is not None:
                exchange.responded = 0.0
                exchange.upstream_status = None
            if way in (LATER, REPEATED):
                repetitions += 1
                await sleep(random() * longest_pause(repetitions, retries.backoff, retries.longest))
            self.begin_attempt()

    def _may_repeat(self) -> bool:
        """Whether the node's budget allows it to be sent again; it takes from that until it ends."""
        budget = self.forwarding.backend.budget
        if self.is_repetition or budget is None:
            return True
        self.is_repetition = budget.take()
        return self.is_repetition

    async def _attempt(self, rested: float, tried: list[str]) -> ResponseHead:
        """Send the request once, unless it is on its way already; returns the head of the response.

        `rested`: seconds that the connection for it may have been idle, at most. `tried`: names of endpoints
        that have failed it before.
        """
        exchange = self.exchange
        client = self.client
        connection = self.connection
        if connection is None:
            slot, self.slot = self.slot, None
            self.holds = NOTHING  # of the slot the pool takes care, whatever comes of it
            connection = await self.forwarding.backend.pool.acquire_connection(
                rested=rested,
                timeouts=self.forwarding.timeouts,
                slot=slot,
                tried=tried,
                key=self.key,
            )
            self.send(connection, complete=not client.has_body_left())
        if client.has_body_left():
            client.expect_stream()
            chunked = self.head.length == CHUNKED
            self.pump = create_task(relay.upwards(client, connection, chunked=chunked))
        response = await connection.head()
        exchange.responded = monotonic()
        exchange.upstream_status = response.status
        retried = self.forwarding.retries.statuses
        if retried is None or response.status not in retried:
            self.body = b""  # nothing is sent again behind an answer
        if self.pump is not None and self.pump.done():
            client.drop_rest()
        return response

    async def _tunnel(self, response: ResponseHead, connection: UpstreamConnection) -> None:
        """Open the tunnel: the backend has agreed to speak WebSocket."""
        client = self.client
        backend = self.forwarding.backend
        client.keep_alive = False
        client.begin_response(101, self._render_response(response, chunked=False), 0)
        await client.drained()
        client.worker.events.open_tunnel(self.exchange)
        backend.tunnels += 1
        try:
            await tunnel.run(client, connection, self.exchange, idle=self.forwarding.tunnel_idle)
        finally:
            backend.tunnels -= 1

    async def _is_replaced(self, response: ResponseHead) -> bool:
        """Show the response middleware the answer; whether it has sent another in its place."""
        if self.reviewed is None:
            replaced = self._review(response)
            if isinstance(replaced, bool):
                return replaced
            self.reviewed = replaced
        return await self.reviewed

    async def _refuse(self, error: GatewayError) -> None:
        """Answer with an error, past the response middleware."""
        client = self.client
        middleware = self.forwarding.middleware
        if middleware is None:
            client.refuse(error)
            return
        verdict = middleware.answer(client, Refusal(error=error))
        if verdict is not None and not isinstance(verdict, Refusal):
            await verdict

    # Either way

    def _review(self, response: ResponseHead) -> bool | Awaitable[bool]:
        """Show the response middleware an answer, as the settings have changed it."""
        middleware = self.forwarding.middleware
        if middleware is None or middleware.review is None:
            return False
        addressed_as, base = self._addressed_as(response)
        self.prepared = self.forwarding.inbound.prepare(
            response, self.head, self.exchange, addressed_as, base
        )
        return middleware.review(self, response)

    def drop_answer(self) -> None:
        """Another answer takes the place of the backend's, whose connection is kept only if all has come."""
        connection = self.connection
        if connection is not None and connection.complete:
            connection.take()
        self.release()

    def abandon(self) -> None:
        """The client has left before a task served the request."""
        reviewed = self.reviewed
        if reviewed is not None:
            cancel = getattr(reviewed, "cancel", None)
            if cancel is not None:
                cancel()
        self.release()

    def begin_attempt(self) -> None:
        """Another attempt begins."""
        exchange = self.exchange
        exchange.attempts += 1
        if exchange.trace is not None and exchange.trace.sampled:
            exchange.trace.begin_attempt(monotonic())

    def _note_failure(self, error: UpstreamError) -> None:
        exchange = self.exchange
        exchange.upstream = error.upstream or exchange.upstream
        if exchange.trace is not None:
            exchange.trace.fail_attempt(exchange.upstream, exchange.upstream_status, error.cause, monotonic())

    def send(self, connection: UpstreamConnection, *, complete: bool) -> None:
        """Write the request, as much of it as has come, to its upstream."""
        self.holds = CONNECTION
        self.connection = connection
        exchange = self.exchange
        self.endpoint = endpoint = connection.endpoint
        exchange.upstream = endpoint.name
        exchange.waited += connection.waited
        exchange.upstream_started = monotonic()
        outgoing = self.outgoing
        trace = b"" if exchange.trace is None else exchange.trace.fields
        content = b"" if outgoing.empty else request_content(self.head, self.body, complete=complete)
        connection.begin(
            outgoing.to(endpoint.authority, trace, content, endpoint.base),
            complete=complete,
            bodiless=outgoing.bodiless,
            upgrade=outgoing.websocket,
            timeouts=self.forwarding.timeouts,
        )
        if connection.error is None and (not complete or len(self.body) > REPLAYABLE):
            self.body = b""  # it is sent, and not to be sent again
        if not complete:
            connection.source = self.client

    def _render_response(self, response: ResponseHead, *, chunked: bool) -> bytes:
        """The head of the response to the client; `chunked`: see `is_chunked`."""
        head = self.head
        client = self.client
        if response.status == 101:
            framing = WEBSOCKET
        else:
            if not chunked and ends_with_connection(head, response):
                client.keep_alive = False
            framing = response_fields(head, response, chunked=chunked, keep_alive=client.settle())
        if self.forwarding.tells_time:
            framing += server_timing(self.exchange, monotonic())
        addressed_as, base = self._addressed_as(response)
        return self.forwarding.inbound.render(
            response,
            head,
            self.exchange,
            addressed_as=addressed_as,
            base=base,
            framing=framing,
            prepared=self.prepared,
        )

    def _addressed_as(self, response: ResponseHead) -> tuple[tuple[bytes, ...], bytes]:
        """The authorities by which the backend may call itself in this response, and the path it adds."""
        noted = response.noted
        if b"location" not in noted and b"content-location" not in noted:
            return (), b""
        endpoint = self.endpoint
        return (self.outgoing.host(endpoint.authority).lower(), endpoint.origin), endpoint.base
