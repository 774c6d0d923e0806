"""The `Sanic` subclass: routes forwarded paths, renders errors, announces exchanges."""

import sys
from asyncio import CancelledError, current_task, get_running_loop
from collections.abc import Iterable
from functools import partial
from itertools import chain
from socket import socket
from time import monotonic
from typing import Any, cast
from warnings import filterwarnings

from sanic import Sanic
from sanic.config import Config
from sanic.constants import HTTP_METHODS
from sanic.exceptions import SanicException
from sanic.response import HTTPResponse
from sanic.server import AsyncioServer

from coregateway import COMPILED, __version__
from coregateway.downstream.connection import ClientConnection
from coregateway.downstream.states import State
from coregateway.http1.date import date
from coregateway.http1.request import RequestHead
from coregateway.logs.events import SANIC_LOG_CONFIG, event
from coregateway.net.acceptor import Acceptor
from coregateway.net.pipes import MOST as PIPES
from coregateway.net.plain_transport import PlainTransport
from coregateway.net.sockets import peer_address
from coregateway.net.tls_transport import TlsTransport
from coregateway.net.transport import Transport
from coregateway.node import descriptors
from coregateway.node.listeners import BACKLOG, CannotListen, Listeners, adopt, listen, listen_for_admin
from coregateway.node.running import Running, RunningState
from coregateway.node.service_manager import WrongSocket, passed_sockets
from coregateway.node.workers import found
from coregateway.proxy.client import Client
from coregateway.proxy.policies import OWN_METHODS
from coregateway.proxy.server_timing import server_timing
from coregateway.sanic_app import extension
from coregateway.sanic_app.backend_handle import BackendHandle
from coregateway.sanic_app.context import Context
from coregateway.sanic_app.given_certificates import with_given_certificates
from coregateway.sanic_app.handshake_lines import HandshakeLines
from coregateway.sanic_app.http_events import HttpEvents
from coregateway.sanic_app.inspector import logged
from coregateway.sanic_app.policy_answer import PolicyAnswer, field_pairs
from coregateway.sanic_app.problems import Problems
from coregateway.sanic_app.protocol import Entrance
from coregateway.sanic_app.request import CURRENT, GatewayRequest, open_request
from coregateway.sanic_app.router import GatewayRouter
from coregateway.sanic_app.signals import RESPONSE, GatewaySignals
from coregateway.sanic_app.stream import SanicConnection, SanicStream
from coregateway.sanic_app.unsupported import ASGI_CLIENT_REFUSED, refuse_asgi, refuse_unsupported
from coregateway.settings import Settings
from coregateway.settings.shadowed import warnings
from coregateway.shared_memory import Board
from coregateway.shared_memory.board import SPARE

UNCOUNTED = "no listeners have run: await server.before_start(), or nothing is counted and no backend closed"
SWITCHED = 101
"""The status of a request whose connection speaks WebSocket from then on."""


class Gateway(Sanic[Config, Context]):
    """Sanic with the gateway's seams in place: protocol, signals, errors, and a short way to the backends."""

    signal_router: GatewaySignals  # pyright: ignore[reportIncompatibleVariableOverride] -- always ours

    def __init__(self, name: str, settings: Settings, *, admin_required: bool = False) -> None:
        """`admin_required`: without the admin address the gateway does not start."""
        signals = GatewaySignals()
        super().__init__(
            name,
            ctx=Context(settings, signals, admin_required=admin_required),
            error_handler=Problems(),
            router=GatewayRouter(),
            signal_router=signals,
            log_config=SANIC_LOG_CONFIG,
        )
        if COMPILED:
            # Compiled coroutines pass a cancellation on like this, and Sanic has deprecations told.
            filterwarnings("ignore", r"the \(type, exc, tb\) signature of throw\(\)", DeprecationWarning)
        self.config.update(ACCESS_LOG=False, MOTD=False, **extension.OPTIONS)
        self.add_signal(complete_own_answer, RESPONSE)
        self.ctx.worker.application = self.serve_client

    def prepare(self, host: str | None = None, port: int | None = None, **options: Any) -> None:
        """As Sanic's, with the settings in the place of what was not given, and the gateway's own sockets.

        Exits with a line on stderr: with status 1 when an address cannot be had, with 2 when Sanic's options
        ask for what this gateway does not do.
        """
        refuse_unsupported(options)
        self.ctx.settings = settings = with_given_certificates(self.ctx.settings, options.pop("ssl", None))
        host = host or settings.host
        port = settings.port if port is None else port
        options |= {"protocol": Entrance, "access_log": False, "motd": False, "backlog": BACKLOG}
        single = bool(options.get("single_process"))
        # Sanic's own flags for their number are in the settings already, which know what was not given.
        options.pop("fast", None)
        given = options.get("workers", 1)
        options["workers"] = workers = settings.workers if given in (0, 1) and not single else given
        descriptors.raise_limit()
        accepts = not (options.get("unix") or options.get("sock"))
        if accepts:
            try:
                passed = passed_sockets()
                sock = adopt(passed.clients) if passed.clients else listen(host, port, workers)
                options["sock"] = sock
                sock.clear = self._listen_in_the_clear(passed.clear, host, workers)
                sock.admin = passed.admin or self._listen_for_admin()
            except (CannotListen, WrongSocket) as error:
                print(error, file=sys.__stderr__)  # sys.stderr gives log lines by now
                raise SystemExit(1) from None
            for warning in warnings(settings):
                event("settings.shadowed_route", level="WARNING", message=warning)
            event(
                "gateway.starting",
                version=__version__,
                compiled=COMPILED,
                host=sock.getsockname()[0] if sock.passed else host,
                port=sock.getsockname()[1],
                http_port=sock.clear.getsockname()[1] if sock.clear else None,
                admin=":".join(map(str, sock.admin.getsockname()[:2])) if sock.admin else None,
                workers=workers,
            )
            host = port = None
        running = RunningState()
        running.publish(Running.first(settings))
        board = Board(workers, 2 * len(settings.backends) + SPARE)
        if single:
            self.ctx.running, self.ctx.board = running, board
        else:
            found(self, board, running)
        self.inspector_class: Any = logged(self.inspector_class, settings)
        super().prepare(host, port, **options)  # pyright: ignore[reportUnknownMemberType] -- its options are
        if accepts:
            # What Sanic's server takes, though no option of `prepare`: the worker accepts itself (`accept`).
            self.state.server_info[-1].settings |= {
                "asyncio_server_kwargs": {"start_serving": False},
                "connections": set[Client](),
            }

    async def create_server(self, *arguments: Any, **options: Any) -> AsyncioServer | None:
        """As Sanic's, with the gateway's own protocol, and the settings where host and port are not given."""
        refuse_unsupported(options)
        self.ctx.settings = settings = with_given_certificates(self.ctx.settings, options.pop("ssl", None))
        if not (arguments or options.get("sock") or options.get("unix")):
            options["host"] = options.get("host") or settings.host
            options["port"] = settings.port if options.get("port") is None else options["port"]
        options["protocol"] = options.get("protocol") or Entrance
        return await super().create_server(*arguments, **options)  # pyright: ignore[reportUnknownMemberType] -- its options are

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse an ASGI server: it has connections of its own, and hands over requests alone."""
        await refuse_asgi(scope, receive, send)

    @property
    def asgi_client(self) -> Any:
        """Refused, as ASGI servers are. Raises `RuntimeError`."""
        raise RuntimeError(ASGI_CLIENT_REFUSED)

    def accept(self, listener: socket, *, clear: bool = False) -> Acceptor:
        """Let clients in at this socket from now on, in the loop that runs; `clear`: whatever the settings
        say, not over TLS."""
        loop = get_running_loop()
        worker = self.ctx.worker
        worker.connections = cast(set[Client], self.state.server_info[0].settings["connections"])
        backends = self.ctx.settings.backends.values()
        limits = self.ctx.settings.limits
        upstreams = sum(len(row.urls) for row in backends) * (limits.max_connections + limits.max_streams)
        limit = descriptors.limit()
        pipes = worker.io.pipes
        pipes.most = min(PIPES, max(limit // descriptors.FOR_PIPES // descriptors.PER_PIPE, 1))
        room = descriptors.room_for_clients(limit, descriptors.in_use(), upstreams, pipes.most)
        connections = cast(set[ClientConnection], worker.connections)
        serve = partial(self.serve_socket, clear=clear)
        acceptor = Acceptor(loop, listener, serve, connections, room, _warn)
        acceptor.start()
        return acceptor

    def serve_socket(self, accepted: socket, *, clear: bool = False) -> None:
        """Serve the client behind a socket; `clear` as for `accept`."""
        if not self.ctx.is_open:  # `create_server` without `before_start`, which Sanic does not demand
            event("server.uncounted", level="WARNING", message=UNCOUNTED)
            self.open_worker()
        worker = self.ctx.worker
        events = self.ctx.http_events
        tls = None if clear else self.ctx.security.tls
        peer = peer_address(accepted)
        secured = None if tls is None else TlsTransport(worker.io, accepted, server=tls, peer=peer)
        transport: Transport = PlainTransport(worker.io, accepted) if secured is None else secured
        if events.send:
            transport = events.observe(transport)
        client = ClientConnection(worker, transport, peer, secured)
        if events.of_connections:
            client.application = connection = SanicConnection(self, client)
            connection.begun = events.begin(connection.conn_info)

    def _listen_in_the_clear(self, passed: socket | None, host: str, workers: int) -> Listeners | None:
        if passed is not None:
            return adopt(passed)
        port = self.ctx.settings.tls.http_port
        return listen(host, port, workers) if port else None

    def _listen_for_admin(self) -> socket | None:
        endpoint = self.ctx.settings.admin.endpoint
        if endpoint is None:
            return None
        try:
            return listen_for_admin(*endpoint)
        except CannotListen as error:
            if self.ctx.admin_required:
                raise
            event("admin.unavailable", level="WARNING", reason=str(error))
            return None

    async def serve_client(self, client: ClientConnection) -> None:
        """Serve a request by Sanic's router, middleware and handlers."""
        request = self._request_of(client)
        stream = cast(SanicStream, request.stream)
        stream.protocol.serving = current_task()
        try:
            await stream.serve()
        except CancelledError:
            if client.exchange is None or client.exchange.status != SWITCHED:
                raise
            # A WebSocket has ended, as all of them do: with its connection.
        finally:
            if client.state is State.TUNNEL:
                client.close()
            stream.protocol.serving = None
            request.detach()

    def _complete(self, client: Client) -> None:
        """Tell of a connection that has ended."""
        known = cast(ClientConnection, client).application
        if isinstance(known, SanicConnection):
            self.ctx.http_events.complete(known.conn_info, known.serving)

    def open_worker(self) -> None:
        """Make what the connections of this process share; a loop must be running."""
        self.ctx.http_events = events = HttpEvents(self.signal_router)
        worker = self.ctx.worker
        worker.on_disconnect = self._complete if events.of_connections else None
        worker.on_body = events.relay_body if events.body else None
        via_sanic = self.signal_router.observes_http
        self.ctx.open(self.own_methods, partial(self.ctx.middleware.on_routes, self), via_sanic=via_sanic)
        worker.io.handshakes.tell = HandshakeLines().tell

    def backend(self, name: str) -> BackendHandle:
        """One of the backends: its client, and its own middleware.

        Raises LookupError: the settings have no such backend.
        """
        handles = self.ctx.handles
        if name not in handles:
            known = self.ctx.settings.backends
            if name not in known:
                raise LookupError(
                    f"no backend {name!r} in the settings; there are {', '.join(known) or 'none'}"
                )
            handles[name] = BackendHandle(self, name)
        return handles[name]

    def routes_of_backend(self, name: str) -> tuple[str, str]:
        """The names of a backend's routes in Sanic's router."""
        return f"{self.name}.{name}.root", f"{self.name}.{name}.path"

    def connection_of(self, client: ClientConnection) -> SanicConnection:
        """A client's connection, as handlers and middleware have it."""
        known = client.application
        if not isinstance(known, SanicConnection):
            client.application = known = SanicConnection(self, client)
        return known

    def stream_of(self, request: GatewayRequest) -> SanicStream:
        """What a request is read from, and its answer written to."""
        return SanicStream(self, request.client, request)

    def _request_of(self, client: ClientConnection) -> GatewayRequest:
        """The object of a request, which middleware has made where there was any."""
        if client.context is not None:
            return client.context[CURRENT]
        head, exchange = client.head, client.exchange
        assert head is not None and exchange is not None  # noqa: PT018, S101 -- a request is served
        return open_request(self, client, head, exchange, None)

    def finalize_middleware(self) -> None:
        """As Sanic's; each is measured from then on, and the gateway calls those of forwarded requests."""
        super().finalize_middleware()
        collections: list[Any] = [self.request_middleware, self.response_middleware]
        for route in cast(Iterable[Any], self.router.routes):
            collections += [route.extra.request_middleware, route.extra.response_middleware]
        self.ctx.middleware_times.measure(chain.from_iterable(collections))
        self.ctx.middleware.take_over(self)
        if self.ctx.is_open:
            self.ctx.renew_plan()

    def own_methods(self, head: RequestHead) -> tuple[str, ...]:
        """The methods that the own path of a request takes."""
        host = head.noted.get(b"host")
        named = host.decode("latin-1") if host is not None else None
        return (
            tuple(method for method in HTTP_METHODS if self._has_route(head.path, method, named))
            or OWN_METHODS
        )

    def _has_route(self, path: str, method: str, host: str | None) -> bool:
        try:
            self.router.get(path, method, host)
        except SanicException:
            return False
        return True


def _warn(name: str, message: str) -> None:
    event(name, level="WARNING", message=message)


def complete_own_answer(request: GatewayRequest, response: HTTPResponse) -> None:
    """Give an own answer the header fields that every response of the gateway carries."""
    if "Date" not in response.headers:
        response.headers["Date"] = date.text()
    response.headers["X-CoreRL-Version"] = __version__
    response.headers["X-Request-ID"] = request.exchange.request_id
    for name, value in field_pairs(request.exchange.explanation):
        response.headers[name] = value
    if request.exchange.route is None and request.route is not None:
        request.exchange.route = f"/{request.route.path}"
    plan = request.app.ctx.worker.plan
    if request.exchange.quota_left:
        for name, value in field_pairs(request.exchange.rate_fields()):
            response.headers[name] = value
    rules = plan.own_fields
    lines = server_timing(request.exchange, monotonic()) if plan.tells_time else b""
    if isinstance(response, PolicyAnswer):
        rules = rules if response.refusal.rules is None else response.refusal.rules
    elif "Cross-Origin-Resource-Policy" not in response.headers:  # else it is for pages of its origin alone
        lines += plan.cors.lines_of_own_answer(request.parsed.noted.get(b"origin"))
    for name, value in field_pairs(lines):
        response.headers[name] = value
    if rules is not None:
        for removed in rules.removed:
            response.headers.popall(removed.decode(), None)
        for name, value in field_pairs(rules.added(request.exchange)):
            response.headers.add(name, value)  # pyright: ignore[reportUnknownMemberType] -- untyped
