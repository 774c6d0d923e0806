"""Ports are not given twice while a process that was told one of them still starts."""

import socket
from itertools import islice

import pytest

from coregateway.testing import free_port, refusing
from coregateway.testing.ports import PORTS, SHARES, ports_of


def test_a_free_port_is_not_given_again_soon() -> None:
    given = [free_port() for _ in range(500)]
    assert len({*given}) == len(given)
    assert {*given} <= {*PORTS}


@pytest.mark.parametrize(("one", "other"), [("gw0", "gw1"), ("gw3", "gw5"), ("gw6", "gw7")])
def test_processes_of_one_run_take_different_ports(one: str, other: str) -> None:
    all_of_one, all_of_other = ({*islice(ports_of(worker), len(PORTS))} for worker in (one, other))
    assert len(all_of_one) == len(all_of_other) == len(PORTS) // SHARES
    assert not all_of_one & all_of_other


def test_a_port_that_is_taken_is_passed_over() -> None:
    with refusing() as url:
        taken = int(url.rpartition(":")[2])
        assert taken not in [free_port() for _ in range(len(PORTS) // SHARES)]
        with socket.socket() as probe, pytest.raises(OSError, match="in use"):
            probe.bind(("127.0.0.1", taken))
