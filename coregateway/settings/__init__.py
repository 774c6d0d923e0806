"""Typed settings, their four sources, and every mistake in them at once.

contradiction   settings that cannot stand together
table       what every table is
named_rows  tables whose rows have names of the user's own
cpus        how many CPUs this process may use
values      the types of single settings and what each expects
auth        how callers authenticate, and what is required of them
tokens      the tokens of an issuer
forward_auth   services that are asked whether a request may pass
auth_rules  the rules between those
routes      the table of routes and its types
fields      the fields that settings may name, and how they are changed
route_rules the rules between the keys of a route, and between routes
rates       the tables of rates and of limits in flight
store       where the rates of several nodes are counted
rate_rules  the rules between these, and where they are named
shadowed    routes that never get a request
model       all tables in one, with the rules between keys
limits      how long things may take, and how many there may be
cors        which pages of other origins may call the backends
observability   what operators see
upstreams   the addresses of a backend, and how requests are spread over them
resilience  what becomes of requests when upstreams fail
explain     which live requests are told what becomes of them
tls_report  what the settings of TLS come to, for a reader
tls         certificates and authorities
openapi     where backends have their API documents
validation  whether requests are held against the documents of their backends
health      how upstreams are asked whether they are well, and how their names are resolved
inheritance   what backends and routes have of the tables above them
keys        every key with its variable; what a mistyped one may have meant
plugins     modules of users, and their own settings
sources     what file, environment and command line give, with the place of each
spelling    what a mistyped word may have meant
mistakes    the report of what is wrong, without credentials
loading     the layers, checked, as one `Settings`
redirect_target    which targets a redirect may have
process     the settings of this process, whichever command started it
reload      how a node that runs gets new ones
changes     what a reload changes, and what takes a restart
sample      a file of settings to begin with
report      the effective settings for a reader
"""

from coregateway.settings.cors import CorsSettings
from coregateway.settings.explain import ExplainSettings
from coregateway.settings.health import DnsSettings, HealthSettings
from coregateway.settings.limits import LimitSettings, RequestLimits, TimeoutSettings
from coregateway.settings.loading import Loaded, load
from coregateway.settings.mistakes import Mistake, SettingsError
from coregateway.settings.model import (
    AdminSettings,
    BackendSettings,
    ForwardingSettings,
    Settings,
    ShutdownSettings,
)
from coregateway.settings.observability import AccessLogSettings, DashboardSettings, TracingSettings
from coregateway.settings.process import flags_here, load_or_exit
from coregateway.settings.reload import ReloadSettings
from coregateway.settings.resilience import (
    BreakerSettings,
    EjectionSettings,
    NodeRetrySettings,
    RetrySettings,
)
from coregateway.settings.sources import Flag
from coregateway.settings.upstreams import UpstreamURL

__all__ = [
    "AccessLogSettings",
    "AdminSettings",
    "BackendSettings",
    "BreakerSettings",
    "CorsSettings",
    "DashboardSettings",
    "DnsSettings",
    "EjectionSettings",
    "ExplainSettings",
    "Flag",
    "ForwardingSettings",
    "HealthSettings",
    "LimitSettings",
    "Loaded",
    "Mistake",
    "NodeRetrySettings",
    "ReloadSettings",
    "RequestLimits",
    "RetrySettings",
    "Settings",
    "SettingsError",
    "ShutdownSettings",
    "TimeoutSettings",
    "TracingSettings",
    "UpstreamURL",
    "flags_here",
    "load",
    "load_or_exit",
]
