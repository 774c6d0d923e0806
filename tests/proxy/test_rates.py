"""Rates on a gateway that runs: what is refused, what clients and operators are told, exact over workers."""

from asyncio import gather, sleep, timeout
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import monotonic

import pytest
import pytest_asyncio

from coregateway.testing import GatewayProcess, RawClient, Response, ScriptedBackend, respond
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
metrics.on_main_port = true
forwarding.trusted_proxies = ["127.0.0.0/8"]
tracing.server_timing = true
[limits]
rates = ["everywhere"]
[rates.everywhere]
key = ["client", "route"]
rate = "4/h"
burst = 4
[rates.slow]
rate = "60/h"
burst = 2
[rates.tenant]
key = "header:X-Tenant"
rate = "1/h"
burst = 3
missing = "deny"
[rates.skipping]
key = "header:X-Tenant"
rate = "1/d"
missing = "skip"
[rates.watched]
key = ""
rate = "1/d"
enforce = false
[rates.counted]
rate = "1/d"
[rates.counted-only]
rate = "1/d"
enforce = false
[rates.caller]
key = "consumer"
rate = "1/d"
[backends.coretelemetry]
rates = []
[routes.two]
path = "/two"
backend = "coredinator"
rates = ["slow", "tenant"]
[routes.dear]
path = "/dear"
backend = "coredinator"
rates = ["tenant"]
cost = 2
[routes.skip]
path = "/skip"
backend = "coredinator"
rates = ["skipping"]
[routes.watched]
path = "/watched"
backend = "coredinator"
rates = ["watched"]
[routes.counted]
path = "/counted"
respond.status = 200
rates = ["counted"]
[routes.counted-only]
path = "/counted-only"
respond.status = 200
rates = ["counted-only"]
[routes.phases]
path = "/phases"
backend = "coredinator"
rates = ["caller", "slow"]
[routes.own-fields]
path = "/own-fields"
backend = "coretelemetry"
rates = ["slow"]
[routes.fixed]
path = "/fixed"
respond.status = 200
rates = ["slow"]
"""


class Stage:
    def __init__(self, gateway: GatewayProcess, backend: ScriptedBackend) -> None:
        self.gateway = gateway
        self.backend = backend
        self.clients = 0

    def new_client(self) -> str:
        self.clients += 1
        return f"198.51.100.{self.clients}"

    async def ask(self, path: str, *fields: str, client: str, method: str = "GET") -> Response:
        lines = [f"{method} {path} HTTP/1.1", "Host: gw.test", f"X-Forwarded-For: {client}", *fields]
        async with RawClient(self.gateway.address) as raw:
            await raw.send("\r\n".join([*lines, "", ""]).encode())
            return await raw.read_response(to_head=method == "HEAD")

    async def metrics(self) -> str:
        return (await self.ask("/metrics", client="198.51.100.0")).body.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as running:
        backend = await running.enter_async_context(ScriptedBackend(respond(200, b"ok")))
        own = [("RateLimit", '"b";r=1'), ("RateLimit-Policy", '"b";q=1')]
        other = await running.enter_async_context(ScriptedBackend(respond(200, b"ok", own)))
        urls = {"coredinator": backend.url, "coretelemetry": other.url}
        gateway = GatewayProcess(backends=urls, toml=TOML)
        yield Stage(await running.enter_async_context(gateway), backend)


def told(response: Response) -> tuple[bytes | None, bytes | None]:
    return response.header("RateLimit-Policy"), response.header("RateLimit")


async def test_a_burst_passes_and_the_next_request_is_refused(stage: Stage) -> None:
    client = stage.new_client()
    answers = [await stage.ask("/fixed", client=client) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    policy = b'"slow";q=2;w=120'
    assert [told(answer) for answer in answers] == [
        (policy, b'"slow";r=1'),
        (policy, b'"slow";r=0;t=60'),
        (policy, b'"slow";r=0;t=60'),
    ]
    refused = answers[2]
    assert refused.header("Retry-After") == b"60"
    assert refused.header("X-CoreGateway-Error") == b"rate_limited"
    assert refused.header("Content-Type") == b"application/problem+json"
    line = await stage.gateway.wait_for_line(event="request", client=client, status=429)
    assert (line["limited_by"], line["error"], line["route"]) == ("slow", "rate_limited", "fixed")
    passed = await stage.gateway.wait_for_lines(2, event="request", client=client, status=200)
    assert ["limited_by" in line for line in passed] == [False, False]


async def test_a_rate_of_all_holds_where_none_is_named_and_each_key_of_a_list_apart(stage: Stage) -> None:
    client = stage.new_client()
    path = "/api/v1/coredinator/a"
    assert [(await stage.ask(path, client=client)).status for _ in range(5)] == [200] * 4 + [429]
    assert (await stage.ask(path, client=stage.new_client())).status == 200
    free = [await stage.ask("/api/v1/coretelemetry/a", client=client) for _ in range(6)]
    assert [answer.status for answer in free] == [200] * 6
    assert told(free[0]) == (b'"b";q=1', b'"b";r=1')


async def test_what_the_gateway_answers_itself_is_never_limited(stage: Stage) -> None:
    client = stage.new_client()
    assert [(await stage.ask("/livez", client=client)).status for _ in range(9)] == [200] * 9
    assert [(await stage.ask("/nowhere", client=client)).status for _ in range(9)] == [404] * 9


async def test_a_preflight_takes_nothing(stage: Stage) -> None:
    client = stage.new_client()
    asks = "Origin: https://a.example", "Access-Control-Request-Method: GET"
    for _ in range(4):
        assert (await stage.ask("/fixed", *asks, client=client, method="OPTIONS")).status == 204
    assert told(await stage.ask("/fixed", client=client))[1] == b'"slow";r=1'


async def test_a_rate_that_refuses_takes_nothing_from_the_others(stage: Stage) -> None:
    client = stage.new_client()
    tenant = f"X-Tenant: {client}"
    assert [(await stage.ask("/two", tenant, client=client)).status for _ in range(2)] == [200, 200]
    refused = [await stage.ask("/two", tenant, client=client) for _ in range(3)]
    assert [answer.status for answer in refused] == [429] * 3
    assert {told(answer) for answer in refused} == {
        (b'"slow";q=2;w=120, "tenant";q=3;w=10800', b'"slow";r=0;t=60, "tenant";r=1')
    }
    assert (await stage.ask("/two", tenant, client=stage.new_client())).status == 200


async def test_one_that_is_asked_later_gives_back_what_the_first_one_took(stage: Stage) -> None:
    """`caller` has no key but the client's address, and is asked after the credentials."""
    client = stage.new_client()
    answers = [await stage.ask("/phases", client=client) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 429, 429, 429]
    assert told(answers[0]) == (
        b'"slow";q=2;w=120, "caller";q=1;w=86400',
        b'"slow";r=1, "caller";r=0;t=86400',
    )
    assert (await stage.ask("/fixed", client=client)).status == 200


async def test_a_request_may_count_for_several(stage: Stage) -> None:
    tenant = "X-Tenant: dear"
    first = await stage.ask("/dear", tenant, client="198.51.100.250")
    assert told(first)[1] == b'"tenant";r=1'
    second = await stage.ask("/dear", tenant, client="198.51.100.251")
    assert (second.status, second.header("Retry-After")) == (429, b"3600")
    assert told(second)[1] == b'"tenant";r=1'


async def test_a_request_without_the_key_is_refused_or_passes_as_the_rate_says(stage: Stage) -> None:
    client = stage.new_client()
    assert (await stage.ask("/dear", client=client)).status == 429
    assert (await stage.ask("/dear", "X-Tenant: ", client=client)).status == 429
    for _ in range(3):
        skipped = await stage.ask("/skip", client=client)
        assert (skipped.status, told(skipped)) == (200, (None, None))
    assert [(await stage.ask("/skip", "X-Tenant: s", client=client)).status for _ in range(2)] == [200, 429]


async def test_a_rate_that_is_not_enforced_only_tells(stage: Stage) -> None:
    client = stage.new_client()
    answers = [await stage.ask("/watched", client=client) for _ in range(3)]
    assert [(answer.status, told(answer)) for answer in answers] == [(200, (None, None))] * 3
    lines = await stage.gateway.wait_for_lines(3, event="request", client=client)
    assert [line.get("limited_by") for line in lines] == [None, "watched", "watched"]


async def test_what_rates_decide_is_counted(stage: Stage) -> None:
    client = stage.new_client()
    for _ in range(4):
        await stage.ask("/counted", client=client)
        await stage.ask("/counted-only", client=client)
    wanted = {
        'coregateway_rate_decisions_total{outcome="allowed",policy="counted"} 1.0',
        'coregateway_rate_decisions_total{outcome="limited",policy="counted"} 3.0',
        'coregateway_rate_decisions_total{outcome="allowed",policy="counted-only"} 1.0',
        'coregateway_rate_decisions_total{outcome="would_limit",policy="counted-only"} 3.0',
        "coregateway_rate_table_evictions_total 0.0",
    }
    async with timeout(20):
        while not wanted <= {*(await stage.metrics()).splitlines()}:  # noqa: ASYNC110 -- the sampler writes, and tells nobody
            await sleep(0.02)


async def test_addresses_of_one_network_are_one_client(stage: Stage) -> None:
    one, other, far = "2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:3::1"
    assert [(await stage.ask("/fixed", client=each)).status for each in (one, other, one)] == [200, 200, 429]
    assert (await stage.ask("/fixed", client=far)).status == 200


async def test_a_backends_own_fields_pass_beside_the_gateways(stage: Stage) -> None:
    answer = await stage.ask("/own-fields", client=stage.new_client())
    assert answer.values("RateLimit") == [b'"b";r=1', b'"slow";r=1']


class Tally:
    """What clients saw of one key: enough to bound what should have been admitted (`time.monotonic`)."""

    def __init__(self) -> None:
        self.admitted = self.refused = 0
        self.first_sent = self.first_answered = 0.0
        self.last_admitted = self.last_refused_sent = 0.0

    def note(self, status: int, sent: float, answered: float) -> None:
        self.first_sent = min(self.first_sent or sent, sent)
        self.first_answered = min(self.first_answered or answered, answered)
        if status == 200:
            self.admitted += 1
            self.last_admitted = max(self.last_admitted, answered)
        else:
            assert status == 429
            self.refused += 1
            self.last_refused_sent = max(self.last_refused_sent, sent)

    def bounds(self, rate: float, burst: int) -> tuple[float, float]:
        """No more than the burst and what came back until the last was admitted; and at the moment of a
        refusal no less than all of it but one was taken."""
        least = burst + rate * (self.last_refused_sent - self.first_answered) - 1
        most = burst + rate * (self.last_admitted - self.first_sent) + 1
        return least, most


async def _hammer(address: tuple[str, int], tally: Tally, requests: int) -> None:
    async with RawClient(address) as raw:
        for _ in range(requests):
            sent = monotonic()
            await raw.send(b"GET /hot HTTP/1.1\r\nHost: a\r\n\r\n")
            tally.note((await raw.read_response()).status, sent, monotonic())


async def test_a_rate_is_exact_whatever_the_number_of_workers() -> None:
    # It fills in 20 s: while the machine stands still for less than that, nothing of it is lost.
    toml = """
[rates.hot]
key = "client"
rate = "20/s"
burst = 400
[routes.hot]
path = "/hot"
respond.status = 200
rates = ["hot"]
"""
    tally = Tally()
    async with GatewayProcess(toml=toml, workers=4) as gateway:
        await gather(*(_hammer(gateway.address, tally, 60) for _ in range(32)))
        await eventually(
            lambda: len({line["worker"] for line in gateway.log_lines(event="request", path="/hot")}) > 1
        )
    least, most = tally.bounds(20.0, 400)
    assert least * 0.99 <= tally.admitted <= most * 1.01
    assert tally.refused > 0
