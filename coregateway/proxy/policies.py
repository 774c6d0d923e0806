"""From the settings to the chains of policies and the plan of one worker: the one place that compiles them.

A policy is added to `Steps`, which has what the settings switch on for one route. The order is that of the
documentation: preflight; then the method (`Route.admit`); then the policies of the route, and behind them the
request middleware. The client's address is found before them (`Plan.client_of`), and a body is limited by
`Route.max_body`.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import random

from coregateway.http1.grammar import METHODS
from coregateway.model.trace import PROPAGATED, Tracer
from coregateway.policy.access import Access, access_of
from coregateway.policy.cors import Cors
from coregateway.policy.fields import rules_of
from coregateway.policy.fixed_answer import FixedAnswer
from coregateway.policy.mirroring import CREDENTIALS
from coregateway.policy.redirect import Redirect
from coregateway.policy.shares import Force, Shares, key_of
from coregateway.policy.trusted_proxies import TrustedProxies
from coregateway.proxy.admission import Admission, Step
from coregateway.proxy.auth_plan import AuthPlan
from coregateway.proxy.explained import admission_of
from coregateway.proxy.forwardings import forwarding_of, home, rewriting_of
from coregateway.proxy.limit_checks import LimitChecks, RouteLimits, limit_checks
from coregateway.proxy.limits import Limits
from coregateway.proxy.middleware import MiddlewareOf, RouteMiddleware, no_middleware
from coregateway.proxy.plan import Plan
from coregateway.proxy.route import Forwarding, Route
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
    show_to_chosen,
)
from coregateway.proxy.validation import Validation
from coregateway.settings import Settings
from coregateway.settings.contradiction import KeyPath
from coregateway.settings.model import RouteSettings
from coregateway.settings.observability import OPTIONAL_PATHS
from coregateway.settings.validation import ValidationSettings
from coregateway.settings.values import OWN_PATHS
from coregateway.upstream.backend import Backend

OWN_METHODS = ("GET", "HEAD")
"""What a preflight for a path without a handler is told."""


def plan_of(
    settings: Settings,
    backends: Mapping[str, Backend],
    own_methods: MethodsOf = lambda _: OWN_METHODS,
    middleware_of: MiddlewareOf = no_middleware,
    limits: Limits | None = None,
) -> Plan:
    """What these settings decide, with the backends of this worker; no backends: only own paths.

    `own_methods`: of paths that are no route's, for preflights. `middleware_of`: the application's, which own
    paths get from Sanic's router. `limits`: of the worker; None: of this plan alone.
    """
    cors = Cors(settings.cors.origins, credentials=settings.cors.credentials)
    of_requests = settings.limits.request
    optional = [path for key, path in OPTIONAL_PATHS.items() if _value_of(settings, key)]
    limits = limits or Limits()
    auth = AuthPlan(settings, limits, cors)
    reserved = frozenset(PROPAGATED) if settings.tracing.enabled else frozenset[bytes]()
    middleware = {name: middleware_of(name, auth.identity, reserved) for name in ("", *backends)}
    routes = Routes(_routes(settings, cors, backends, middleware, limits, auth), (*OWN_PATHS, *optional))
    return Plan(
        routes=routes,
        own=Route(
            "",
            "",
            OWN_METHODS,
            max_body=of_requests.max_body,
            any_method=True,
            admission=admission_of(_told(settings), []),
            options=_own_options(settings, cors, own_methods),
            middleware=middleware[""],
        ),
        own_fields=rules_of([settings.response], ""),
        cors=cors,
        proxies=TrustedProxies(settings.forwarding.trusted_proxies),
        tracer=Tracer(settings.tracing.sample) if settings.tracing.enabled else None,
        max_head=of_requests.max_head,
        client_timeout=settings.timeouts.client,
        linger=settings.timeouts.linger,
        idle_timeout=settings.timeouts.idle,
        tells_time=settings.tracing.server_timing,
        identity_fields=auth.identity,
        recognition=auth.recognition(),
        credentials=frozenset(name.lower() for name in (*CREDENTIALS, settings.auth.keys.header)),
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
    limits: Limits,
    auth: AuthPlan,
) -> Iterator[tuple[Conditions, Route]]:
    """All routes in the order of the file; the prefixes of the backends come first.

    `middleware`: by backend; a route without a backend, or with several until one is chosen, has what all
    have.
    """
    told = _told(settings)
    for name in backends:
        row = settings.backends[name]
        forwarding = forwarding_of(settings, name, name, None, cors, backends, home(row), middleware[name])
        steps = Steps(access_of(row.allow, row.deny), middleware[name], told, auth.step_of(row.auth))
        steps.is_closed = row.maintenance
        steps.has_breaker = row.breaker.enabled
        steps.validation = _validation_of(row.validation, limits)
        if row.rates or row.concurrency:
            given = RouteLimits(row.rates, row.concurrency, name, name)
            steps.limits = limit_checks(settings, given, limits)
        made = _route(cors, name, row.prefix, row.methods, row.max_body, steps, forwarding)
        made.label = row.prefix
        made.told_as = name if settings.routes else None
        yield Conditions(f"{row.prefix}/*"), made
    for name, route in settings.routes.items():
        steps = Steps(access_of(route.allow, route.deny), middleware[""], told, auth.step_of(route.auth))
        if route.rates or route.concurrency:
            given = RouteLimits(route.rates, route.concurrency, name, route.only_backend, route.cost)
            steps.limits = limit_checks(settings, given, limits)
        steps.answer = _answer_of(settings, name, route, cors)
        if steps.answer is not None:
            methods = route.methods or METHODS
            yield conditions_of(route), _route(cors, name, route.path, methods, route.max_body, steps)
            continue
        rows = {each: settings.backends[each] for each in route.weights if each in backends}
        if not rows:
            continue
        steps.validation = _validation_of(route.validation, limits)
        steps.middleware = middleware[next(iter(rows)) if len(rows) == 1 else ""]
        forwardings = {
            each: forwarding_of(
                settings,
                name,
                each,
                route,
                cors,
                backends,
                rewriting_of(route, row, rows.values()),
                middleware[each],
            )
            for each, row in rows.items()
        }
        closed = [each for each, row in rows.items() if row.maintenance]
        steps.has_breaker = any(row.breaker.enabled for row in rows.values())
        if len(rows) > 1:
            steps.choice = _share_of(name, route, forwardings, closed).choose
            steps.shows_to_chosen = any(
                known is not None and known.admit_own is not None
                for known in (middleware[each] for each in rows)
            )
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
    """The policies of one route, each None or False where the settings do not switch it on.

    `first` and `last` put them in order; of OPTIONS requests the gateway answers some between the two.
    """

    __slots__ = (
        "access",
        "answer",
        "auth",
        "choice",
        "has_breaker",
        "is_closed",
        "limits",
        "middleware",
        "shows_to_chosen",
        "told",
        "validation",
    )

    def __init__(
        self,
        access: Access | None,
        middleware: RouteMiddleware | None,
        told: Access | None,
        auth: Step | None,
    ) -> None:
        self.access = access
        self.middleware = middleware
        self.told = told
        """The clients that are told what becomes of their requests; None: none is."""
        self.auth = auth
        """Authenticates requests."""
        self.choice: Step | None = None
        """Decides which of several backends gets a request."""
        self.shows_to_chosen = False
        """Whether any of these has request middleware of its own."""
        self.is_closed = False
        """Whether its only backend is under maintenance."""
        self.has_breaker = False
        """Whether any of its backends has one."""
        self.answer: Step | None = None
        """Gives every request its answer; None: a backend does."""
        self.limits = LimitChecks()
        self.validation: Step | None = None
        """Holds requests against the document of the backend that gets them."""

    def first(self) -> list[Step]:
        """Those that are asked before all others."""
        access = None if self.access is None else NetworkCheck(self.access).refuse
        return [step for step in (access, *self.limits.before) if step is not None]

    def last(self) -> list[Step]:
        """Those that are asked when nothing has refused a request."""
        shown = None if self.middleware is None else self.middleware.admit
        closed = refuse_for_maintenance if self.is_closed else None
        breaker = refuse_while_open if self.has_breaker else None
        chosen = show_to_chosen if self.shows_to_chosen else None
        behind = (closed, self.choice, chosen, self.validation, breaker)
        steps = (self.auth, *self.limits.after, shown, self.answer, *behind)
        return [step for step in steps if step is not None]


def _validation_of(given: ValidationSettings, limits: Limits) -> Step | None:
    """The step that holds requests against the document of their backend; None: it is switched off."""
    if given.mode == "off":
        return None
    rejects = given.unknown == "reject"
    return Validation(limits.validators, given.mode, given.max_body, rejects_unknown=rejects).check


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
    """The clients that are told what becomes of their requests; None: none is."""
    given = settings.explain
    return Access(given.allow, ()) if given.header and given.allow else None


def _own_options(settings: Settings, cors: Cors, own_methods: MethodsOf) -> Admission | None:
    """The same for own paths, where Sanic's router answers what is no preflight."""
    preflights = [Preflights(cors, own_methods).answer] if cors.enabled else []
    return admission_of(_told(settings), preflights)
