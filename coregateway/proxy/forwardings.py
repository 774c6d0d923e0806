"""From the settings to how the requests of a route are forwarded to one backend, and its answers back."""

from collections.abc import Collection, Mapping

from coregateway import __version__
from coregateway.policy.cors import Cors
from coregateway.policy.fields import rules_of
from coregateway.policy.mirroring import CopyFields, Mirroring
from coregateway.proxy.explained import AskingField
from coregateway.proxy.hash_keys import HashKeys
from coregateway.proxy.headers import Inbound, Outbound
from coregateway.proxy.middleware import RouteMiddleware
from coregateway.proxy.mirroring import MirrorRule
from coregateway.proxy.response_chain import ResponseChain, ResponseRule
from coregateway.proxy.rewriting import CookiePaths, Rewriting, of_route
from coregateway.proxy.route import Forwarding, Retries
from coregateway.proxy.total_limits import TotalLimits
from coregateway.settings import BackendSettings, Settings
from coregateway.settings.model import RouteSettings
from coregateway.settings.resilience import retried_statuses
from coregateway.upstream.address import Address
from coregateway.upstream.backend import Backend
from coregateway.upstream.roles import Timeouts


def forwarding_of(
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
        rules = rules_of([*request_levels, CopyFields(settings.auth.keys.header)], name)
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
        gather=settings.limits.request.gather,
        middleware=middleware,
        mirror=mirror,
        total=TotalLimits(backends[row_name].pool.io.loop, times.total) if times.total else None,
        hash_keys=HashKeys(row.hash_on) if row.balance == "hash" else None,
    )


def home(row: BackendSettings) -> Rewriting:
    """The rule of a backend's own prefix."""
    return Rewriting(row.prefix if row.strip else "")


def rewriting_of(route: RouteSettings, row: BackendSettings, rows: Collection[BackendSettings]) -> Rewriting:
    """How the paths of a route look to one of its backends; `rows`: all of them."""
    return of_route(
        route.path,
        prefixes=[each.prefix for each in rows if each.strip],
        strip=route.strip,
        rewrite=route.rewrite,
        home=home(row),
    )


def _retries(row: BackendSettings) -> Retries:
    given = row.retries
    return Retries(
        given.attempts,
        backoff=given.backoff,
        longest=given.max_backoff,
        statuses=retried_statuses(given.statuses) or None,
    )


def _response_chain(cors: Cors, row: BackendSettings, rewriting: Rewriting) -> ResponseChain | None:
    rules: list[ResponseRule] = []
    if cors.enabled:
        rules.append(cors.permit)
    if row.cookies == "map":
        bases = dict.fromkeys(Address.of(url).base for url in row.urls)
        rules.append(CookiePaths(rewriting, [*bases]).map)
    return ResponseChain(rules) if rules else None
