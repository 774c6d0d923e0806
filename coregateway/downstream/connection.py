"""One client connection: the protocol of its transport, with the states of `states`.

Each head is parsed here as soon as it is complete, and a request that needs no waiting is served here, by the
call that brings its last byte. A request that has to wait goes on in a task, which is made for it then
(`task.serve`). Whatever serves it, `complete` ends it, and the exchange goes on record exactly once.

A body may be silent, and a client may leave written bytes untaken, for `patience` seconds, which are
`timeouts.client` of the backend that the request is for, or of the node.
"""

from asyncio import Task
from collections.abc import Awaitable
from time import monotonic
from typing import Final, cast

from coregateway.downstream import task
from coregateway.downstream.answers import write_problem, write_refusal
from coregateway.downstream.head_reader import HeadReader
from coregateway.downstream.states import State
from coregateway.http1.framing import persists
from coregateway.http1.grammar import TooManyFields
from coregateway.http1.path_safety import is_confined
from coregateway.http1.request import RequestHead
from coregateway.http1.rules import FIELDS, NO_TLS, PATH, BrokenRule, late_head
from coregateway.model.addresses import text_and_bytes
from coregateway.model.errors import BadRequest, ClientTimeout, GatewayError, HeadTooLarge, MethodNotAllowed
from coregateway.model.exchange import Exchange
from coregateway.net.deadline import RESOLUTION
from coregateway.net.tls_transport import TlsTransport
from coregateway.net.transport import Transport
from coregateway.proxy.admission import ANSWERED, Refusal, Waiting
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


class ClientConnection(HeadReader):
    """See the module. `application` is what the application keeps of it, made when it is needed."""

    __slots__ = (
        "_certificate",
        "_secured",
        "_task",
        "_tunnel",
        "application",
        "pending_error",
        "task_runs",
    )

    def __init__(
        self, worker: Worker, transport: Transport, peer: str, secured: TlsTransport | None = None
    ) -> None:
        """`secured`: the transport below, if it is over TLS."""
        super().__init__(worker, transport)
        self._secured = secured
        self._certificate: str | None = None
        """The subject of the client's certificate, once a request has come."""
        self.scheme = b"http" if secured is None else b"https"
        self.peer, self.peer_bytes = text_and_bytes(peer)
        self.trusted = peer in worker.plan.proxies
        self.head = None
        self.forwarding = None
        self.context = None
        self.forwarded = None
        self.pending_error: Exception | None = None
        """Why the request cannot be served."""
        self.application: object = None
        self._task: Task[None] | None = None
        self.task_runs = False
        """Whether the task has begun: one that is cancelled before never gets to its `finally`."""
        self._tunnel: Peer | None = None
        worker.clients += 1
        worker.connections.add(self)
        self._limit.within(worker.plan.client_timeout)
        transport.start(self)

    # What the transport calls

    def data_received(self, data: bytes) -> None:
        state = self.state
        if state is IDLE:
            if not self.buffer:
                self.received_at = monotonic()
                self.read_head(data)
            else:
                self.read_head(self.buffer + data)
        elif state is HEAD:
            self.read_head(self.buffer + data)
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
        self.enter(CLOSED)
        self.worker.clients -= 1
        self.worker.connections.discard(self)
        self._end_reading()
        self._end_writing()
        if self._tunnel is not None:
            self._tunnel.lost()
        if self._lingering is not None:
            self._lingering.cancel()
        if self._task is not None:
            self._task.cancel()
        if state is SERVING or state is FLUSHING or (state is TASK and not self.task_runs):
            self.abandon()
        elif state is HEAD:
            self.record_unread()
        if self.worker.on_disconnect is not None:
            self.worker.on_disconnect(self)

    # A request's head

    def begin_request(self, raw: bytes | GatewayError) -> None:
        if self.state is HEAD:
            self._limit.clear()
        self.enter(SERVING)
        self._search = None
        self.served += 1
        self.patience = self.worker.plan.client_timeout
        self.exchange = exchange = Exchange(self.received_at, self.peer)
        if self._secured is not None:
            if self.served == 1:
                self._certificate = self._secured.client_certificate
            exchange.client_cert = self._certificate
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
        try:
            self._serve(cast(RequestHead, self.head), exchange)
        except Exception as error:
            self.fail(error)

    def _check(self, raw: bytes | GatewayError, exchange: Exchange) -> None:
        """Check a head, and find its route."""
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
        if self._secured is not None and self._secured.is_clear:
            raise BadRequest(NO_TLS)
        if self.trusted:
            exchange.client = plan.client_of(self.peer, head)
        if not is_confined(head.path):
            raise BadRequest(PATH)
        self.keep_alive = persists(head)
        self.head_only = head.method == "HEAD"
        if plan.routes.asks_scheme:
            plan.routes.note_scheme(head, self.scheme, told=self.trusted)
        self.route = route = plan.routes.match(head) or plan.own
        if head.length:
            self._open_body(head, route.max_body)

    def _serve(self, head: RequestHead, exchange: Exchange) -> None:
        """Admit the request, and begin to serve it."""
        worker = self.worker
        route = cast(Route, self.route)
        self.forwarding = route.forwarding
        exchange.backend = route.backend
        if route.template:
            exchange.route = route.label
            if route.told_as is not None:
                exchange.route_name = route.told_as
                exchange.template = route.template
        events = worker.events
        if events.on_start is not None:
            events.on_start(exchange)
        verdict = route.admit(self, head)
        if verdict is None:
            forwarding = self.forwarding
            if forwarding is None or worker.via_sanic or not start(forwarding, self, head, exchange):
                self.continue_in_task()
        elif isinstance(verdict, Refusal):
            if worker.via_sanic and isinstance(verdict.error, MethodNotAllowed):
                self.context = None
                self.pending_error = verdict.error  # which Sanic's router raises: subscribers are told
                self.continue_in_task()
                return
            self._end_by(verdict)
        else:
            self.waiting = verdict
            self.continue_in_task()

    # The request that is served

    def continue_in_task(self) -> None:
        self.enter(TASK)
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
        self._end_by(Refusal(error=error))

    def _end_by(self, refusal: Refusal) -> None:
        verdict = self.answer_by(refusal)
        if verdict is None:
            self._complete_now()
        else:
            self.waiting = Waiting(verdict, 0)
            self.continue_in_task()

    def answer_by(self, refusal: Refusal) -> Awaitable[Refusal | None] | None:
        """Answer in the place of a backend, past the response middleware of the route.

        Returns what has to be waited for, if anything.
        """
        middleware = None
        if self.route is not None and refusal is not ANSWERED:
            middleware = self.route.middleware_of(self.forwarding, cast(Exchange, self.exchange))
        if middleware is None:
            self.refuse_by(refusal)
            return None
        verdict = middleware.answer(self, refusal)
        return None if verdict is None or isinstance(verdict, Refusal) else verdict

    def _complete_now(self) -> None:
        """As `complete`; the client has its answer already, so it should be on record."""
        self.complete()
        self.worker.events.end_turn()

    def refuse_by(self, refusal: Refusal) -> None:
        """Answer as a policy says."""
        if refusal is not ANSWERED:
            write_refusal(self, refusal)

    def refuse(self, error: GatewayError) -> None:
        write_problem(self, error)

    def complete(self) -> None:
        if self.request_body is not None:
            self.keep_alive = False  # the rest of it may be endless
        if self.closing:
            self.finish()
            if self.state is not CLOSED:
                self.enter(CLOSING)
            return
        if self.is_write_paused:
            if self.state is not FLUSHING:
                self.enter(FLUSHING)
            return
        forwarding = self.forwarding
        self.finish()
        if not self.keep_alive:
            if self.transport.is_closing():
                self.enter(CLOSING)
            else:
                self.close_lingering(self.worker.plan.linger if forwarding is None else forwarding.linger)
            return
        self.enter(IDLE)
        if self.served == 1 or not self._limit.pending:
            self._limit.within(self.worker.plan.idle_timeout)
        if self.buffer:
            self.worker.loop.call_soon(self.read_buffered)
        elif self._pause.lasts:
            self._pause.resume()

    # Limits of time

    def limit_passed(self) -> None:
        self.catch_up()
        state = self.state
        if state is IDLE:
            # Requests that are served at once do not touch the limit, so it tells only when to look.
            left = self.received_at + self.time_between_requests() - monotonic()
            if self.buffer:
                self._limit.within(self.time_between_requests())  # the next request is about to be read
            elif left > RESOLUTION:
                self._limit.within(left)
            else:
                self.close()
        elif state is HEAD:
            self.begin_request(ClientTimeout(rule=late_head(self.worker.plan.client_timeout)))
        elif state is TASK:
            self._wake_reader()
        else:
            self._limit.within(self.worker.plan.idle_timeout)

    # The end of the connection

    def open_tunnel(self, tunnel: Peer) -> bytes:
        self.enter(TUNNEL)
        self._tunnel = tunnel
        return self.take()
