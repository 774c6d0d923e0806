"""The metrics as data: their names, and the keys of their series."""

from coregateway.observability.metrics import families
from coregateway.observability.metrics.families import FAMILIES, key, parse
from coregateway.shared_memory.series import MAX_KEY, WIDTH

PROMISED = {
    "coregateway_requests_total": ("backend", "route", "method", "code"),
    "coregateway_request_duration_seconds": ("backend",),
    "coregateway_upstream_duration_seconds": ("backend",),
    "coregateway_overhead_seconds": ("backend",),
    "coregateway_inflight_requests": ("backend",),
    "coregateway_client_connections": ("state",),
    "coregateway_upstream_connections": ("backend", "state"),
    "coregateway_pool_wait_seconds": ("backend",),
    "coregateway_queue_length": ("backend",),
    "coregateway_upstream_attempts_total": ("backend",),
    "coregateway_upstream_retries_total": ("backend", "reason"),
    "coregateway_retries_total": ("backend", "upstream"),
    "coregateway_ejections_total": ("backend", "upstream"),
    "coregateway_upstream_state": ("backend", "upstream", "state"),
    "coregateway_breaker_state": ("backend", "state"),
    "coregateway_upstream_checks_total": ("backend", "upstream", "outcome"),
    "coregateway_name_resolutions_total": ("name", "outcome"),
    "coregateway_upstream_surplus_total": ("backend",),
    "coregateway_slow_clients_total": ("backend",),
    "coregateway_auth_refused_total": ("method", "reason"),
    "coregateway_auth_forward_seconds": ("service",),
    "coregateway_auth_forward_failures_total": ("service", "reason"),
    "coregateway_rate_decisions_total": ("policy", "outcome"),
    "coregateway_rate_table_evictions_total": (),
    "coregateway_concurrency_rejected_total": ("policy",),
    "coregateway_rate_store_up": (),
    "coregateway_rate_store_seconds": (),
    "coregateway_validation_total": ("backend", "mode", "outcome"),
    "coregateway_shares_total": ("route", "backend", "way"),
    "coregateway_mirrored_total": ("backend", "outcome"),
    "coregateway_auth_total": ("backend", "method", "outcome"),
    "coregateway_jwks_fetches_total": ("provider", "outcome"),
    "coregateway_jwks_age_seconds": ("provider",),
    "coregateway_openapi_fetches_total": ("backend", "outcome"),
    "coregateway_openapi_age_seconds": ("backend",),
    "coregateway_openapi_state": ("backend", "state"),
    "coregateway_request_bytes_total": ("backend",),
    "coregateway_response_bytes_total": ("backend",),
    "coregateway_client_disconnects_total": ("backend",),
    "coregateway_errors_total": ("backend", "cause"),
    "coregateway_refused_total": ("rule",),
    "coregateway_upstream_tls_failures_total": ("backend", "reason"),
    "coregateway_tls_handshakes_total": ("outcome",),
    "coregateway_tunnels": ("backend",),
    "coregateway_tunnels_opened_total": ("backend",),
    "coregateway_event_loop_lag_seconds": (),
    "coregateway_middleware_seconds": ("name",),
    "coregateway_log_lines_dropped_total": (),
    "coregateway_worker_restarts_total": (),
    "coregateway_workers": ("state",),
    "coregateway_settings_version": (),
    "coregateway_settings_hash": (),
    "coregateway_settings_last_reload_success": (),
    "coregateway_tls_not_after_seconds": ("name",),
    "coregateway_build_info": ("version",),
}


def test_the_names_and_labels_are_those_that_dashboards_rely_on() -> None:
    assert {family.full_name: family.labels for family in FAMILIES} == PROMISED


def test_no_two_metrics_would_be_one_in_openmetrics() -> None:
    """There the name of a counter has no `_total`."""
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_durations_have_the_buckets_of_opentelemetry() -> None:
    buckets = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
    assert families.DURATION.buckets == families.UPSTREAM_DURATION.buckets == buckets


def test_every_metric_fits_a_slot_and_its_buckets_rise() -> None:
    for family in FAMILIES:
        assert family.width <= WIDTH, family.name
        assert list(family.buckets) == sorted(set(family.buckets)), family.name


def test_a_key_tells_its_family_and_labels() -> None:
    for family in FAMILIES:
        labels = tuple(f"värde {label}" for label in family.labels)
        assert parse(key(family, *labels)) == (family, labels)


def test_what_is_no_metric_has_no_family() -> None:
    assert [parse(text) for text in ("", "spill", "status\x1fcoredinator", "requests\x1fonly one")] == [
        None
    ] * 4


def test_a_key_of_long_values_fits_and_differs_from_that_of_others() -> None:
    names = [f"{'b' * 300}{number}" for number in range(50)]
    keys = {key(families.REQUESTS, name, f"/{name}", "M" * 100, "200") for name in names}
    assert len(keys) == 50
    assert max(len(each.encode()) for each in keys) <= MAX_KEY
    parsed = parse(keys.pop())
    assert parsed is not None
    assert parsed[1][3] == "200"
    assert parsed[1][0].startswith("bbbbbbbb")
