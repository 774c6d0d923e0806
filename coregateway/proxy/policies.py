"""From the settings to the chains of policies and the plan of one worker: the one place that compiles them.

The order of the steps is that of the documentation: preflight; then the method (`Route.admit`); then the
policies of the route, and behind them the request middleware. The client's address is found before them
(`Plan.client_of`), and a body is limited by `Route.max_body`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from random import random

from coregateway import __version__
from coregateway.http1.grammar import METHODS
from coregateway.model.trace import PROPAGATED, Tracer
from coregateway.policy.access import Access, access_of
from coregateway.policy.cors import Cors
from coregateway.policy.fields import rules_of
from coregateway.policy.fixed_answer import FixedAnswer
from coregateway.policy.mirroring import CopyFields, Mirroring
from coregateway.policy.redirect import Redirect
from coregateway.policy.shares import Force, Shares, key_of
from coregateway.policy.trusted_proxies import TrustedProxies
from coregateway.proxy.admission import Admission, Step
from coregateway.proxy.explained import AskingField, admission_of
from coregateway.proxy.hash_keys import HashKeys
from coregateway.proxy.headers import Inbound, Outbound
from coregateway.proxy.middleware import MiddlewareOf, RouteMiddleware, no_middleware
from coregateway.proxy.mirroring import MirrorRule
from coregateway.proxy.plan import Plan
from coregateway.proxy.response_chain import ResponseChain, ResponseRule
from coregateway.proxy.rewriting import CookiePaths, Rewriting, of_route
from coregateway.proxy.route import Forwarding, Retries, Route
from coregateway.proxy.routes import Conditions, Routes
from coregateway.proxy.share import Share
from coregateway.proxy.steps import (
    FixedAnswers,
    LastHop,
    MethodsOf,
    NetworkCheck,
    Preflights,
    Redirects,
    refuse_for_maintenance,
    refuse_while_open,
)
from coregateway.proxy.total_limits import TotalLimits
from coregateway.settings import BackendSettings, Settings
from coregateway.settings.contradiction import KeyPath
from coregateway.settings.model import OPTIONAL_PATHS, RouteSettings
from coregateway.settings.resilience import retried_statuses
from coregateway.settings.values import OWN_PATHS
from coregateway.upstream.address import Address
from coregateway.upstream.backend import Backend
from coregateway.upstream.roles import Timeouts

OWN_METHODS = ("GET", "HEAD")
"""What a preflight for a path without a handler is told."""


def plan_of(
    settings: Settings,
    backends: Mapping[str, Backend],
    own_methods: MethodsOf = lambda _: OWN_METHODS,
    middleware_of: MiddlewareOf = no_middleware,
) -> Plan:
    """What these settings decide, with the backends of this worker; no backends: only own paths.

    `own_methods`: of paths that are no route's, for preflights. `middleware_of`: the application's, which own
    paths get from Sanic's router.
    """
    cors = Cors(settings.cors.origins, credentials=settings.cors.credentials)
    limits = settings.limits.request
    optional = [path for key, path in OPTIONAL_PATHS.items() if _value_of(settings, key)]
    identity_fields: frozenset[bytes] = frozenset()
    reserved = frozenset(PROPAGATED) if settings.tracing.enabled else frozenset[bytes]()
    middleware = {name: middleware_of(name, identity_fields, reserved) for name in ("", *backends)}
    routes = Routes(_routes(settings, cors, backends, middleware), (*OWN_PATHS, *optional))
    return Plan(
        routes=routes,
        own=Route(
            "",
            "",
            OWN_METHODS,
            max_body=limits.max_body,
            any_method=True,
            admission=admission_of(_told(settings), []),
            options=_own_options(settings, cors, own_methods),
        ),
        own_fields=rules_of([settings.response], ""),
        cors=cors,
        proxies=TrustedProxies(settings.forwarding.trusted_proxies),
        tracer=Tracer(settings.tracing.sample) if settings.tracing.enabled else None,
        max_head=limits.max_head,
        client_timeout=settings.timeouts.client,
        linger=settings.timeouts.linger,
        idle_timeout=settings.timeouts.idle,
        tells_time=settings.tracing.server_timing,
        identity_fields=identity_fields,
    )


def _value_of(settings: Settings, key: KeyPath) -> object:
    value: object = settings
    for part in key:
        value = getattr(value, part)
    return value


def _routes(
    settings: Settings,
    cors: Cors,
    backends: Mapping[str, Backend],
    middleware: Mapping[str, RouteMiddleware | None],
) -> Iterator[tuple[Conditions, Route]]:
    """All routes in the order of the file; the prefixes of the backends come first.

    `middleware`: by backend; a route with several, or with none, has what all have.
    """
    told = _told(settings)
    for name in backends:
        row = settings.backends[name]
        forwarding = _forwarding(settings, name, name, None, cors, backends, _home(row), middleware[name])
        steps = Steps(access_of(row.allow, row.deny), middleware[name], told)
        steps.is_closed = row.maintenance
        steps.has_breaker = row.breaker.enabled
        made = _route(cors, name, row.prefix, row.methods, row.max_body, steps, forwarding)
        made.label = row.prefix
        made.told_as = name if settings.routes else None
        yield Conditions(f"{row.prefix}/*"), made
    for name, route in settings.routes.items():
        steps = Steps(access_of(route.allow, route.deny), middleware[""], told)
        steps.answer = _answer_of(settings, name, route, cors)
        if steps.answer is not None:
            methods = route.methods or METHODS
            yield conditions_of(route), _route(cors, name, route.path, methods, route.max_body, steps)
            continue
        rows = {each: settings.backends[each] for each in route.weights if each in backends}
        if not rows:
            continue
        shown = middleware[next(iter(rows)) if len(rows) == 1 else ""]
        steps.middleware = shown
        forwardings = {
            each: _forwarding(
                settings,
                name,
                each,
                route,
                cors,
                backends,
                _rewriting_of(route, row, rows.values()),
                shown,
            )
            for each, row in rows.items()
        }
        closed = [each for each, row in rows.items() if row.maintenance]
        steps.has_breaker = any(row.breaker.enabled for row in rows.values())
        if len(rows) > 1:
            steps.choice = _share_of(name, route, forwardings, closed).choose
        else:
            steps.is_closed = bool(closed)
        common = [
            method
            for method in rows[next(iter(rows))].methods
            if all(method in row.methods for row in rows.values())
        ]
        methods = route.methods or tuple(common)
        forwarding = next(iter(forwardings.values()))
        yield (
            conditions_of(route),
            _route(cors, name, route.path, methods, route.max_body, steps, forwarding),
        )


def _rewriting_of(route: RouteSettings, row: BackendSettings, rows: Collection[BackendSettings]) -> Rewriting:
    """How the paths of a route look to one of its backends; `rows`: all of them."""
    return of_route(
        route.path,
        prefixes=[each.prefix for each in rows if each.strip],
        strip=route.strip,
        rewrite=route.rewrite,
        home=_home(row),
    )


def _share_of(
    name: str, route: RouteSettings, forwardings: Mapping[str, Forwarding], closed: Sequence[str]
) -> Share:
    force = route.force
    return Share(
        Shares(route.weights, name, random()),
        forwardings,
        key_of(route.sticky),
        Force(header=force.header, cookie=force.cookie) if force.header or force.cookie else None,
        closed,
    )


def conditions_of(route: RouteSettings) -> Conditions:
    """What a request must have for a configured route."""
    fields = [(name.lower().encode(), value.encode()) for name, value in route.headers.items()]
    return Conditions(route.path, hosts=route.hosts, fields=fields, named=bool(route.methods))


class Steps:
    """What decides about the requests of a route, besides what the gateway answers in a backend's place."""

    __slots__ = ("access", "answer", "choice", "has_breaker", "is_closed", "middleware", "told")

    def __init__(
        self, access: Access | None, middleware: RouteMiddleware | None, told: Access | None
    ) -> None:
        self.access = access
        self.middleware = middleware
        self.told = told
        """The clients that are told what becomes of their requests; None: nobody is."""
        self.choice: Step | None = None
        """Decides which of several backends gets a request."""
        self.is_closed = False
        """Whether its only backend is under maintenance."""
        self.has_breaker = False
        """Whether any of its backends has one."""
        self.answer: Step | None = None
        """Gives every request its answer; None: a backend does."""

    def first(self) -> list[Step]:
        """Those that are asked before all others."""
        return [] if self.access is None else [NetworkCheck(self.access).refuse]

    def last(self) -> list[Step]:
        """Those that are asked when nothing has refused a request."""
        shown = None if self.middleware is None else self.middleware.admit
        closed = refuse_for_maintenance if self.is_closed else None
        breaker = refuse_while_open if self.has_breaker else None
        steps = (shown, self.answer, closed, self.choice, breaker)
        return [step for step in steps if step is not None]


def _answer_of(settings: Settings, name: str, route: RouteSettings, cors: Cors) -> Step | None:
    """The step that answers in the place of a backend, on a route that has none."""
    rules = rules_of([settings.response, route.response], name)
    if route.redirect.to:
        matched = len(route.path.removesuffix("/*"))
        redirect = Redirect(route.redirect.to, route.redirect.status, matched=matched)
        return Redirects(redirect, cors, rules).answer
    given = route.respond
    if given.status:
        answer = FixedAnswer(given.status, given.body, given.type, given.retry_after)
        return FixedAnswers(answer, cors, rules).answer
    return None


def _home(row: BackendSettings) -> Rewriting:
    """The rule of a backend's own prefix."""
    return Rewriting(row.prefix if row.strip else "")


def _forwarding(
    settings: Settings,
    name: str,
    row_name: str,
    route: RouteSettings | None,
    cors: Cors,
    backends: Mapping[str, Backend],
    rewriting: Rewriting,
    middleware: RouteMiddleware | None,
) -> Forwarding:
    """Of the route of this name to the backend of that row; `route`: None for a backend's prefix."""
    row = settings.backends[row_name]
    times = row.timeouts if route is None else route.timeouts
    # A share has only what all have, and its own.
    whose = row if route is None or len(route.weights) == 1 else None
    request_levels = [
        *(settings.request, None if whose is None else whose.request),
        *(None if route is None else route.request, AskingField() if settings.explain.header else None),
    ]
    response_levels = [
        *(settings.response, None if whose is None else whose.response),
        None if route is None else route.response,
    ]
    mirror = None
    if route is not None and route.mirror.backend in backends and route.mirror.share:
        given = route.mirror
        rules = rules_of([*request_levels, CopyFields()], name)
        outbound = Outbound(rewriting, host=settings.forwarding.host, rules=rules)
        if not settings.backends[given.backend].maintenance:
            mirroring = Mirroring(given.share, given.methods)
            mirror = MirrorRule(given.backend, mirroring, outbound, backends[given.backend].open_mirror())
    return Forwarding(
        backends[row_name],
        Outbound(rewriting, host=settings.forwarding.host, rules=rules_of(request_levels, name)),
        Inbound(
            rewriting, __version__, _response_chain(cors, row, rewriting), rules_of(response_levels, name)
        ),
        retries=_retries(row),
        client_timeout=times.client,
        timeouts=Timeouts.of(times),
        linger=times.linger,
        tunnel_idle=times.idle,
        tells_time=settings.tracing.server_timing,
        middleware=middleware,
        mirror=mirror,
        total=TotalLimits(backends[row_name].pool.io.loop, times.total) if times.total else None,
        hash_keys=HashKeys(row.hash_on) if row.balance == "hash" else None,
    )


def _route(
    cors: Cors,
    name: str,
    template: str,
    methods: tuple[str, ...],
    max_body: int,
    steps: Steps,
    forwarding: Forwarding | None = None,
) -> Route:
    route = Route(
        *(name, template, methods),
        label=name,
        told_as=name,
        max_body=max_body,
        is_shared=steps.choice is not None,
        forwarding=forwarding,
        middleware=steps.middleware,
    )
    first, last = steps.first(), steps.last()
    preflights = [Preflights(cors).answer] if cors.enabled else []
    shown = None if steps.middleware is None else steps.middleware.admit
    told = steps.told
    options = [*preflights, *first, LastHop(cors).answer, route.refuse_method, *last]
    route.options = admission_of(told, options, shown)
    route.admission = admission_of(told, [*first, *last], shown)
    return route


def _told(settings: Settings) -> Access | None:
    """The clients that are told what becomes of their requests; None: nobody is."""
    given = settings.explain
    return Access(given.allow, ()) if given.header and given.allow else None


def _retries(row: BackendSettings) -> Retries:
    given = row.retries
    return Retries(
        given.attempts,
        backoff=given.backoff,
        longest=given.max_backoff,
        statuses=retried_statuses(given.statuses) or None,
    )


def _own_options(settings: Settings, cors: Cors, own_methods: MethodsOf) -> Admission | None:
    """The same for own paths, where Sanic's router answers what is no preflight."""
    preflights = [Preflights(cors, own_methods).answer] if cors.enabled else []
    return admission_of(_told(settings), preflights)


def _response_chain(cors: Cors, row: BackendSettings, rewriting: Rewriting) -> ResponseChain | None:
    rules: list[ResponseRule] = []
    if cors.enabled:
        rules.append(cors.permit)
    if row.cookies == "map":
        bases = dict.fromkeys(Address.of(url).base for url in row.urls)
        rules.append(CookiePaths(rewriting, [*bases]).map)
    return ResponseChain(rules) if rules else None
