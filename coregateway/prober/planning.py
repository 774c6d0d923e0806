"""The plan that the settings make."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from coregateway.model.caller import FORWARD
from coregateway.net.tls_contexts import ClientTls
from coregateway.openapi.recipe import METHODS as DESCRIBABLE
from coregateway.openapi.recipe import Recipe, Way, separator
from coregateway.prober.documents import DocumentSource
from coregateway.prober.key_sets import KeySource
from coregateway.prober.plan import Check, Name, Plan, Upstream
from coregateway.settings import BackendSettings, Settings
from coregateway.settings.forward_auth import parts_of
from coregateway.settings.health import span
from coregateway.settings.upstreams import DEFAULT_PORTS, UpstreamURL

type Key = Callable[..., str]
"""Where a counter is in the shared memory: the short name of its family and its labels, as one text."""


def plan_of(settings: Settings, key: Key) -> Plan:
    """What these settings have the prober ask."""
    upstreams = tuple(_upstreams(settings, key))
    names = dict.fromkeys(upstream.host for upstream in upstreams if upstream.fixed is None)
    return Plan(
        upstreams,
        tuple(
            Name(name, *(key("name_resolutions", name, how) for how in ("resolved", "failed")))
            for name in names
        ),
        settings.dns.refresh,
        settings.dns.hold,
        tuple(
            KeySource(
                *(name, row.jwks, row.refresh, row.cooldown),
                *(key("jwks_fetches", name, outcome) for outcome in ("fetched", "failed")),
                tls=row.tls.options if row.jwks.startswith("https:") else None,
            )
            for name, row in settings.auth.jwt.items()
        ),
        tuple(
            DocumentSource(
                *(name, "" if row.openapi.file else row.openapi.path or "", row.openapi.file),
                *(row.openapi.refresh, row.openapi.stale, row.openapi.max_size, row.openapi.is_wanted),
                recipe_of(settings, name),
                *(key("openapi_fetches", name, outcome) for outcome in ("fetched", "failed")),
            )
            for name, row in settings.backends.items()
            if row.openapi.file or row.openapi.path is not None
        ),
    )


def recipe_of(settings: Settings, name: str) -> Recipe:
    """What the settings say of a backend's document."""
    row = settings.backends[name]
    return Recipe(
        name,
        row.prefix,
        separator(name, settings.backends),
        row.openapi.hide,
        tuple(method for method in DESCRIBABLE if method.upper() in row.methods),
        row.strip,
        tuple(
            sorted(
                other.prefix
                for other in settings.backends.values()
                if other.prefix.startswith(f"{row.prefix}/")
            )
        ),
        tuple(ways_of(settings, row.auth.require)),
        row.auth.anonymous,
        row.validation.mode != "off"
        or any(each.validation.mode != "off" for each in settings.routes.values()),
    )


def ways_of(settings: Settings, required: Iterable[str]) -> Iterator[Way]:
    """Those of the required ways that a document can describe: an authority that is asked with what a request
    happens to have has no scheme."""
    for way in required:
        if way == "keys":
            yield Way("gateway.keys", settings.auth.keys.header.lower())
        elif way.startswith("jwt."):
            yield Way(f"gateway.{way}", "authorization")


def _upstreams(settings: Settings, key: Key) -> Iterator[Upstream]:
    for backend, row in settings.backends.items():
        for url in map(str, row.urls):  # plain texts, which a process can be handed without the settings
            parts = urlsplit(url)
            unix = parts.netloc == "unix:"
            base = "" if unix else parts.path.rstrip("/")
            authority = "localhost" if unix else parts.netloc
            tls = _tls(row, url) if UpstreamURL.is_secure(url) else None
            check = _check(row, backend, url, base, authority, tls, key)
            yield replace(_upstream(backend, url, check), base=base, authority=authority, tls=tls)
    for name, service in settings.auth.forward.items():
        yield _upstream(FORWARD + name, parts_of(service.url)[0], None)


def _upstream(backend: str, url: str, check: Check | None) -> Upstream:
    parts = urlsplit(url)
    if parts.netloc == "unix:":
        return Upstream(backend, url, parts.path, 0, check)
    return Upstream(backend, url, parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme], check)


def _check(
    row: BackendSettings,
    backend: str,
    url: str,
    base: str,
    authority: str,
    tls: ClientTls | None,
    key: Key,
) -> Check | None:
    health = row.health
    if health.path is None or not health.interval:
        return None
    return Check(
        base + health.path,
        authority,
        health.interval,
        health.unhealthy_interval,
        health.timeout,
        health.fall,
        health.rise,
        tuple(map(span, health.statuses)),
        *(key("upstream_checks", backend, url, outcome) for outcome in ("passed", "failed")),
        tls=tls,
    )


def _tls(row: BackendSettings, url: str) -> ClientTls:
    options = row.tls.options
    name = (urlsplit(url).hostname or "").removesuffix(".")
    return options if options.server_name else options._replace(server_name=name)
