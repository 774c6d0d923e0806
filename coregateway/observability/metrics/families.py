"""Every metric of the gateway, as data, and the keys under which a part of the shared memory keeps them.

All values are per node: counters and histograms are summed over all processes that ever ran, gauges over
those that live. Units are seconds and bytes. Label values come from the settings and from short lists,
never from what a client sends; see `recorder`.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple
from zlib import crc32

from coregateway.model.call_times import BOUNDS
from coregateway.shared_memory.series import MAX_KEY, WIDTH

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The buckets of OpenTelemetry's semantic conventions for HTTP durations."""

FINE_SECONDS = (
    0.0001,
    0.00015,
    0.0002,
    0.0003,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.1,
    0.5,
    2.5,
    10.0,
)
"""For the gateway's own share, about 0.0002 s: of the buckets above it would always fill the first."""

LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

NAMESPACE = "coregateway_"

SEPARATOR = "\x1f"
"""Between the parts of a key; in no label value."""

_LONGEST = 34
"""Characters of a label value in a key that would be too long with all of them."""


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(NamedTuple):
    """One metric. `name` is the short one; `buckets`, upper bounds in seconds, are a histogram's alone."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """As Prometheus knows it."""
        return NAMESPACE + self.name + ("_total" if self.kind is Kind.COUNTER else "")

    @property
    def width(self) -> int:
        """Numbers in a slot: of a histogram the count of each bucket, of all above them, and the sum."""
        return len(self.buckets) + 2 if self.kind is Kind.HISTOGRAM else 1


def _counter(name: str, told: str, *labels: str) -> Family:
    return Family(name, Kind.COUNTER, told, labels)


def _gauge(name: str, told: str, *labels: str) -> Family:
    return Family(name, Kind.GAUGE, told, labels)


def _histogram(name: str, told: str, buckets: tuple[float, ...], *labels: str) -> Family:
    return Family(name, Kind.HISTOGRAM, told, labels, buckets)


# Of finished exchanges. Label backend: empty for what the gateway answers itself.

REQUESTS = _counter(
    "requests",
    "Requests of the main port that ended, refusals and malformed ones included; code 499: the client left.",
    *("backend", "route", "method", "code"),
)
DURATION = _histogram(
    "request_duration_seconds",
    "From a request's first byte to its outcome; without WebSockets.",
    SECONDS,
    "backend",
)
UPSTREAM_DURATION = _histogram(
    "upstream_duration_seconds",
    "From handing a request to the backend to the head of its response.",
    SECONDS,
    "backend",
)
OVERHEAD = _histogram(
    "overhead_seconds",
    "The gateway's own share of a relayed request: its duration without the backend's time.",
    FINE_SECONDS,
    "backend",
)
POOL_WAIT = _histogram(
    "pool_wait_seconds", "Of a request in the queue for a free connection.", SECONDS, "backend"
)
ATTEMPTS = _counter("upstream_attempts", "Tries of requests at a backend, the first included.", "backend")
SHARES = _counter(
    "shares",
    "Requests of routes with several backends, by the one that was chosen and how: weight, sticky or force.",
    *("route", "backend", "way"),
)
MIRRORED = _counter(
    "mirrored",
    "Copies of requests for the backend of a mirror: sent, failed, or dropped because it was busy.",
    *("backend", "outcome"),
)
AUTH = _counter(
    "auth",
    "Requests that had to authenticate, by method and outcome.",
    *("backend", "method", "outcome"),
)
AUTH_REFUSED = _counter(
    "auth_refused",
    "Requests that were refused for their credentials, by method and why; and those that passed because a "
    "service failed.",
    *("method", "reason"),
)
AUTH_FORWARD_SECONDS = _histogram(
    "auth_forward_seconds",
    "Of the answers of a service that says whether requests may pass.",
    BOUNDS,
    "service",
)
AUTH_FORWARD_FAILURES = _counter(
    "auth_forward_failures", "Questions that such a service did not answer, by why.", "service", "reason"
)
VALIDATION = _counter(
    "validation",
    "Requests that were held against the document of their backend: ok, failed, or skipped.",
    *("backend", "mode", "outcome"),
)
RATE_DECISIONS = _counter(
    "rate_decisions",
    "Requests that a rate admits, refuses (limited), would refuse if it were enforced, or decides without "
    "the store (failed).",
    *("policy", "outcome"),
)
RATE_EVICTIONS = _counter(
    "rate_table_evictions",
    "Keys of rates that were forgotten too early, because the node had no room for more.",
)
RATE_STORE_UP = _gauge(
    "rate_store_up", "1 while the store of rates answers all workers, else 0; with a store."
)
RATE_STORE_SECONDS = _histogram(
    "rate_store_seconds", "Of the round trips to the store of rates, several requests in one.", BOUNDS
)
CONCURRENCY_REJECTED = _counter(
    "concurrency_rejected",
    "Requests that were refused because too many of their key were in flight.",
    "policy",
)
JWKS_FETCHES = _counter("jwks_fetches", "Fetches of the keys of an issuer of tokens.", "provider", "outcome")
JWKS_AGE = _gauge("jwks_age_seconds", "Since the keys of an issuer were fetched last.", "provider")
OPENAPI_FETCHES = _counter(
    "openapi_fetches", "Fetches of the API document of a backend.", "backend", "outcome"
)
OPENAPI_AGE = _gauge(
    "openapi_age_seconds", "Since the API document of a backend was fetched last; with one.", "backend"
)
OPENAPI_STATE = _gauge(
    "openapi_state",
    "1 for the state of the API document of a backend: waiting, fetched, stale, absent or refused.",
    *("backend", "state"),
)
RETRIES = _counter(
    "upstream_retries", "Tries after the first, by what ended the one before.", "backend", "reason"
)
RETRIES_AT = _counter(
    "retries", "Tries that failed and were followed by another, by the address where.", "backend", "upstream"
)
EJECTIONS = _counter("ejections", "Ejections of an address of a backend.", "backend", "upstream")
UPSTREAM_STATE = _gauge(
    "upstream_state",
    "1 for the state of an address of a backend (up, down, ejected, draining), 0 for the others.",
    *("backend", "upstream", "state"),
)
BREAKER_STATE = _gauge(
    "breaker_state",
    "1 for the state of a backend's breaker (off, closed, open, half_open), 0 for the others.",
    *("backend", "state"),
)
CHECKS = _counter("upstream_checks", "Checks of an upstream's addresses.", "backend", "upstream", "outcome")
RESOLUTIONS = _counter("name_resolutions", "Look-ups of host names of upstreams.", "name", "outcome")
SURPLUS = _counter(
    "upstream_surplus", "Connections to a backend that brought bytes no request asked for.", "backend"
)
SLOW_CLIENTS = _counter(
    "slow_clients", "Requests that were ended because others waited for what their clients held.", "backend"
)
REQUEST_BYTES = _counter("request_bytes", "Of request bodies, without chunk framing.", "backend")
RESPONSE_BYTES = _counter("response_bytes", "Of response bodies, without chunk framing.", "backend")
DISCONNECTS = _counter("client_disconnects", "Requests whose client left before their end.", "backend")
ERRORS = _counter("errors", "Requests that did not end well, by the token of the cause.", "backend", "cause")
REFUSED = _counter(
    "refused", "Requests that were refused, or ended, for a rule of HTTP or a limit, by rule.", "rule"
)
NOT_SECURED = _counter(
    "upstream_tls_failures",
    "Requests for which no connection over TLS could be made: name, time, chain or handshake.",
    *("backend", "reason"),
)
HANDSHAKES = _counter(
    "tls_handshakes",
    "TLS handshakes with clients that have ended: full, resumed, or why they failed.",
    "outcome",
)
TUNNELS_OPENED = _counter("tunnels_opened", "WebSockets that were opened.", "backend")

# Of the moment.

IN_FLIGHT = _gauge("inflight_requests", "Requests for a backend that are under way.", "backend")
TUNNELS = _gauge("tunnels", "WebSockets that are open.", "backend")
CLIENT_CONNECTIONS = _gauge(
    "client_connections", "Open connections of clients; active: with a request for a backend.", "state"
)
UPSTREAM_CONNECTIONS = _gauge("upstream_connections", "Connections to a backend.", "backend", "state")
QUEUE_LENGTH = _gauge(
    "queue_length", "Requests that wait for a connection to a backend, or by its limit.", "backend"
)

# Of the processes.

LOOP_LAG = _histogram(
    "event_loop_lag_seconds", "How late a worker's event loop called a timer of 0.1 s.", LAG_SECONDS
)
LOG_LINES_DROPPED = _counter("log_lines_dropped", "Log lines that no reader took in time.")
MIDDLEWARE = _histogram(
    "middleware_seconds",
    "Of a call of a middleware, its waits included; name: its module, and its name there.",
    BOUNDS,
    "name",
)
WORKER_RESTARTS = _counter("worker_restarts", "Workers that were started again because they had died.")
WORKERS = _gauge("workers", "Worker processes by what they do.", "state")
SETTINGS_VERSION = _gauge("settings_version", "1 at the start, one more with each reload.")
SETTINGS_HASH = _gauge(
    "settings_hash", "Of the settings that the node runs with, as a number: alike on nodes that agree."
)
RELOAD_SUCCESS = _gauge(
    "settings_last_reload_success", "1, or 0 when the settings were wrong as they were read last."
)
CERTIFICATE_ENDS = _gauge(
    "tls_not_after_seconds",
    "When a certificate that clients are shown ends, in seconds since 1970, by its first name.",
    "name",
)
BUILD_INFO = _gauge("build_info", "1, with the version that runs.", "version")

FAMILIES = (
    *(REQUESTS, DURATION, UPSTREAM_DURATION, OVERHEAD, POOL_WAIT, ATTEMPTS, RETRIES),
    *(RETRIES_AT, EJECTIONS, UPSTREAM_STATE, BREAKER_STATE),
    *(CHECKS, RESOLUTIONS, SURPLUS, SHARES, MIRRORED, RATE_DECISIONS, RATE_EVICTIONS, CONCURRENCY_REJECTED),
    *(RATE_STORE_UP, RATE_STORE_SECONDS),
    VALIDATION,
    *(AUTH, AUTH_REFUSED, AUTH_FORWARD_SECONDS, AUTH_FORWARD_FAILURES, JWKS_FETCHES, JWKS_AGE),
    *(OPENAPI_FETCHES, OPENAPI_AGE, OPENAPI_STATE),
    *(REQUEST_BYTES, RESPONSE_BYTES, DISCONNECTS, ERRORS, NOT_SECURED, REFUSED, HANDSHAKES),
    *(TUNNELS_OPENED, IN_FLIGHT, TUNNELS),
    SLOW_CLIENTS,
    *(CLIENT_CONNECTIONS, UPSTREAM_CONNECTIONS, QUEUE_LENGTH, LOOP_LAG, MIDDLEWARE, LOG_LINES_DROPPED),
    *(WORKER_RESTARTS, WORKERS, SETTINGS_VERSION, SETTINGS_HASH, RELOAD_SUCCESS),
    *(CERTIFICATE_ENDS, BUILD_INFO),
)
BY_NAME = MappingProxyType({family.name: family for family in FAMILIES})

UPSTREAM_STATES = ("active", "idle", "opening", "streaming")
CLIENT_STATES = ("active", "idle")

OVERFLOW = "overflow"
"""The route, reason or cause of what found no room of its own any more; its other labels are empty."""

SPILL = "spill"
"""The key of a slot that is never read: it takes what is not to be counted, or has no room."""

assert all(family.width <= WIDTH for family in FAMILIES)  # noqa: S101 -- of the constants above


def key(family: Family, *values: str) -> str:
    """Where the numbers of one series are: `family.name` and its label values, joined by `SEPARATOR`.

    It is never longer than a key may be: if need be, long values end in a checksum of themselves.
    """
    whole = SEPARATOR.join((family.name, *values))
    if len(whole.encode()) <= MAX_KEY:
        return whole
    return SEPARATOR.join((family.name, *(_shortened(value) for value in values)))


def key_of(name: str, *values: str) -> str:
    """As `key`, for processes that know a family by its short name alone."""
    return key(BY_NAME[name], *values)


def _shortened(value: str) -> str:
    if len(value) <= _LONGEST:
        return value
    return f"{value[: _LONGEST - 9]}~{crc32(value.encode()):08x}"


def parse(key: str) -> tuple[Family, tuple[str, ...]] | None:
    """The family and the label values of a key; None for what is no metric."""
    name, *values = key.split(SEPARATOR)
    family = BY_NAME.get(name)
    return None if family is None or len(values) != len(family.labels) else (family, tuple(values))
