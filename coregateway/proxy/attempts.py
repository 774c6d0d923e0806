"""The attempts of one request that a task serves, until an upstream has answered it.

An attempt takes a connection, sends the request, and waits for the head of the response, while the rest of
the request's body is streamed. After one that has failed, `retry.way_on` says whether another may follow.
"""

from asyncio import create_task, sleep
from math import inf
from random import random
from time import monotonic
from typing import TYPE_CHECKING

from coregateway.http1.grammar import CHUNKED
from coregateway.http1.response import ResponseHead
from coregateway.model.errors import ConnectFailed, ConnectTimeout, RetriedStatus, UpstreamError
from coregateway.proxy import relay
from coregateway.proxy.backend_claim import NOTHING
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
from coregateway.upstream.idle import NEW

if TYPE_CHECKING:
    from coregateway.proxy.forwarded_request import ForwardedRequest


class Attempts:
    """See the module."""

    __slots__ = ("_repetitions", "_request", "_rested", "_tried", "_unconnected")

    def __init__(self, request: "ForwardedRequest") -> None:
        self._request = request
        self._rested = inf if request.head.method in IDEMPOTENT else RESTED
        """Seconds that the connection for it may have been idle, at most."""
        self._tried: list[str] = []
        """Names of the endpoints that have failed it."""
        self._unconnected = 0
        """How many could not be connected to, where there are others."""
        self._repetitions = 0

    async def obtain_response(self) -> ResponseHead:
        """The head of the response to the request, which is attempted again where that may be done.

        Raises:
            GatewayError: no attempt has brought one, and no other may be made.
        """
        request = self._request
        exchange = request.exchange
        client = request.client
        if not exchange.attempts:
            await self._begin()
        statuses = request.forwarding.retries.statuses
        while True:
            replayable = not client.has_body_left() and len(request.body) <= REPLAYABLE
            failure: UpstreamError
            response: ResponseHead | None = None
            try:
                response = await self._attempt()
                if statuses is None or response.status not in statuses:
                    return response
                failure = RetriedStatus(sent=True, upstream=exchange.upstream)
            except UpstreamError as error:
                failure = error
            pause = self._pause_after(failure, replayable=replayable)
            if pause is None:
                if response is not None:
                    request.body = b""
                    return response
                raise failure
            exchange.fail_attempt(failure)
            request.let_go()
            client.worker.events.fail_attempt(exchange, failure)
            if response is not None:
                exchange.responded = 0.0
                exchange.upstream_status = None
            if pause:
                await sleep(pause)
            exchange.begin_attempt()

    async def _begin(self) -> None:
        """Nothing was attempted yet: gather the body, or its first bytes, and wait for a place."""
        request = self._request
        client = request.client
        request.body = client.take_body()
        if client.has_body_left():
            await self._gather()
        mirror = request.forwarding.mirror
        if mirror is not None:
            complete = not client.has_body_left()
            mirror.copy(client, request.head, request.exchange, request.body, complete=complete)
        if request.body and client.worker.on_body is not None:
            client.worker.on_body(request.body)
        await request.take_place()
        request.exchange.begin_attempt()

    async def _gather(self) -> None:
        """Wait for the rest of a body, or for so much of it that it is worth a connection.

        So a client that does not send what it has announced keeps no connection from others.
        """
        request = self._request
        client = request.client
        await client.ask_for_body()
        pieces = [request.body]
        size = len(request.body)
        while size < request.forwarding.gather and (data := await client.read_body()) is not None:
            pieces.append(data)
            size += len(data)
        request.body = b"".join(pieces)

    async def _attempt(self) -> ResponseHead:
        """Send the request once, unless it is on its way already; returns the head of the response."""
        request = self._request
        exchange = request.exchange
        client = request.client
        connection = request.connection
        if connection is None:
            slot, request.slot = request.slot, None
            request.holds = NOTHING  # of the slot the pool takes care, whatever comes of it
            connection = await request.forwarding.backend.pool.acquire_connection(
                rested=self._rested,
                timeouts=request.forwarding.timeouts,
                slot=slot,
                tried=self._tried,
                key=request.key,
                upload=client.has_body_left(),
            )
            request.send(connection, complete=not client.has_body_left())
        if client.has_body_left():
            client.expect_stream()
            chunked = request.head.length == CHUNKED
            pump = create_task(relay.upwards(client, connection, chunked=chunked))
            request.begin_transfer(connection).pump = pump
        response = await connection.head()
        exchange.responded = monotonic()
        exchange.upstream_status = response.status
        statuses = request.forwarding.retries.statuses
        if statuses is None or response.status not in statuses:
            request.body = b""  # nothing is sent again behind an answer
        transfer = request.transfer
        if transfer is not None and transfer.pump is not None and transfer.pump.done():
            client.drop_rest()
        return response

    def _pause_after(self, failure: UpstreamError, *, replayable: bool) -> float | None:
        """Seconds until the request may be attempted again; None: it may not.

        `replayable`: it has no body, or the gateway held all of it when the attempt was made.
        """
        request = self._request
        exchange = request.exchange
        pool = request.forwarding.backend.pool
        retries = request.forwarding.retries
        lone = len(pool.endpoints) == 1
        if isinstance(failure, ConnectFailed | ConnectTimeout) and not lone:
            self._unconnected += 1
        if failure.upstream is not None:
            exchange.upstream = failure.upstream
        if exchange.upstream is not None and (failure.sent or not failure.reused):
            self._tried.append(exchange.upstream)
        if failure.reused:
            self._rested = NEW
        way = way_on(
            failure,
            request.head.method,
            attempt=exchange.attempts - self._unconnected,
            attempts=retries.attempts,
            replayable=replayable,
            others=pool.has_other_than(self._tried),
            lone=lone,
        )
        if way == NEVER or (way == REPEATED and not request.may_repeat()):
            return None
        if way not in (LATER, REPEATED):
            return 0.0
        self._repetitions += 1
        return random() * longest_pause(self._repetitions, retries.backoff, retries.longest)
