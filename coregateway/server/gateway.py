"""The `Sanic` subclass: routes forwarded paths, renders errors, announces exchanges."""

import sys
from asyncio import get_running_loop
from collections.abc import Mapping
from socket import socket
from time import monotonic
from typing import Any, cast
from warnings import filterwarnings

from sanic import Sanic
from sanic.config import Config
from sanic.exceptions import MethodNotAllowed as SanicMethodNotAllowed
from sanic.exceptions import SanicException
from sanic.handlers import ErrorHandler
from sanic.http.constants import HTTP
from sanic.request import Request
from sanic.response import HTTPResponse

from coregateway import COMPILED, __version__, problem
from coregateway.backends import Backend
from coregateway.cors import Cors
from coregateway.date import date
from coregateway.errors import BadRequest, GatewayError, MethodNotAllowed, NoRoute
from coregateway.forwarded import TrustedProxies
from coregateway.health import Probes
from coregateway.http1.request import RequestHead
from coregateway.http1.rules import OWN_ROUTE
from coregateway.logs import SANIC_LOG_CONFIG, event
from coregateway.proxy import serve
from coregateway.routes import Routes
from coregateway.server import descriptors
from coregateway.server.acceptor import Acceptor
from coregateway.server.answers import send_empty
from coregateway.server.connection import ClientConnection
from coregateway.server.frontend import Frontend
from coregateway.server.ledger import Ledger
from coregateway.server.listeners import BACKLOG, CannotListen, listen, listen_for_admin
from coregateway.server.node import Node
from coregateway.server.poll import Poll
from coregateway.server.request import GatewayRequest
from coregateway.server.signals import RESPONSE, GatewaySignals
from coregateway.server.stream import ClientStream
from coregateway.server.transport import ClientTransport
from coregateway.server.workers import found
from coregateway.service import Service
from coregateway.settings import Settings
from coregateway.settings.process import EXIT_WRONG_SETTINGS
from coregateway.shared import Board, Part
from coregateway.splice import PIPES, pipes
from coregateway.tracing.context import Tracer
from coregateway.tracing.timing import server_timing

OWN_METHODS = ("GET", "HEAD")


class Context:
    """What the handlers of one worker share, as `app.ctx`."""

    def __init__(self, settings: Settings, ledger: Ledger, *, admin_required: bool) -> None:
        limits = settings.limits.request
        self.settings = settings
        self.admin_required = admin_required
        self.cors = Cors(settings.cors.origins, credentials=settings.cors.credentials)
        self.frontend = Frontend(
            ledger,
            TrustedProxies(settings.forwarding.trusted_proxies),
            Tracer(settings.tracing.sample) if settings.tracing.enabled else None,
            max_head=limits.max_head,
            max_body=limits.max_body,
            client_timeout=settings.timeouts.client,
        )
        self.backends: dict[str, Backend] = {}
        self.probes = Probes((), ())
        self.clients = 0
        """Connections of clients that are open, in this worker."""
        self.poll: Poll
        """Of the clients of this worker; there is one while a loop runs."""
        self.board = Board(1, len(settings.backends))
        self.part: Part | None = None
        """What this worker writes of the node's shared memory; None: it came when all parts were taken."""
        self.node = Node(self.board)

    @property
    def draining(self) -> bool:
        return self.frontend.draining

    @draining.setter
    def draining(self, begun: bool) -> None:
        self.frontend.draining = begun

    def open(self, *, observed: bool) -> None:
        """Make the pools and clients of this worker; a loop must be running.

        `observed`: requests take Sanic's way, for all to see.
        """
        rows = self.settings.backends.items()
        self.poll = Poll(get_running_loop())
        self.backends = {name: Backend(name, row, self.settings, self.cors) for name, row in rows}
        self.frontend.routes = Routes(backend.service for backend in self.backends.values())
        self.frontend.observed = observed

    def watch_over_backends(self) -> None:
        """Let `/health` ask the backends, on behalf of the node that this worker is of by now."""
        self.probes = Probes(self.backends.values(), self.board.verdicts)

    async def close(self) -> None:
        await self.probes.close()
        for backend in self.backends.values():
            await backend.close()

    def is_ready(self) -> bool:
        """Whether this gateway takes traffic; per node."""
        return self.node.ready()


class Gateway(Sanic[Config, Context]):
    """Sanic with the gateway's seams in place: protocol, signals, errors, and a short way to the backends."""

    signal_router: GatewaySignals  # pyright: ignore[reportIncompatibleVariableOverride] -- always ours

    def __init__(self, name: str, settings: Settings, *, admin_required: bool = False) -> None:
        """`admin_required`: without the admin address the gateway does not start."""
        signals = GatewaySignals()
        super().__init__(
            name,
            ctx=Context(settings, signals.ledger, admin_required=admin_required),
            error_handler=Problems(),
            signal_router=signals,
            log_config=SANIC_LOG_CONFIG,
        )
        if COMPILED:
            # Compiled coroutines pass a cancellation on like this, and Sanic has deprecations told.
            filterwarnings("ignore", r"the \(type, exc, tb\) signature of throw\(\)", DeprecationWarning)
        self.config.update(ACCESS_LOG=False, AUTO_EXTEND=False, MOTD=False)
        self.add_signal(complete_own_answer, RESPONSE)

    def prepare(self, host: str | None = None, port: int | None = None, **options: Any) -> None:
        """As Sanic's, with the settings in the place of what was not given, and the gateway's own sockets.

        Exits with a line on stderr: with status 1 when an address cannot be had, with 2 when Sanic's options
        ask for what this gateway does not do.
        """
        _refuse(options)
        settings = self.ctx.settings
        host = host or settings.host
        port = settings.port if port is None else port
        options |= {"protocol": ClientConnection, "access_log": False, "motd": False, "backlog": BACKLOG}
        single = bool(options.get("single_process"))
        # Sanic's own flags for their number are in the settings already, which know what was not given.
        options.pop("fast", None)
        given = options.get("workers", 1)
        options["workers"] = workers = settings.workers if given in (0, 1) and not single else given
        descriptors.raise_limit()
        accepts = not (options.get("unix") or options.get("sock"))
        if accepts:
            try:
                options["sock"] = sock = listen(host, port, workers)
                sock.admin = self._listen_for_admin()
            except CannotListen as error:
                print(error, file=sys.__stderr__)  # sys.stderr gives log lines by now
                raise SystemExit(1) from None
            event(
                "gateway.starting",
                version=__version__,
                compiled=COMPILED,
                host=host,
                port=sock.getsockname()[1],
                admin=":".join(map(str, sock.admin.getsockname()[:2])) if sock.admin else None,
                workers=workers,
            )
            host = port = None
        if not single:
            found(self, Board(workers, len(settings.backends)))
        super().prepare(host, port, **options)  # pyright: ignore[reportUnknownMemberType] -- its options are
        if accepts:
            # What Sanic's server takes, though no option of `prepare`: the worker accepts itself (`accept`).
            self.state.server_info[-1].settings |= {
                "asyncio_server_kwargs": {"start_serving": False},
                "connections": set[ClientConnection](),
            }

    def accept(self, listener: socket) -> Acceptor:
        """Let clients in at this socket from now on, in the loop that runs."""
        loop = get_running_loop()
        served = self.state.server_info[0].settings
        connections = cast(set[ClientConnection], served["connections"])

        def begin(accepted: socket) -> None:
            connection = ClientConnection(
                loop=loop, app=self, signal=served["signal"], connections=connections
            )
            connection.begin(ClientTransport(loop, self.ctx.poll, accepted))

        backends = self.ctx.settings.backends.values()
        upstreams = sum(len(row.urls) for row in backends) * self.ctx.settings.limits.max_connections
        limit = descriptors.limit()
        pipes.most = min(PIPES, max(limit // descriptors.FOR_PIPES // descriptors.PER_PIPE, 1))
        room = descriptors.room_for_clients(limit, descriptors.in_use(), upstreams, pipes.most)
        acceptor = Acceptor(loop, listener, begin, connections, room)
        acceptor.start()
        return acceptor

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

    async def handle(self, stream: ClientStream) -> None:
        """Serve the request whose head was just read: a preflight, a forwarded one, or one of the own routes.

        A forwarded request goes straight to its backend, past Sanic's router and request object, unless
        somebody's middleware or signal expects to see it on that way.
        """
        head = cast(RequestHead, stream.downstream.head)
        frontend = self.ctx.frontend
        service = frontend.routes.match(head.path)
        if head.method == "OPTIONS" and await self._answered_options(stream, head, service):
            return
        if service is None or frontend.observed:
            await self.handle_request(stream.as_request())
            return
        try:
            await serve(service, stream)
        except Exception as error:
            await self.handle_exception(stream.as_request(), error)

    @property
    def is_observed(self) -> bool:
        """Whether anybody's middleware or signal looks at requests on Sanic's way to a handler."""
        middleware = len(self.request_middleware) + len(self.response_middleware)
        return middleware > 0 or self.signal_router.observes_http

    async def _answered_options(
        self, stream: ClientStream, head: RequestHead, service: Service | None
    ) -> bool:
        """Answer a preflight, and an OPTIONS that has gone far enough (RFC 9110 §7.6.2)."""
        methods = service.methods if service else OWN_METHODS
        if self.ctx.cors.is_preflight(head):
            extra = self.ctx.cors.preflight_lines(head, methods)
        elif service and b"max-forwards" in head.noted and int(head.noted[b"max-forwards"]) == 0:
            extra = b"Allow: %b\r\n" % ", ".join(methods).encode()
            extra += self.ctx.cors.lines_of_own_answer(head.noted.get(b"origin"))
        else:
            return False
        await send_empty(stream, 204, extra)
        return True


def _refuse(options: Mapping[str, Any]) -> None:
    """Exit where Sanic is asked for what its server could do and this one cannot.

    With TLS whole answers would go to the socket itself (`outbox`), past the encryption.
    """
    if options.get("ssl") or options.get("auto_tls"):
        wanted = "TLS"
    elif options.get("version", HTTP.VERSION_1) != HTTP.VERSION_1:
        wanted = "HTTP/3"
    else:
        return
    print(f"{wanted} towards clients is not supported: terminate it in front", file=sys.__stderr__)
    raise SystemExit(EXIT_WRONG_SETTINGS)


class Problems(ErrorHandler):
    """Turns every exception of a handler or of Sanic into a problem document."""

    def response(self, request: Request, exception: Exception) -> HTTPResponse:
        """The answer to an exception, without a word of what it says."""
        error = _as_gateway_error(exception)
        if type(error) is GatewayError:
            event("request.failed", level="ERROR", exception=exception)
        exchange = request.exchange if isinstance(request, GatewayRequest) else None
        if exchange is not None:
            exchange.fail(error)
        return HTTPResponse(
            problem.document(error, exchange.request_id if exchange else ""),
            status=error.status,
            headers=problem.fields(error),
            content_type=problem.MEDIA_TYPE,
        )


def _as_gateway_error(exception: Exception) -> GatewayError:
    if isinstance(exception, GatewayError):
        return exception
    if isinstance(exception, SanicMethodNotAllowed):
        allowed = exception.headers.get("Allow", "")
        return MethodNotAllowed(tuple(method.strip() for method in allowed.split(",") if method.strip()))
    if isinstance(exception, SanicException):
        if exception.status_code == NoRoute.status:
            return NoRoute()
        if 400 <= exception.status_code < 500:
            return BadRequest(OWN_ROUTE)
    return GatewayError()


def complete_own_answer(request: GatewayRequest, response: HTTPResponse) -> None:
    """Give an own answer the header fields that every response of the gateway carries."""
    if "Date" not in response.headers:
        response.headers["Date"] = date.text()
    response.headers["X-CoreRL-Version"] = __version__
    response.headers["X-Request-ID"] = request.exchange.request_id
    if request.exchange.route is None and request.route is not None:
        request.exchange.route = f"/{request.route.path}"
    if "Cross-Origin-Resource-Policy" in response.headers:
        return  # it keeps itself to pages of its own origin
    cors: Cors = request.app.ctx.cors
    for line in cors.lines_of_own_answer(request.parsed.noted.get(b"origin")).decode("latin-1").splitlines():
        name, _, value = line.partition(": ")
        response.headers[name] = value
    if request.app.ctx.settings.tracing.server_timing:
        name, _, value = server_timing(request.exchange, monotonic()).decode().rstrip().partition(": ")
        response.headers[name] = value
