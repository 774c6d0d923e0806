"""One client connection: the protocol of its transport, with the states of `states`.

Each head is parsed here as soon as it is complete, and a request that needs no waiting is served here, by the
call that brings its last byte. A request that has to wait goes on in a task, which is made for it then
(`task.serve`). Whatever serves it, `complete` ends it, and the exchange goes on record exactly once.

The limits of time come from the settings:

- a request head must be complete `timeouts.client` seconds after its first byte (so trickling does not help);
- a body may be silent, and a client may leave written bytes untaken, for `patience` seconds, which are
  `timeouts.client` of the backend that the request is for, or of the node;
- between two requests a connection may be idle for `timeouts.idle` seconds.
"""

from asyncio import Task
from functools import lru_cache
from time import monotonic
from typing import Final, cast

from coregateway.downstream import task
from coregateway.downstream.answers import empty, problem
from coregateway.downstream.head_search import HeadSearch
from coregateway.downstream.request_reader import RequestReader
from coregateway.downstream.states import State
from coregateway.http1.framing import persists
from coregateway.http1.grammar import END, TooManyFields
from coregateway.http1.path_safety import is_confined
from coregateway.http1.request import RequestHead
from coregateway.http1.rules import FIELDS, PATH, BrokenRule
from coregateway.model.errors import (
    BadRequest,
    ClientClosed,
    ClientTimeout,
    Draining,
    GatewayError,
    HeadTooLarge,
)
from coregateway.model.exchange import Exchange, request_id
from coregateway.net.batched_writer import outbox
from coregateway.net.deadline import RESOLUTION
from coregateway.net.lingering_close import DRAIN, LingeringClose
from coregateway.net.plain_transport import PlainTransport
from coregateway.proxy.admission import Refusal, Waiting
from coregateway.proxy.forwarded_request import start
from coregateway.proxy.route import Route
from coregateway.proxy.worker import Worker
from coregateway.upstream.roles import Peer

IDLE: Final = State.IDLE
HEAD: Final = State.HEAD
SERVING: Final = State.SERVING
TASK: Final = State.TASK
FLUSHING: Final = State.FLUSHING
TUNNEL: Final = State.TUNNEL
LINGERING: Final = State.LINGERING
CLOSING: Final = State.CLOSING
CLOSED: Final = State.CLOSED

NEWCOMER: Final = 1.0
"""Seconds from its beginning in which the drain leaves a connection that has brought no request yet: the
first may be on its way."""

FIRST_REQUEST: Final = 0.25
"""The same, where another client waits for the connection's descriptor: a silent one must not hold it."""


class ClientConnection(RequestReader):
    """See the module. `application` is what the application keeps of it, made when it is needed."""

    __slots__ = (
        "_lingering",
        "_search",
        "_task",
        "_tunnel",
        "application",
        "head_only",
        "pending_error",
        "received_at",
        "route",
        "served",
        "state",
        "task_runs",
        "waiting",
    )

    def __init__(self, worker: Worker, transport: PlainTransport, peer: str) -> None:
        super().__init__(worker, transport)
        self.state = IDLE
        self.received_at = monotonic()
        """When the request that is served began to come; between two requests, when the last one ended."""
        self.served = 0
        """Requests, with the one that is served."""
        self.peer, self.peer_bytes = _shared(peer)
        self.trusted = peer in worker.plan.proxies
        self.head = None
        self.head_only = False
        """Whether a response goes without its body: the request is a HEAD."""
        self.route: Route | None = None
        self.forwarded = None
        self.waiting: Waiting | None = None
        """A policy's verdict that the task has to wait for first."""
        self.pending_error: Exception | None = None
        """Why the request cannot be served."""
        self.application: object = None
        self._search: HeadSearch | None = None
        self._task: Task[None] | None = None
        self.task_runs = False
        """Whether the task has begun: one that is cancelled before never gets to its `finally`."""
        self._tunnel: Peer | None = None
        self._lingering: LingeringClose | None = None
        worker.clients += 1
        worker.connections.add(self)
        self._limit.within(worker.plan.client_timeout)
        transport.begin(self)

    def _enter(self, state: State) -> None:
        if state not in self.state.following:
            raise AssertionError(f"no way from {self.state.value} to {state.value}")
        self.state = state

    # What the transport calls

    def data_received(self, data: bytes) -> None:
        state = self.state
        if state is IDLE:
            if not self.buffer:
                self.received_at = monotonic()
                self._read_head(data)
            else:
                self._read_head(self.buffer + data)
        elif state is HEAD:
            self._read_head(self.buffer + data)
        elif state is TUNNEL:
            cast(Peer, self._tunnel).receive(data)
        elif state is SERVING or state is TASK or state is FLUSHING:
            if not self.buffer:
                self.received_at = monotonic()
            self._keep(data)

    def eof_received(self) -> bool:
        if self._tunnel is not None:
            self._tunnel.receive_eof()
            return True
        return False

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._tunnel is not None:
            self._tunnel.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._tunnel is not None:
            self._tunnel.resume()
        elif self.state is FLUSHING:
            self.complete()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- a `Receiver`
        state = self.state
        self._enter(CLOSED)
        self.worker.clients -= 1
        self.worker.connections.discard(self)
        self._end_reading()
        self._end_writing()
        if self._tunnel is not None:
            self._tunnel.lost()
        if self._lingering is not None:
            self._lingering.end()
        if self._task is not None:
            self._task.cancel()
        if state is SERVING or state is FLUSHING or (state is TASK and not self.task_runs):
            self._abandon()
        elif state is HEAD:
            self._record_unread()

    # A request's head

    def _read_head(self, data: bytes) -> None:
        """Serve the request whose head these bytes begin with, if they hold all of it."""
        search = self._search
        max_head = self.worker.plan.max_head
        if search is None:
            end = data.find(END) + len(END)
            if len(END) <= end <= max_head and not data.startswith(b"\r\n"):
                if end == len(data):
                    self.buffer = b""
                else:
                    self.buffer = data[end:]
                    data = data[:end]
                self._begin_request(data)
                return
            search = self._search = HeadSearch(max_head)
        try:
            self.buffer = data = search.trim(data)
            end = search.find(data)
        except GatewayError as error:
            self._begin_request(error)
            return
        if end >= 0:
            self.buffer = data[end + len(END) :]
            self._begin_request(data[: end + len(END)])
            return
        self.read_on()
        if not data:
            if self.state is HEAD:
                self._enter(IDLE)
            self._limit.within(self._time_between_requests())
        elif self.state is IDLE:
            self._enter(HEAD)
            self._limit.within(self.worker.plan.client_timeout)

    def _begin_request(self, raw: bytes | GatewayError) -> None:
        """Open the exchange of a request: its head, or why there is none; and serve it."""
        if self.state is HEAD:
            self._limit.clear()
        self._enter(SERVING)
        self._search = None
        self.served += 1
        self.patience = self.worker.plan.client_timeout
        self.exchange = exchange = Exchange(self.received_at, self.peer)
        if self.buffer:
            self.received_at = monotonic()  # of the next request, which is here already
        try:
            self._check(raw, exchange)
        except GatewayError as error:
            begun = raw if isinstance(raw, bytes) else self.buffer
            self.head_only = begun.startswith(b"HEAD ")  # whatever is wrong with the rest of it
            self.keep_alive = False
            if self.head is None:
                exchange.describe_refused(begun)
            self._end_with(error)
            return
        events = self.worker.events
        if events.on_start is not None:
            events.on_start(exchange)
        try:
            self._serve(cast(RequestHead, self.head), exchange)
        except Exception as error:
            self.fail(error)

    def _check(self, raw: bytes | GatewayError, exchange: Exchange) -> None:
        """Check a head by all rules that do not depend on the route."""
        if isinstance(raw, GatewayError):
            raise raw
        plan = self.worker.plan
        try:
            head = RequestHead(raw)
        except TooManyFields:
            raise HeadTooLarge(FIELDS) from None
        except BrokenRule as error:
            raise BadRequest(error.rule) from None
        self.head = head
        exchange.describe(head, plan.tracer)
        if self.trusted:
            exchange.client = plan.client_of(self.peer, head)
        if not is_confined(head.path):
            raise BadRequest(PATH)
        self.keep_alive = persists(head)
        self.head_only = head.method == "HEAD"
        if head.length:
            self._open_body(head, plan.max_body)

    def _serve(self, head: RequestHead, exchange: Exchange) -> None:
        """Route the request, admit it, and begin to serve it."""
        worker = self.worker
        plan = worker.plan
        route = plan.routes.match(head.path)
        if route is None:
            route = plan.own
        self.route = route
        forwarding = route.forwarding
        if forwarding is not None:
            exchange.backend = route.name
            exchange.route = route.prefix
        verdict = route.admit(self, head)
        if verdict is None:
            if forwarding is None or worker.via_sanic or not start(forwarding, self, head, exchange):
                self.continue_in_task()
        elif isinstance(verdict, Refusal):
            if worker.via_sanic and verdict.error is not None:
                self.continue_in_task()  # Sanic's router says the same, and middleware sees it
                return
            self.refuse_by(verdict)
            self._complete_now()
        else:
            self.waiting = verdict
            self.continue_in_task()

    # The request that is served

    def continue_in_task(self) -> None:
        self._enter(TASK)
        self.task_runs = False
        self._task = self.worker.loop.create_task(task.serve(self))

    def fail(self, error: Exception) -> None:
        """A request that no task serves has waited in vain, or a defect of the gateway has stopped it."""
        if self.forwarded is not None:
            self.forwarded.release()
        if isinstance(error, GatewayError):
            self._end_with(error)
        else:
            self.pending_error = error
            self.continue_in_task()

    def end_task(self) -> None:
        """The task has served the request."""
        self._task = None
        self._complete_now()

    def _end_with(self, error: GatewayError) -> None:
        self.refuse(error)
        self._complete_now()

    def _complete_now(self) -> None:
        """As `complete`; the client has its answer already, so it should be on record."""
        self.complete()
        self.worker.events.end_turn()

    def refuse_by(self, refusal: Refusal) -> None:
        """Answer as a policy says."""
        if refusal.error is not None:
            self.refuse(refusal.error)
            return
        exchange = cast(Exchange, self.exchange)
        self.discard_body()
        self._write_own(refusal.status, empty(self, exchange, refusal.status, refusal.fields))

    def refuse(self, error: GatewayError) -> None:
        exchange = cast(Exchange, self.exchange)
        exchange.fail(error)
        if error.closes:
            self.keep_alive = False
        if not exchange.request_id:
            exchange.request_id = request_id(None)
        if self.keep_alive:
            self.discard_body()
        self._write_own(error.status, problem(self, exchange, error, bodiless=self.head_only))

    def _write_own(self, status: int, data: bytes) -> None:
        outbox.flush()  # an earlier answer may wait in it
        self.begin_response(status, data, len(data) - data.find(END) - len(END))
        self.drop_rest()

    def complete(self) -> None:
        if self.request_body is not None:
            self.keep_alive = False  # the rest of it may be endless
        if self.closing:
            self._finish()
            if self.state is not CLOSED:
                self._enter(CLOSING)
            return
        if self.is_write_paused:
            if self.state is not FLUSHING:
                self._enter(FLUSHING)
            return
        route = self.route
        self._finish()
        if not self.keep_alive:
            if self.transport.is_closing():
                self._enter(CLOSING)
            else:
                self._close_lingering(route)
            return
        self._enter(IDLE)
        if self.served == 1 or not self._limit.pending:
            self._limit.within(self.worker.plan.idle_timeout)
        if self.buffer:
            self.worker.loop.call_soon(self._read_buffered)
        elif self._pause.lasts:
            self._pause.end()

    def _finish(self) -> None:
        """The exchange is over: put it on record."""
        exchange = self.exchange
        if exchange is None:
            return
        exchange.ended = monotonic()
        self.worker.events.end(exchange)
        if not self.buffer:
            self.received_at = exchange.ended
        self.exchange = self.head = self.route = self.request_body = None
        self.head_only = self.expecting_continue = False

    def _read_buffered(self) -> None:
        """The next request is here already, or a part of it."""
        if self.state is IDLE and self.buffer:
            self._read_head(self.buffer)

    def _abandon(self) -> None:
        """The client has left a request that no task serves."""
        if self.forwarded is not None:
            self.forwarded.release()
        self.note_departure()
        self._finish()

    def note_departure(self) -> None:
        """The client has left before its answer was complete."""
        self.keep_alive = False
        exchange = cast(Exchange, self.exchange)
        if exchange.error is None:
            exchange.error = ClientClosed.cause
            exchange.status = ClientClosed.status

    def _record_unread(self) -> None:
        """A head that began to come and never will be complete is a request, too."""
        self.exchange = exchange = Exchange(self.received_at, self.peer)
        exchange.request_id = request_id(None)
        if self.worker.draining:
            exchange.error = Draining.cause
            exchange.status = Draining.status
        self.note_departure()
        self._finish()

    # Limits of time

    def _time_between_requests(self) -> float:
        plan = self.worker.plan
        return plan.idle_timeout if self.served else plan.client_timeout

    def limit_passed(self) -> None:
        self.catch_up()
        state = self.state
        if state is IDLE:
            # Requests that are served at once do not touch the limit, so it tells only when to look.
            left = self.received_at + self._time_between_requests() - monotonic()
            if left > RESOLUTION:
                self._limit.within(left)
            else:
                self.close()
        elif state is HEAD:
            self._begin_request(ClientTimeout())
        elif state is TASK:
            self._wake_reader()
        else:
            self._limit.within(self.worker.plan.idle_timeout)

    # The end of the connection

    def open_tunnel(self, tunnel: Peer) -> bytes:
        self._enter(TUNNEL)
        self._tunnel = tunnel
        return self.take()

    def _close_lingering(self, route: Route | None) -> None:
        """Close for writing, and read on for a while so that what was written arrives.

        `route`: of the last request; its time holds.
        """
        seconds = self.worker.plan.linger
        if route is not None and route.forwarding is not None:
            seconds = route.forwarding.linger
        if not seconds:
            self._enter(CLOSING)
            self.close()
            return
        worker = self.worker
        self._enter(LINGERING)
        if worker.draining:
            seconds = min(seconds, DRAIN)
        self._lingering = LingeringClose(worker.loop, worker.lingering, self.close, seconds)
        self.drop_all()
        outbox.flush()
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


@lru_cache(maxsize=1024)
def _shared(address: str) -> tuple[str, bytes]:
    """An address as text and as bytes, which all connections of one host share."""
    return address, address.encode()
