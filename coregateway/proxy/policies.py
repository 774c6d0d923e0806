"""From the settings to the chains of policies and the plan of one worker: the one place that compiles them.

The order of the steps is that of the documentation: preflight; then the method (`Route.admit`); then the
policies of the route. The client's address is found before them (`Plan.client_of`), and a body is limited by
`Route.max_body`.
"""

from collections.abc import Callable, Iterator, Mapping

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
from coregateway.proxy.routes import Conditions, Routes
from coregateway.settings import BackendSettings, Settings, TimeoutSettings
from coregateway.settings.contradiction import KeyPath
from coregateway.settings.model import OPTIONAL_PATHS, RouteSettings
from coregateway.settings.values import OWN_PATHS
from coregateway.upstream.backend import Backend
from coregateway.upstream.roles import Timeouts

OWN_METHODS = ("GET", "HEAD")
"""What a preflight for a path without a handler is told."""

type MethodsOf = Callable[[RequestHead], tuple[str, ...]]
"""The methods that the path of a request takes."""


def plan_of(
    settings: Settings, backends: Mapping[str, Backend], own_methods: MethodsOf = lambda _: OWN_METHODS
) -> Plan:
    """What these settings decide, with the backends of this worker; no backends: only own paths.

    `own_methods`: of paths that are no route's, for preflights.
    """
    cors = Cors(settings.cors.origins, credentials=settings.cors.credentials)
    limits = settings.limits.request
    optional = [path for key, path in OPTIONAL_PATHS.items() if _value_of(settings, key)]
    routes = Routes(_routes(settings, cors, backends), (*OWN_PATHS, *optional))
    return Plan(
        routes=routes,
        own=Route(
            "",
            "",
            OWN_METHODS,
            max_body=limits.max_body,
            any_method=True,
            options=_own_options(cors, own_methods),
        ),
        cors=cors,
        proxies=TrustedProxies(settings.forwarding.trusted_proxies),
        tracer=Tracer(settings.tracing.sample) if settings.tracing.enabled else None,
        max_head=limits.max_head,
        client_timeout=settings.timeouts.client,
        linger=settings.timeouts.linger,
        idle_timeout=settings.timeouts.idle,
        tells_time=settings.tracing.server_timing,
    )


def _value_of(settings: Settings, key: KeyPath) -> object:
    value: object = settings
    for part in key:
        value = getattr(value, part)
    return value


def _routes(
    settings: Settings, cors: Cors, backends: Mapping[str, Backend]
) -> Iterator[tuple[Conditions, Route]]:
    """All routes in the order of the file; the prefixes of the backends come first."""
    for name, backend in backends.items():
        row = settings.backends[name]
        strip = row.prefix if row.strip else ""
        forwarding = _forwarding(settings, row, cors, backend, strip, row.timeouts)
        yield (
            Conditions(f"{row.prefix}/*"),
            _route(cors, name, row.prefix, row.methods, row.max_body, forwarding),
        )
    for name, route in settings.routes.items():
        only = route.only_backend
        if only is None or only not in backends:
            continue
        row = settings.backends[only]
        bare = route.path.removesuffix("/*")
        strip = row.prefix if row.strip and f"{bare}/".startswith(f"{row.prefix}/") else ""
        forwarding = _forwarding(settings, row, cors, backends[only], strip, route.timeouts)
        methods = route.methods or row.methods
        yield (
            conditions_of(route),
            _route(cors, name, route.path, methods, route.max_body, forwarding),
        )


def conditions_of(route: RouteSettings) -> Conditions:
    """What a request must have for a configured route."""
    fields = [(name.lower().encode(), value.encode()) for name, value in route.headers.items()]
    return Conditions(route.path, hosts=route.hosts, fields=fields, named=bool(route.methods))


def _forwarding(
    settings: Settings, row: BackendSettings, cors: Cors, backend: Backend, strip: str, times: TimeoutSettings
) -> Forwarding:
    return Forwarding(
        backend,
        Outbound(strip, host=settings.forwarding.host),
        Inbound(strip, __version__, _response_chain(cors, row, strip)),
        attempts=settings.retries.attempts,
        client_timeout=times.client,
        timeouts=Timeouts.of(times),
        linger=times.linger,
        tunnel_idle=times.idle,
        tells_time=settings.tracing.server_timing,
    )


def _route(
    cors: Cors, name: str, template: str, methods: tuple[str, ...], max_body: int, forwarding: Forwarding
) -> Route:
    route = Route(name, template, methods, max_body=max_body, forwarding=forwarding)
    steps: list[Step] = []
    if cors.enabled:
        steps.append(Preflights(cors).answer)
    steps += [LastHop(cors).answer, route.refuse_method]
    route.options = Admission(steps)
    return route


def _own_options(cors: Cors, own_methods: MethodsOf) -> Admission | None:
    """The same for own paths, where Sanic's router answers what is no preflight."""
    return Admission([Preflights(cors, own_methods).answer]) if cors.enabled else None


def _response_chain(cors: Cors, row: BackendSettings, strip: str) -> ResponseChain | None:
    rules: list[ResponseRule] = []
    if cors.enabled:
        rules.append(cors.permit)
    if row.cookies == "map":
        rules.append(CookiePaths(strip).map)
    return ResponseChain(rules) if rules else None


class Preflights:
    """Answers a browser's question whether it may send a request (the Fetch standard)."""

    __slots__ = ("_cors", "_own_methods")

    def __init__(self, cors: Cors, own_methods: MethodsOf | None = None) -> None:
        """`own_methods`: of paths that no route has."""
        self._cors = cors
        self._own_methods = own_methods

    def answer(self, client: Client, head: RequestHead) -> Refusal | None:
        """Refuse a preflight with the permissions that it asks for."""
        if not self._cors.is_preflight(head):
            return None
        methods = client.worker.plan.routes.methods_of(head, whatever_fields=True)
        if not methods and self._own_methods is not None:
            methods = self._own_methods(head)
        return Refusal(status=204, fields=self._cors.preflight_lines(head, methods))


class LastHop:
    """Answers an OPTIONS that has gone far enough in the place of the backend (RFC 9110 §7.6.2)."""

    __slots__ = ("_cors",)

    def __init__(self, cors: Cors) -> None:
        self._cors = cors

    def answer(self, client: Client, head: RequestHead) -> Refusal | None:
        """Refuse a request whose `Max-Forwards` is 0."""
        hops = head.noted.get(b"max-forwards")
        if hops is None or int(hops):
            return None
        allowed = ", ".join(client.worker.plan.routes.methods_of(head)).encode()
        fields = b"Allow: %b\r\n" % allowed + self._cors.lines_of_own_answer(head.noted.get(b"origin"))
        return Refusal(status=204, fields=fields)
