"""What the settings have the prober ask."""

from copy import deepcopy
from typing import Any

import pytest

from coregateway.observability.metrics import families
from coregateway.prober.plan import Plan
from coregateway.prober.planning import plan_of
from coregateway.settings import Settings

BASE: dict[str, Any] = {
    "dns": {},
    "backends": {"a": {"prefix": "/a", "urls": ["http://a.test:1"], "health": {"path": "/health"}}},
}


def plan(table: dict[str, Any]) -> Plan:
    return plan_of(Settings.model_validate(table), families.key_of)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("path", "/other"),
        ("interval", 3.0),
        ("unhealthy_interval", 3.0),
        ("timeout", 1.0),
        ("fall", 1),
        ("rise", 1),
        ("statuses", ["200"]),
    ],
)
def test_every_key_of_health_makes_another_plan(key: str, value: object) -> None:
    table = deepcopy(BASE)
    table["backends"]["a"]["health"][key] = value
    assert plan(table).upstreams[0].check != plan(BASE).upstreams[0].check


@pytest.mark.parametrize("key", ["refresh", "hold"])
def test_every_key_of_dns_makes_another_plan(key: str) -> None:
    made = plan(BASE | {"dns": {key: 7.0}})
    assert getattr(made, key) == 7.0
    assert made != plan(BASE)


@pytest.mark.parametrize("off", [{"path": ""}, {"path": "/health", "interval": 0}])
def test_without_a_path_or_an_interval_there_is_no_check(off: dict[str, object]) -> None:
    table = deepcopy(BASE)
    table["backends"]["a"]["health"] = off
    assert plan(table).upstreams[0].check is None
