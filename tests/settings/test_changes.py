"""What a reload changes, and what takes a restart."""

from typing import Any

import pytest

from coregateway.settings import Settings
from coregateway.settings.changes import changed, fingerprint, is_fixed, reconciled

ROW = {"prefix": "/b", "urls": ("http://b:1",)}


def settings(**tables: Any) -> Settings:
    return Settings.model_validate(tables)


@pytest.mark.parametrize(
    ("tables", "keys"),
    [
        ({}, ()),
        ({"timeouts": {"read": 5.0}}, ("timeouts.read", "backends.a.timeouts.read")),
        ({"log_level": "DEBUG", "port": 9}, ("port", "log_level")),
        ({"backends": {"a": ROW | {"prefix": "/c"}}}, ("backends.a.prefix",)),
        ({"backends": {"a": ROW, "c": ROW | {"prefix": "/c"}}}, ("backends.c",)),
        ({"backends": {}}, ("backends.a",)),
    ],
)
def test_what_differs_is_named_by_its_key(tables: dict[str, Any], keys: tuple[str, ...]) -> None:
    before = settings(backends={"a": ROW})
    assert changed(before, settings(**{"backends": {"a": ROW}, **tables})) == keys


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"host": "::1"}, "host"),
        ({"port": 9}, "port"),
        ({"workers": 3}, "workers"),
        ({"admin": {"address": ""}}, "admin.address"),
        ({"metrics": {"on_main_port": True}}, "metrics.on_main_port"),
        ({"dashboard": {"enabled": False}}, "dashboard.enabled"),
        ({"tracing": {"enabled": True}}, "tracing.enabled"),
        ({"tracing": {"endpoint": "http://c:1"}}, "tracing.endpoint"),
    ],
)
def test_what_takes_a_restart_stays(tables: dict[str, Any], key: str) -> None:
    running, wanted = settings(), settings(cors={"origins": ()}, **tables)
    after = reconciled(running, wanted)
    assert changed(running, after) == ("cors.origins",)
    assert changed(after, wanted) == (key,)
    assert is_fixed(key)


@pytest.mark.parametrize(
    "key", ["tracing.sample", "backends.host", "timeouts.read", "log_level", "backends.a"]
)
def test_all_else_changes_in_place(key: str) -> None:
    assert not is_fixed(key)


def test_what_does_not_go_with_what_stays_is_a_mistake() -> None:
    running = settings(metrics={"on_main_port": True})
    wanted = settings(backends={"a": ROW | {"prefix": "/metrics"}})
    with pytest.raises(ValueError, match=r"backends\.a\.prefix: expected another prefix than /metrics"):
        reconciled(running, wanted)


def test_nodes_that_agree_have_the_same_fingerprint() -> None:
    here = fingerprint(settings())
    assert here == fingerprint(settings(host="::1", port=9, workers=7))
    assert len(here) == 12
    int(here, 16)
    others = [{"timeouts": {"read": 31.0}}, {"log_level": "DEBUG"}, {"backends": {"a": ROW}}]
    assert len({here, *(fingerprint(settings(**tables)) for tables in others)}) == 4
