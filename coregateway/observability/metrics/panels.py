"""What the Grafana dashboard shows: its rows of plots, over the metrics of `families`."""

from typing import NamedTuple

_LATENCY = (0.5, 0.95, 0.99)


class Panel(NamedTuple):
    """One plot: pairs of an expression and the legend of its series. `unit` is one of Grafana's."""

    title: str
    unit: str
    targets: tuple[tuple[str, str], ...]


def _rate(name: str, by: str, match: str = 'backend=~"$backend"') -> str:
    return f"sum by ({by}) (rate(coregateway_{name}_total{{{match}}}[$__rate_interval]))"


def _quantiles(name: str, *quantiles: float) -> tuple[tuple[str, str], ...]:
    """Of a histogram of each backend."""
    buckets = f'rate(coregateway_{name}_bucket{{backend=~"$backend"}}[$__rate_interval])'
    return tuple(
        (f"histogram_quantile({each}, sum by (backend, le) ({buckets}))", f"{{{{backend}}}} p{each * 100:g}")
        for each in quantiles
    )


def _gauge(name: str, by: str, match: str = 'backend=~"$backend"') -> str:
    return f"sum by ({by}) (coregateway_{name}{{{match}}})"


_FAILED = _rate("requests", "backend", 'backend=~"$backend",code=~"5.."')
_CALLS = "rate(coregateway_middleware_seconds_bucket[$__rate_interval])"
_LAG = "rate(coregateway_event_loop_lag_seconds_bucket[$__rate_interval])"
_ANSWERS = "rate(coregateway_auth_forward_seconds_bucket[$__rate_interval])"
_TRIPS = "rate(coregateway_rate_store_seconds_bucket[$__rate_interval])"
_BY_UPSTREAM = "{{backend}} {{upstream}}"
_OTHER_DOCUMENTS = 'max by (backend, state) (coregateway_openapi_state{state!="fetched"})'
_STATES = _gauge("upstream_state", "backend, upstream, state", 'backend=~"$backend",state!="up"')
_OPEN = _gauge("breaker_state", "backend, state", 'backend=~"$backend",state=~"open|half_open"')

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Traffic",
        (
            Panel("Requests", "reqps", ((_rate("requests", "backend"), "{{backend}}"),)),
            Panel("Answers by status", "reqps", ((_rate("requests", "code"), "{{code}}"),)),
            Panel(
                "Share of 5xx",
                "percentunit",
                ((f"{_FAILED} / {_rate('requests', 'backend')}", "{{backend}}"),),
            ),
            Panel(
                "Errors by cause", "reqps", ((_rate("errors", "backend, cause"), "{{backend}} {{cause}}"),)
            ),
            Panel(
                "Bodies",
                "Bps",
                (
                    (_rate("request_bytes", "backend"), "{{backend}} in"),
                    (_rate("response_bytes", "backend"), "{{backend}} out"),
                ),
            ),
            Panel("Refused, by rule", "reqps", ((_rate("refused", "rule", ""), "{{rule}}"),)),
            Panel("Clients that left", "reqps", ((_rate("client_disconnects", "backend"), "{{backend}}"),)),
        ),
    ),
    (
        "Time",
        (
            Panel("Whole request", "s", _quantiles("request_duration_seconds", *_LATENCY)),
            Panel(
                "Backend, to the head of its response",
                "s",
                _quantiles("upstream_duration_seconds", *_LATENCY),
            ),
            Panel("Gateway's own share", "s", _quantiles("overhead_seconds", *_LATENCY)),
        ),
    ),
    (
        "Backends",
        (
            Panel("Requests under way", "short", ((_gauge("inflight_requests", "backend"), "{{backend}}"),)),
            Panel(
                "Connections",
                "short",
                ((_gauge("upstream_connections", "backend, state"), "{{backend}} {{state}}"),),
            ),
            Panel("Waiting for a connection", "short", ((_gauge("queue_length", "backend"), "{{backend}}"),)),
            Panel("Time waited for a connection", "s", _quantiles("pool_wait_seconds", 0.95, 0.99)),
            Panel(
                "Retries",
                "reqps",
                ((_rate("upstream_retries", "backend, reason"), "{{backend}} {{reason}}"),),
            ),
            Panel(
                "Checks",
                "reqps",
                ((_rate("upstream_checks", "upstream, outcome"), "{{upstream}} {{outcome}}"),),
            ),
            Panel(
                "Look-ups of names",
                "reqps",
                ((_rate("name_resolutions", "name, outcome", ""), "{{name}} {{outcome}}"),),
            ),
            Panel(
                "Addresses that are down, ejected or taken out",
                "short",
                ((f"{_STATES} > 0", f"{_BY_UPSTREAM} {{{{state}}}}"),),
            ),
            Panel("Ejections", "short", ((_rate("ejections", "backend, upstream"), _BY_UPSTREAM),)),
            Panel("Retries, by address", "reqps", ((_rate("retries", "backend, upstream"), _BY_UPSTREAM),)),
            Panel("Open breakers", "short", ((_OPEN, "{{backend}} {{state}}"),)),
            Panel(
                "Connections with bytes that no request asked for",
                "cps",
                ((_rate("upstream_surplus", "backend"), "{{backend}}"),),
            ),
            Panel(
                "Requests without a connection over TLS",
                "reqps",
                ((_rate("upstream_tls_failures", "backend, reason"), "{{backend}} {{reason}}"),),
            ),
            Panel(
                "TLS handshakes with clients",
                "cps",
                ((_rate("tls_handshakes", "outcome", ""), "{{outcome}}"),),
            ),
            Panel("Attempts", "reqps", ((_rate("upstream_attempts", "backend"), "{{backend}}"),)),
            Panel(
                "Shares of routes with several backends",
                "reqps",
                ((_rate("shares", "route, backend"), "{{route}} {{backend}}"),),
            ),
            Panel(
                "Copies for mirrors",
                "reqps",
                ((_rate("mirrored", "backend, outcome"), "{{backend}} {{outcome}}"),),
            ),
            Panel(
                "Requests, by what came of their validation",
                "reqps",
                ((_rate("validation", "backend, outcome"), "{{backend}} {{outcome}}"),),
            ),
            Panel(
                "Age of issuers' keys",
                "s",
                (("max by (provider) (coregateway_jwks_age_seconds)", "{{provider}}"),),
            ),
            Panel(
                "Age of API documents",
                "s",
                (("max by (backend) (coregateway_openapi_age_seconds)", "{{backend}}"),),
            ),
            Panel(
                "Fetches of API documents",
                "reqps",
                ((_rate("openapi_fetches", "backend, outcome"), "{{backend}} {{outcome}}"),),
            ),
            Panel(
                "API documents that are not the latest",
                "short",
                (
                    (
                        'max by (backend, state) (coregateway_openapi_state{state!="fetched"})',
                        "{{backend}} {{state}}",
                    ),
                ),
            ),
            Panel(
                "Fetches of issuers' keys",
                "reqps",
                ((_rate("jwks_fetches", "provider, outcome", ""), "{{provider}} {{outcome}}"),),
            ),
            Panel(
                "Callers, by what came of their credentials",
                "reqps",
                ((_rate("auth", "backend, method, outcome"), "{{backend}} {{method}} {{outcome}}"),),
            ),
            Panel(
                "Refused credentials, by why",
                "reqps",
                ((_rate("auth_refused", "method, reason", ""), "{{method}} {{reason}}"),),
            ),
            Panel(
                "Answers of forward authentication",
                "s",
                ((f"histogram_quantile(0.99, sum by (le, service) ({_ANSWERS}))", "{{service}} p99"),),
            ),
            Panel(
                "Questions that they did not answer",
                "reqps",
                ((_rate("auth_forward_failures", "service, reason", ""), "{{service}} {{reason}}"),),
            ),
        ),
    ),
    (
        "Rates",
        (
            Panel(
                "Decisions",
                "reqps",
                ((_rate("rate_decisions", "policy, outcome", ""), "{{policy}} {{outcome}}"),),
            ),
            Panel(
                "Refused, for too many in flight",
                "reqps",
                ((_rate("concurrency_rejected", "policy", ""), "{{policy}}"),),
            ),
            Panel("Store answers", "short", (("min(coregateway_rate_store_up)", "all nodes"),)),
            Panel(
                "Round trips to the store",
                "s",
                ((f"histogram_quantile(0.99, sum by (le) ({_TRIPS}))", "p99"),),
            ),
            Panel(
                "Keys that had no room",
                "short",
                (("sum(rate(coregateway_rate_table_evictions_total[$__rate_interval]))", "keys"),),
            ),
        ),
    ),
    (
        "Clients and processes",
        (
            Panel(
                "Slow clients that were ended for others",
                "reqps",
                ((_rate("slow_clients", "backend"), "{{backend}}"),),
            ),
            Panel(
                "Client connections",
                "short",
                (("sum by (state) (coregateway_client_connections)", "{{state}}"),),
            ),
            Panel(
                "WebSockets",
                "short",
                (
                    (_gauge("tunnels", "backend"), "{{backend}} open"),
                    (_rate("tunnels_opened", "backend"), "{{backend}} opened per second"),
                ),
            ),
            Panel("Event loop lag", "s", ((f"histogram_quantile(0.99, sum by (le) ({_LAG}))", "p99"),)),
            Panel(
                "Middleware",
                "s",
                ((f"histogram_quantile(0.99, sum by (name, le) ({_CALLS}))", "{{name}} p99"),),
            ),
            Panel("Workers", "short", (("sum by (state) (coregateway_workers)", "{{state}}"),)),
            Panel(
                "Worker restarts, lost log lines",
                "short",
                (
                    ("sum(increase(coregateway_worker_restarts_total[$__rate_interval]))", "restarts"),
                    ("sum(increase(coregateway_log_lines_dropped_total[$__rate_interval]))", "lines"),
                ),
            ),
            Panel("Versions", "short", (("count by (version) (coregateway_build_info)", "{{version}}"),)),
            Panel("Settings", "short", (("max(coregateway_settings_version)", "version"),)),
        ),
    ),
)
