"""From the settings to the chains of policies and the plan of one worker: the one place that compiles them.

The order of the steps is that of the documentation: preflight; then, inside `Route.admit`, the method. The
client's address is found before them (`Plan.client_of`), and a body is limited by `Plan.max_body`.
"""

from collections.abc import Callable, Mapping

from coregateway import __version__
from coregateway.http1.request import RequestHead
from coregateway.model.trace import Tracer
from coregateway.policy.cors import Cors
from coregateway.policy.trusted_proxies import TrustedProxies
from coregateway.proxy.admission import Admission, Refusal, Step
from coregateway.proxy.client import Client
from coregateway.proxy.headers import Inbound, Outbound
from coregateway.proxy.plan import Plan
from coregateway.proxy.prefix import CookiePaths
from coregateway.proxy.response_chain import ResponseChain, ResponseRule
from coregateway.proxy.route import Forwarding, Route
from coregateway.proxy.routes import Routes
from coregateway.settings import BackendSettings, Settings
from coregateway.upstream.backend import Backend

OWN_METHODS = ("GET", "HEAD")
"""What a preflight for a path without a handler is told."""

type MethodsOf = Callable[[RequestHead], tuple[str, ...]]
"""The methods that the path of a request takes."""


def plan_of(
    settings: Settings, backends: Mapping[str, Backend], own_methods: MethodsOf = lambda _: OWN_METHODS
) -> Plan:
    """What these settings decide, with the backends of this worker; no backends: only own paths.

    `own_methods`: of paths that are no backend's, for preflights.
    """
    cors = Cors(settings.cors.origins, credentials=settings.cors.credentials)
    limits = settings.limits.request
    routes = [_forwarding_route(settings, settings.backends[name], cors, backends[name]) for name in backends]
    return Plan(
        routes=Routes(routes),
        own=Route("", "", OWN_METHODS, options=_own_options(cors, own_methods)),
        cors=cors,
        proxies=TrustedProxies(settings.forwarding.trusted_proxies),
        tracer=Tracer(settings.tracing.sample) if settings.tracing.enabled else None,
        max_head=limits.max_head,
        max_body=limits.max_body,
        client_timeout=settings.timeouts.client,
        linger=settings.timeouts.linger,
        idle_timeout=settings.timeouts.idle,
        tells_time=settings.tracing.server_timing,
    )


def _forwarding_route(settings: Settings, row: BackendSettings, cors: Cors, backend: Backend) -> Route:
    forwarding = Forwarding(
        backend,
        Outbound(row.prefix, host=settings.forwarding.host),
        Inbound(row.prefix, __version__, _response_chain(cors, row)),
        attempts=settings.retries.attempts,
        client_timeout=row.timeouts.client,
        linger=row.timeouts.linger,
        tunnel_idle=row.timeouts.idle,
        tells_time=settings.tracing.server_timing,
    )
    options = _options(cors, row.methods)
    return Route(backend.name, row.prefix, row.methods, options=options, forwarding=forwarding)


def _options(cors: Cors, methods: tuple[str, ...]) -> Admission:
    """The chain of OPTIONS requests for a backend."""
    steps: list[Step] = []
    if cors.enabled:
        steps.append(Preflights(cors, lambda _: methods).answer)
    steps.append(LastHop(cors, methods).answer)
    return Admission(steps)


def _own_options(cors: Cors, own_methods: MethodsOf) -> Admission | None:
    """The same for own paths, where Sanic's router answers what is no preflight."""
    return Admission([Preflights(cors, own_methods).answer]) if cors.enabled else None


def _response_chain(cors: Cors, row: BackendSettings) -> ResponseChain | None:
    rules: list[ResponseRule] = []
    if cors.enabled:
        rules.append(cors.permit)
    if row.cookies == "map":
        rules.append(CookiePaths(row.prefix).map)
    return ResponseChain(rules) if rules else None


class Preflights:
    """Answers a browser's question whether it may send a request (the Fetch standard)."""

    __slots__ = ("_cors", "_methods_of")

    def __init__(self, cors: Cors, methods_of: MethodsOf) -> None:
        self._cors = cors
        self._methods_of = methods_of

    def answer(self, client: Client, head: RequestHead) -> Refusal | None:  # noqa: ARG002 -- a `Step`
        """Refuse a preflight with the permissions that it asks for."""
        if not self._cors.is_preflight(head):
            return None
        return Refusal(status=204, fields=self._cors.preflight_lines(head, self._methods_of(head)))


class LastHop:
    """Answers an OPTIONS that has gone far enough in the place of the backend (RFC 9110 §7.6.2)."""

    __slots__ = ("_cors", "_fields")

    def __init__(self, cors: Cors, methods: tuple[str, ...]) -> None:
        self._cors = cors
        self._fields = b"Allow: %b\r\n" % ", ".join(methods).encode()

    def answer(self, client: Client, head: RequestHead) -> Refusal | None:  # noqa: ARG002 -- a `Step`
        """Refuse a request whose `Max-Forwards` is 0."""
        hops = head.noted.get(b"max-forwards")
        if hops is None or int(hops):
            return None
        fields = self._fields + self._cors.lines_of_own_answer(head.noted.get(b"origin"))
        return Refusal(status=204, fields=fields)
