"""What a request holds of its backend, and how it gives that back: exactly once, on every way."""

from enum import Enum, auto
from time import monotonic
from typing import Final

from mypy_extensions import mypyc_attr

from coregateway.http1.request import RequestHead
from coregateway.model.errors import Overloaded, ReadTimeout, TotalTimeout
from coregateway.model.exchange import Exchange
from coregateway.proxy.client import Client
from coregateway.proxy.client_transfer import ClientTransfer
from coregateway.proxy.route import Forwarding
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.endpoint import Endpoint
from coregateway.upstream.in_flight_limit import InFlightLimit
from coregateway.upstream.wait_queue import Waiter


class Holds(Enum):
    """What a forwarded request holds of its backend, and has to give back."""

    NOTHING = auto()
    PLACE = auto()
    """A place in the queue."""
    SLOT = auto()
    """The right to open a connection."""
    CONNECTION = auto()
    STREAM = auto()
    """A connection that carries a stream, and counts to no limit of connections."""
    RELEASED = auto()
    """Nothing, and it never will again."""


NOTHING: Final = Holds.NOTHING
PLACE: Final = Holds.PLACE
SLOT: Final = Holds.SLOT
CONNECTION: Final = Holds.CONNECTION
STREAM: Final = Holds.STREAM
RELEASED: Final = Holds.RELEASED


@mypyc_attr(acyclic=True)
class BackendClaim(Waiter):
    """Of one request: `ForwardedRequest` takes what it needs, and `release` gives it back."""

    __slots__ = (
        "client",
        "connection",
        "exchange",
        "forwarding",
        "head",
        "holds",
        "is_repetition",
        "place",
        "slot",
        "transfer",
    )

    def __init__(self, forwarding: Forwarding, client: Client, head: RequestHead, exchange: Exchange) -> None:
        self.forwarding = forwarding
        self.client = client
        self.head = head
        self.exchange = exchange
        self.holds = NOTHING
        self.connection: UpstreamConnection | None = None
        self.slot: Endpoint | None = None
        """Where it may open a connection."""
        self.transfer: ClientTransfer | None = None
        """Of bodies that are streamed."""
        self.place: InFlightLimit | None = None
        """Where it counts among the requests of the node."""
        self.is_repetition = False
        """Whether it takes from the node's budget for those."""
        client.patience = forwarding.client_timeout
        forwarding.backend.in_flight += 1

    def done(self) -> bool:
        """Whether it waits in the queue no more."""
        return self.holds is not PLACE

    def release(self) -> None:
        """Give back everything that the request holds; the second call does nothing."""
        if self.holds is RELEASED:
            return
        self.let_go()
        self.holds = RELEASED
        if self.forwarding.total is not None:
            self.forwarding.total.take_away(self)
        if self.is_repetition and self.forwarding.backend.budget is not None:
            self.forwarding.backend.budget.give_back()
        if self.place is not None:
            self.place.give_back()
            self.place = None
        self.client.forwarded = None
        self.forwarding.backend.in_flight -= 1

    def may_repeat(self) -> bool:
        """Whether the node's budget allows it to be sent again; it takes from that until it ends."""
        budget = self.forwarding.backend.budget
        if self.is_repetition or budget is None:
            return True
        self.is_repetition = budget.take()
        return self.is_repetition

    async def take_place(self) -> None:
        """Wait until it may be one of the backend's requests (`max_in_flight`), where those are limited.

        Raises: as `InFlightLimit.take`.
        """
        limit = self.forwarding.backend.limit
        if limit is not None and self.place is None:
            began = monotonic()
            try:
                await limit.take(self.forwarding.timeouts.pool)
                self.place = limit
            finally:
                self.exchange.waited += monotonic() - began

    def begin_transfer(self, connection: UpstreamConnection) -> ClientTransfer:
        """A body is about to be streamed over a connection that others may wait for."""
        transfer = self.transfer
        if transfer is None:
            slow_clients = self.forwarding.backend.slow_clients
            self.transfer = transfer = ClientTransfer(self, connection, slow_clients)
        return transfer

    def begin_stream(self, connection: UpstreamConnection) -> None:
        """Its response is a stream, which gives others its slot. Raises Overloaded: there are too many."""
        if not connection.endpoint.begin_stream(connection):
            connection.abort()
            raise Overloaded
        self.holds = STREAM
        if self.transfer is not None:
            self.transfer.leave()

    @property
    def is_uploading(self) -> bool:
        """Whether its body was not at hand when it was sent."""
        return self.transfer is not None and self.transfer.pump is not None

    def expire(self) -> None:
        """The time for the request as a whole is spent, and no task serves it."""
        self.note_late()
        self.client.fail(TotalTimeout())

    def note_late(self) -> None:
        """Its time is spent: an upstream that owed the answer has failed."""
        connection = self.connection
        if connection is not None and not self.is_uploading and not connection.answered:
            connection.endpoint.note_failure(ReadTimeout.cause, connection.endpoint.now)

    def let_go(self) -> None:
        """Give back what belongs to one attempt."""
        holds = self.holds
        self.holds = NOTHING
        connection = self.connection
        if holds is CONNECTION and connection is not None:
            self.exchange.upstream_ended = monotonic()
            self.client.source = connection.source = None
            if self.transfer is not None:
                self.transfer.close()
                self.transfer = None
            self.connection = None
            connection.endpoint.release(connection)
        elif holds is PLACE:
            self.forwarding.backend.pool.leave_queue()
        elif holds is SLOT and self.slot is not None:
            self.slot.release_slot()
            self.slot = None
        elif holds is STREAM and connection is not None:
            self.exchange.upstream_ended = monotonic()
            self.client.source = connection.source = None
            if self.transfer is not None:
                self.transfer.close()
                self.transfer = None
            self.connection = None
            connection.endpoint.end_stream(connection)
