"""Agents and CoreIO services as state, with a clock that the test moves."""

import pytest

from coregateway.demo.agents import FLAKY_LIFETIME, Fleet, Plant, UnknownServiceError, UnnamedServiceError
from coregateway.demo.agents import service_id as name_of


@pytest.mark.parametrize(
    ("config_path", "name"),
    [("demo/pump.yaml", "pump"), ("/etc/a/b.c.yaml", "b.c"), ("plain", "plain"), ("demo/.hidden", ".hidden")],
)
def test_a_service_is_named_by_the_stem_of_its_configuration(config_path: str, name: str) -> None:
    assert name_of(config_path) == name


@pytest.mark.parametrize("config_path", ["", "demo/", "..", "demo/..", "/"])
def test_a_path_without_a_name_is_refused(config_path: str) -> None:
    with pytest.raises(UnnamedServiceError):
        name_of(config_path)


@pytest.mark.parametrize(
    ("life", "state"),
    [
        ("start", "running"),
        ("start stop", "stopped"),
        ("start stop start", "running"),
        ("start wait", "failed"),
        ("start wait stop", "stopped"),
        ("start wait start", "running"),
        ("start wait start wait", "failed"),
        ("start half start half", "failed"),  # starting what runs does not prolong its life
    ],
)
def test_a_flaky_service_lives_like_this(life: str, state: str) -> None:
    fleet, now = Fleet(), 1000.0
    for step in life.split():
        match step:
            case "start":
                fleet.start("flaky-1", "demo/flaky-1.yaml", now)
            case "stop":
                fleet.stop("flaky-1")
            case _:
                now += FLAKY_LIFETIME / (2 if step == "half" else 1)
    assert fleet["flaky-1"].state(now) == state


def test_other_services_run_until_they_are_stopped() -> None:
    assert Fleet().start("steady", "demo/steady.yaml", now=0).state(now=1e12) == "running"


def test_what_was_never_started_is_unknown() -> None:
    fleet = Fleet()
    with pytest.raises(UnknownServiceError):
        fleet.stop("nobody")
    with pytest.raises(UnknownServiceError):
        fleet["nobody"]
    assert list(fleet) == []


def test_an_agent_that_comes_to_share_a_coreio_service_stops_its_own_no_more() -> None:
    plant = Plant()
    plant.start_agent("demo/a.yaml", None, now=0)
    plant.start_agent("demo/a.yaml", "shared", now=0)
    plant.stop_agent("a")
    assert {service.id: service.state(now=1) for service in plant.coreio} == {
        "a": "running",
        "shared": "running",
    }
