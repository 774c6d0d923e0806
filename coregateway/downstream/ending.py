"""The end of an exchange and of its connection: the record, lingering, the drain, room for newcomers.

`ClientConnection` decides that something ends; this says how.
"""

from time import monotonic
from typing import Final, cast

from coregateway.downstream.request_reader import RequestReader
from coregateway.downstream.states import State
from coregateway.model.errors import ClientClosed, Draining
from coregateway.model.exchange import Exchange, request_id
from coregateway.net.lingering_close import DRAIN, LingeringClose
from coregateway.net.transport import Transport
from coregateway.proxy.admission import Waiting
from coregateway.proxy.worker import Worker

IDLE: Final = State.IDLE
LINGERING: Final = State.LINGERING
CLOSING: Final = State.CLOSING

NEWCOMER: Final = 1.0
"""Seconds from its beginning in which the drain leaves a connection that has brought no request yet: the
first may be on its way."""

FIRST_REQUEST: Final = 0.25
"""The same, where another client waits for the connection's descriptor: a silent one must not hold it."""


class EndingConnection(RequestReader):
    """See the module."""

    __slots__ = ("_lingering", "received_at", "served", "state", "waiting")

    def __init__(self, worker: Worker, transport: Transport) -> None:
        super().__init__(worker, transport)
        self.state = IDLE
        self.received_at = monotonic()
        """When the request that is served began to come; between two requests, when the last one ended."""
        self.served = 0
        """Requests, with the one that is served."""
        self.route = None
        """Of the request that is served."""
        self.waiting: Waiting | None = None
        """A verdict of its admission that its task has to wait for first."""
        self._lingering: LingeringClose | None = None

    def enter(self, state: State) -> None:
        """Take a step of the table; any other is a defect (AssertionError)."""
        if state not in self.state.following:
            raise AssertionError(f"no way from {self.state.value} to {state.value}")
        self.state = state

    def finish(self) -> None:
        """The exchange is over: put it on record."""
        exchange = self.exchange
        if exchange is None:
            return
        exchange.ended = monotonic()
        if exchange.held is not None:
            exchange.held.give_back()
        notable = self.worker.notable
        if notable is not None and notable.is_notable(exchange):
            notable.keep(self, exchange)
        self.worker.events.end(exchange)
        if not self.buffer:
            self.received_at = exchange.ended
        self.exchange = self.head = self.route = self.forwarding = self.request_body = self.context = None
        self.head_only = self.expecting_continue = False
        self.read_ahead = b""

    def note_departure(self) -> None:
        """The client has left before its answer was complete."""
        self.keep_alive = False
        exchange = cast(Exchange, self.exchange)
        if exchange.error is None:
            exchange.error = ClientClosed.cause
            exchange.status = ClientClosed.status

    def abandon(self) -> None:
        """The client has left a request that no task serves."""
        if self.forwarded is not None:
            self.forwarded.abandon()
        if self.waiting is not None:
            self.waiting.drop()
            self.waiting = None
        self.note_departure()
        self.finish()

    def record_unread(self) -> None:
        """A head that began to come and never will be complete is a request, too."""
        self.exchange = exchange = Exchange(self.received_at, self.peer)
        exchange.request_id = request_id(None)
        if self.worker.draining:
            exchange.error = Draining.cause
            exchange.status = Draining.status
        self.note_departure()
        self.finish()

    def close_lingering(self, seconds: float) -> None:
        """Close for writing, and read on for so many seconds so that what was written arrives."""
        if not seconds:
            self.enter(CLOSING)
            self.close()
            return
        worker = self.worker
        self.enter(LINGERING)
        if worker.draining:
            seconds = min(seconds, DRAIN)
        self._lingering = LingeringClose(worker.loop, worker.lingering, self.close, seconds)
        self.drop_all()
        worker.io.writer.flush()
        self.transport.write_eof()

    @property
    def idle_since(self) -> float | None:
        """When the last request has ended, in monotonic seconds, if nothing is under way; else None.

        None, too, for a connection that has just come: its first request may be on its way.
        """
        lingers = self.state is LINGERING
        if not (lingers or self.state is IDLE) or self.buffer:
            return None
        if self.closing or self.is_write_paused or self.transport.get_write_buffer_size():
            return None
        since = self.received_at
        return since if self.served or monotonic() - since >= FIRST_REQUEST else None

    def close_if_idle(self) -> bool:
        """For the drain: end the connection, unless a request is under way or has begun to arrive."""
        if self._lingering is not None:
            self._lingering.hurry()
            return False
        if self.state is not IDLE or self.buffer:
            return False
        left = 0.0 if self.served else self.received_at + NEWCOMER - monotonic()
        if left > 0:
            self.worker.loop.call_later(left, self.close_if_idle)
            return False
        self.close()
        return True

    def abort(self) -> None:
        """As `ResponseWriter.abort`. When the grace of a shutdown is over, it is not the client that left."""
        exchange = self.exchange
        if self.worker.draining and exchange is not None and exchange.error is None:
            exchange.error = Draining.cause
            exchange.status = exchange.status or Draining.status
        super().abort()
