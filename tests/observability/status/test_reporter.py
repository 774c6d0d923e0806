"""What a worker reports of an upstream whose name has several addresses, and leads elsewhere by and by."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from coregateway.net.worker_io import WorkerIO
from coregateway.observability.status import places
from coregateway.observability.status.reporter import Reporter
from coregateway.settings import BackendSettings, LimitSettings
from coregateway.shared_memory import Board
from coregateway.upstream.address import Address
from coregateway.upstream.backend import Backend
from coregateway.upstream.opening import open_backend

URL = "http://name.test:80"


class Reported:
    def __init__(self, io: WorkerIO) -> None:
        part = Board(1).claim(1, 0)
        assert part is not None
        self.backend: Backend = open_backend(
            io, "b", BackendSettings(prefix="/b", urls=(URL, "http://192.0.2.9:80")), LimitSettings()
        )
        self._series = part.series
        self._reporter = Reporter(
            part.series, [self.backend], lambda: 0, on_late=lambda _late, _computed: None
        )

    def leads_to(self, *hosts: str) -> None:
        """Have the name lead to these addresses."""
        addresses = [Address(URL, ip=host) for host in hosts]
        self.backend.replace_endpoints([*addresses, Address("http://192.0.2.9:80")])

    def number(self, place: int, upstream: int = 0) -> float:
        """What is reported now."""
        self._reporter.report()
        at = self._series.find(places.upstream("b", (URL, "http://192.0.2.9:80")[upstream]))
        assert at is not None
        return self._series.numbers[at + place]


@pytest.fixture(name="reported")
async def fixture_reported() -> AsyncIterator[Reported]:
    io = WorkerIO(asyncio.get_running_loop())
    reported = Reported(io)
    yield reported
    await reported.backend.close()
    io.close()


async def test_the_addresses_of_a_name_are_summed(reported: Reported) -> None:
    reported.leads_to("192.0.2.1", "192.0.2.2")
    one, two, other = reported.backend.pool.endpoints
    one.health.connects, two.health.connects, other.health.connects = 3, 4, 50
    assert reported.number(places.CONNECTS) == 7
    assert reported.number(places.CONNECTS, upstream=1) == 50


async def test_what_was_counted_at_an_address_that_is_gone_stays_counted(reported: Reported) -> None:
    reported.leads_to("192.0.2.1")
    reported.backend.pool.endpoints[0].health.connects = 5
    reported.backend.pool.endpoints[0].health.refusals = 2
    assert reported.number(places.CONNECTS) == 5
    reported.leads_to("192.0.2.2")
    assert (reported.number(places.CONNECTS), reported.number(places.REFUSALS)) == (5, 2)
    reported.backend.pool.endpoints[0].health.connects = 1
    assert reported.number(places.CONNECTS) == 6


async def test_the_last_failure_of_any_address_is_told(reported: Reported) -> None:
    reported.leads_to("192.0.2.1", "192.0.2.2")
    reported.backend.pool.endpoints[1].health.fail("connect_failed", 10.0)
    assert reported.number(places.CAUSE) == places.CAUSES.index("connect_failed")
    failed = reported.number(places.FAILED)
    assert failed > 0
    reported.leads_to("192.0.2.1")
    assert reported.number(places.FAILED) == failed


async def test_a_name_that_leads_nowhere_is_reported_as_nothing_under_way(reported: Reported) -> None:
    reported.leads_to()
    assert reported.number(places.ACTIVE_HERE) == 0
