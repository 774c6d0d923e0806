"""The settings as frozen values: keys, types and defaults, and the rules between keys.

The attribute names are the keys of the TOML file. Limits say whether they hold for one worker or for the
whole node.
"""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self, cast

from pydantic import BaseModel, Field, model_validator

from coregateway.http1.grammar import METHODS
from coregateway.model.addresses import meet
from coregateway.settings import auth_rules, rate_rules, route_rules
from coregateway.settings.auth import AuthSettings, RequirementSettings
from coregateway.settings.contradiction import Contradiction, KeyPath
from coregateway.settings.cors import CorsSettings
from coregateway.settings.cors import contradictions as cors_rules
from coregateway.settings.explain import ExplainSettings
from coregateway.settings.fields import FieldRules
from coregateway.settings.health import DnsSettings, HealthSettings
from coregateway.settings.inheritance import with_complete_rows
from coregateway.settings.limits import LimitSettings, TimeoutSettings
from coregateway.settings.named_rows import tables_of_rows
from coregateway.settings.observability import (
    OPTIONAL_PATHS,
    AccessLogSettings,
    DashboardSettings,
    MetricsSettings,
    TracingSettings,
)
from coregateway.settings.openapi import OpenapiSettings
from coregateway.settings.plugins import PluginNames
from coregateway.settings.rates import ConcurrencySettings, PolicyNames, RateSettings
from coregateway.settings.reload import ReloadSettings
from coregateway.settings.resilience import (
    BreakerSettings,
    EjectionSettings,
    NodeRetrySettings,
    RetrySettings,
)
from coregateway.settings.routes import RouteTable
from coregateway.settings.store import StoreSettings
from coregateway.settings.table import Table
from coregateway.settings.tls import BackendTlsSettings, TlsSettings
from coregateway.settings.tls import contradictions as tls_rules
from coregateway.settings.upstreams import Balance, HashOn, URLs
from coregateway.settings.validation import ValidationSettings
from coregateway.settings.values import (
    BACKEND_NAME,
    BodySize,
    Cookies,
    Count,
    ForwardedHost,
    Host,
    ListeningAddress,
    LogFormat,
    LogLevel,
    Methods,
    Networks,
    Pause,
    Port,
    Prefix,
    Switch,
    Workers,
    split_authority,
)

DEFAULT_BACKENDS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "coredinator": {
            "prefix": "/api/v1/coredinator",
            "urls": ["http://localhost:7000"],
            "health": {"path": "/api/healthcheck"},
        },
        "coretelemetry": {
            "prefix": "/api/v1/coretelemetry",
            "urls": ["http://localhost:7001"],
            "health": {"path": "/health"},
        },
    }
)
"""The rows of the two backends that are there unless settings change them."""


class ForwardingSettings(Table):
    trusted_proxies: Networks = ()
    """Peers whose `X-Forwarded-*` and `Forwarded` headers are believed."""
    host: ForwardedHost = "backend"
    """Whose `Host` a backend is sent: its own or the client's."""


class AdminSettings(Table):
    address: ListeningAddress = "127.0.0.1:9001"
    """`host:port` for operators; empty: switched off."""

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Host (IPv6 without brackets) and port, None when switched off."""
        host, port = split_authority(self.address) or ("", None)
        return None if port is None else (host, port)


class ShutdownSettings(Table):
    """After the stop signal, in seconds."""

    delay: Pause = 0.5
    """That the listeners stay open while `/readyz` already says 503."""
    grace: Pause = 15.0
    """That exchanges in flight may take to complete."""


class BackendSettings(Table):
    prefix: Prefix
    urls: URLs
    balance: Balance = "p2c"
    """Which of several upstreams gets a request: of two at random the one with fewer requests in flight, by
    turns, the one with fewest in flight, at random, or the same one for the same key."""
    hash_on: HashOn = "client"
    """The key of `hash`."""
    max_in_flight: Count = 0
    """Requests at its upstreams at a time, for the node; others wait in line. 0: no limit."""
    maintenance: Switch = False
    """True: clients get 503."""
    methods: Methods = METHODS
    health: HealthSettings = HealthSettings()
    tls: BackendTlsSettings = BackendTlsSettings()
    openapi: OpenapiSettings = OpenapiSettings()
    enabled: Switch = True
    """False: as if the row were not there."""  # Settings hold no such backend
    cookies: Cookies = "pass"
    """What becomes of the `Path` of a `Set-Cookie`: it passes, or is mapped under the prefix."""
    strip: Switch = True
    """Whether the prefix is taken off the path that the backend sees."""
    max_body: BodySize = 104857600
    """As `limits.request.max_body`, which it is unless the backend says otherwise."""
    request: FieldRules = FieldRules()
    """What is changed in the fields of its requests."""
    response: FieldRules = FieldRules()
    """What is changed in the fields of its responses."""
    allow: Networks = ()
    """Networks of clients that are admitted; none: all."""
    deny: Networks = ()
    """Those that are not; they win."""
    rates: PolicyNames = ()
    """Those of `[rates.NAME]` that its requests are asked for; not given: those of `[limits]`."""
    concurrency: PolicyNames = ()
    """The same of `[concurrency.NAME]`."""
    auth: RequirementSettings = RequirementSettings()
    """Complete: what it requires is `auth.default`, unless it says otherwise."""
    validation: ValidationSettings = ValidationSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    """Complete, as the next three: the node-wide ones, with those that the backend has of its own in their
    place."""
    ejection: EjectionSettings = EjectionSettings()
    breaker: BreakerSettings = BreakerSettings()
    retries: RetrySettings = RetrySettings()


class RouteSettings(RouteTable):
    """A further route: which requests it takes, and what becomes of them."""

    # Settings hold these complete.
    timeouts: TimeoutSettings = TimeoutSettings()
    """In the place of those of its one backend, or of the node."""
    auth: RequirementSettings = RequirementSettings()
    """In the place of what its one backend requires, or all of its backends, or `auth.default`."""
    validation: ValidationSettings = ValidationSettings()
    """In the place of that of its one backend; a route with several has its own alone."""


class Settings(Table):
    """All settings of one gateway. Without arguments: the defaults.

    Raises pydantic's `ValidationError` when constructed from wrong values; `load` tells a user more.
    """

    host: Host = "0.0.0.0"
    port: Port = 8001
    workers: Workers = 1
    """Processes; 0 becomes the number of CPUs that this process may use."""
    log_level: LogLevel = "INFO"
    log_format: LogFormat = "json"
    access_log: AccessLogSettings = AccessLogSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    limits: LimitSettings = LimitSettings()
    ejection: EjectionSettings = EjectionSettings()
    breaker: BreakerSettings = BreakerSettings()
    retries: NodeRetrySettings = NodeRetrySettings()
    forwarding: ForwardingSettings = ForwardingSettings()
    tls: TlsSettings = TlsSettings()
    admin: AdminSettings = AdminSettings()
    cors: CorsSettings = CorsSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    watchdog: Pause = 30.0
    """Seconds that a worker may take to come up, or its loop stand still, until it is replaced; 0: any."""
    reload: ReloadSettings = ReloadSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    dashboard: DashboardSettings = DashboardSettings()
    plugins: PluginNames = ()
    """Modules whose `attach(app)` is called before the start, in this order."""
    plugin: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By the modules of plugins, what their tables say."""
    dns: DnsSettings = DnsSettings()
    explain: ExplainSettings = ExplainSettings()
    auth: AuthSettings = AuthSettings()
    request: FieldRules = FieldRules()
    """What is changed in the fields of all requests that are forwarded."""
    response: FieldRules = FieldRules()
    """What is changed in the fields of all responses, the gateway's own included."""
    rates: dict[str, RateSettings] = Field(default_factory=dict)
    """By name; they hold where they are named."""
    concurrency: dict[str, ConcurrencySettings] = Field(default_factory=dict)
    """Likewise."""
    store: StoreSettings = StoreSettings()
    backends: dict[str, BackendSettings] = Field(default_factory=dict)
    """By name, those that are enabled. Not given at all: the two of `DEFAULT_BACKENDS`."""
    routes: dict[str, RouteSettings] = Field(default_factory=dict)
    """By name, those that are enabled, besides the prefixes of the backends."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, tables: dict[str, Any]) -> dict[str, Any]:
        return with_complete_rows(tables, DEFAULT_BACKENDS)

    @model_validator(mode="after")
    def _check_names_and_rules(self) -> Self:
        names = (*self.backends, *self.routes, *self.rates, *self.concurrency)
        misnamed = [name for name in names if not BACKEND_NAME.fullmatch(name)]
        if misnamed:
            raise ValueError(f"names must match {BACKEND_NAME.pattern}: {misnamed}")
        for contradiction in contradictions(dict(leaves(self))):
            raise ValueError(f"{'.'.join(contradiction.key)}: expected {contradiction.expected}")
        return self


def contradictions(
    values: Mapping[KeyPath, object], doubtful: Collection[KeyPath] = ()
) -> Iterator[Contradiction]:
    """The rules between keys that `values` breaks. A key that is missing, or `doubtful`, breaks none."""
    yield from cors_rules(values)
    kept, most = (values.get(("limits", key)) for key in ("max_keepalive_connections", "max_connections"))
    if isinstance(kept, int) and isinstance(most, int) and kept > most:
        yield Contradiction(
            ("limits", "max_keepalive_connections"),
            f"no more than limits.max_connections, {most}",
            ("limits", "max_connections"),
        )
    host, port, address = (values.get(key) for key in (("host",), ("port",), ("admin", "address")))
    own = split_authority(address) if isinstance(address, str) else None
    if port and own and own[1] == port and meet(str(host), own[0]):
        yield Contradiction(
            ("admin", "address"), f"another port than {port}, which is the gateway's own", ("port",)
        )
    owners: dict[object, KeyPath] = {}
    switched_on = [(key, path) for key, path in OPTIONAL_PATHS.items() if values.get(key) is True]
    for key, value in values.items():
        if key[0] == "backends" and key[2:] == ("prefix",):
            for switch, path in switched_on:
                if f"{value}/".startswith(f"{path}/"):
                    yield Contradiction(key, f"another prefix than {path}, which the gateway answers", switch)
            owner = owners.setdefault(value, key)
            if owner != key:
                yield Contradiction(key, f"another prefix than backend {owner[1]} has", owner)
    yield from tls_rules(values)
    yield from route_rules.contradictions(values, doubtful)
    yield from rate_rules.contradictions(values, doubtful)
    yield from auth_rules.contradictions(values, doubtful)


def leaves(table: BaseModel, under: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    """Every single setting below a table with its value, in the order of the model."""
    for name, value in table:
        yield from _leaves_of((*under, name), value)


def _leaves_of(key: KeyPath, value: object) -> Iterator[tuple[KeyPath, object]]:
    if isinstance(value, BaseModel):
        yield from leaves(value, key)
    elif key in ROWS and isinstance(value, dict):
        for name, row in cast("dict[str, BaseModel]", value).items():
            yield from leaves(row, (*key, name))
    elif key == ("plugin",) and isinstance(value, dict):
        for module, table in cast("dict[str, dict[str, Any]]", value).items():
            yield from (((*key, module, name), each) for name, each in table.items())
    else:
        yield key, value


ROWS: Mapping[KeyPath, type[BaseModel]] = MappingProxyType(dict(tables_of_rows(Settings)))
"""The tables whose rows have names of the user's own."""
