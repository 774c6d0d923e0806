"""One request on its way to a backend and back: the story of forwarding, from top to bottom.

Most requests come whole and are answered whole. They need no task:

    start      take an idle connection, or a place in the queue              `start`
    send       write head and body, at once or when the turn has come        `ForwardedRequest.send`
    answer     write the response, when all of it is there                   `ForwardedRequest.answered`

A request that has to wait for anything else takes these steps in a task, from wherever it is (`carry`):

    attempt    take a connection, send the head and what there is of a body  `Attempts`
    pump       stream the rest of the body, while the answer may come        `relay.upwards`
    retry      only what was provably not processed                          `retry.way_on`
    review     show the answer to the response middleware, if there is any   `answer.is_replaced`
    relay      render the response head, then its body as it arrives         `relay.downwards`
    tunnel     after a 101: bytes both ways until either side ends           `tunnel.carry`

Either way `release` gives back what the request holds, exactly once. The client gets a complete response or
sees that it did not, and the exchange carries the outcome to its record.
"""

from asyncio import CancelledError, Timeout
from collections.abc import Awaitable, Coroutine
from math import inf
from time import monotonic
from typing import Any, cast

from mypy_extensions import mypyc_attr

from coregateway.http1.framing import is_chunked, request_content
from coregateway.http1.grammar import members
from coregateway.http1.request import RequestHead
from coregateway.model.errors import GatewayError, UpstreamError, UpstreamProtocolError
from coregateway.model.exchange import Exchange
from coregateway.proxy import answer, relay, tunnel
from coregateway.proxy.attempts import Attempts
from coregateway.proxy.backend_claim import CONNECTION, NOTHING, PLACE, SLOT, BackendClaim
from coregateway.proxy.client import Client
from coregateway.proxy.headers import Outgoing
from coregateway.proxy.retry import IDEMPOTENT, REPLAYABLE, RESTED
from coregateway.proxy.route import Forwarding
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.endpoint import Endpoint


def start(forwarding: Forwarding, client: Client, head: RequestHead, exchange: Exchange) -> bool:
    """Start at once if the request is complete and an idle connection or a place in the queue is free.

    Else return False: a task takes over. `ForwardedRequest.answered` follows.
    """
    if b"upgrade" in head.noted or (head.length and not client.has_whole_request()):
        return False
    if forwarding.backend.limit is not None:
        return False
    client.forwarded = request = ForwardedRequest(forwarding, client, head, exchange)
    pool = forwarding.backend.pool
    connection = pool.take_idle_connection(inf if head.method in IDEMPOTENT else RESTED, request.key)
    if connection is None and not pool.must_queue:
        return False
    exchange.begin_attempt()
    if head.length:
        request.body = client.take_body()
    if forwarding.mirror is not None:
        forwarding.mirror.copy(client, head, exchange, request.body, complete=True)
    if forwarding.total is not None:
        forwarding.total.add(request)
    if connection is None:
        request.queue()
    else:
        request.send(connection, complete=True)
        connection.when_answered(request.answered)
    return True


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
            head, exchange, peer=client.peer_bytes, trusted=client.trusted, scheme=client.scheme
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
                replaced = answer.review(self, response)
                if not isinstance(replaced, bool):
                    self.reviewed = replaced
                    self._continue_in_task()
                    return
                if replaced:
                    client.complete()
                    return
            answer.write(self, response, connection)
        except Exception as error:
            client.fail(error)
        else:
            client.complete()

    def _continue_in_task(self) -> None:
        if self.forwarding.total is not None:
            self.forwarding.total.take_away(self)
        self.client.continue_in_task()

    # With a task

    def carry(self) -> Coroutine[Any, Any, None]:
        """Go all the way from here to the end; the client is told of an error, if it was told nothing else.

        Raises: what is a defect of the gateway. The client is told of that, too, if an answer has begun. Of a
        request that passes through Sanic, also `GatewayError`, if none has: Sanic's means answer it.
        """
        total = self.forwarding.total
        return self.carry_within(None) if total is None else total.carry(self)

    async def carry_within(self, limit: Timeout | None) -> None:
        """As `carry`. `limit`: for the request as a whole."""
        exchange = self.exchange
        client = self.client
        try:
            response = await Attempts(self).obtain_response()
            if limit is not None and (response.status == 101 or response.is_event_stream):
                limit.reschedule(None)
            connection = cast(UpstreamConnection, self.connection)
            if response.status == 101 and members(response.noted.get(b"upgrade", b"")) != [b"websocket"]:
                raise UpstreamProtocolError(sent=True)
            if self.forwarding.middleware is not None and await answer.is_replaced(self, response):
                await client.drained()
            elif response.status == 101:
                self.begin_stream(connection)
                await tunnel.carry(self, response, connection)
            elif connection.complete:
                answer.write(self, response, connection)
                client.drop_rest()
                await client.drained()
            else:
                if response.length < 0 and response.is_event_stream:
                    self.begin_stream(connection)
                chunked = is_chunked(self.head, response)
                rendered = answer.render(self, response, chunked=chunked)
                await relay.downwards(self, connection, response.status, rendered, chunked=chunked)
        except GatewayError as error:
            if isinstance(error, UpstreamError):
                exchange.fail_attempt(error)
            self.release()
            if exchange.status is None and client.worker.via_sanic:
                raise
            await self.end_with(error)
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

    async def end_with(self, error: GatewayError) -> None:
        """Tell the client of an error: by an answer, or by the end of one that has begun."""
        if self.exchange.status is None:
            await answer.refuse(self, error)
        else:
            self.exchange.fail(error)
            self.client.break_off()

    # Either way

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
