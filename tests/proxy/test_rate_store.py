"""Rates of several nodes by a real Redis: one limit, decided by the store; its loss costs no request."""

import asyncio
from asyncio import gather, get_running_loop
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from time import monotonic

import pytest
import pytest_asyncio

from coregateway.policy.gcra import Rate
from coregateway.policy.store_script import StoreAnswer, store_arguments, store_key
from coregateway.proxy.rate_store import RateStore
from coregateway.testing import GatewayProcess, RawClient, Response, free_port
from tests.proxy.test_rates import Tally
from tests.redis_server import RedisServer, needs_redis
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), needs_redis]

PATIENT = 5.0
"""Seconds that a store may take in these tests, on a machine that does much else."""


def toml(url: str, on_error: str = "local", within: float = 0.5) -> str:
    return f"""
metrics.on_main_port = true
[store]
url = "{url}"
timeout = {within}
on_error = "{on_error}"
[rates.hot]
key = ""
rate = "200/s"
burst = 40
[rates.few]
key = ""
rate = "1/h"
burst = 3
[rates.caller]
key = "consumer"
rate = "1/h"
[rates.wide]
key = ""
rate = "100000/s"
[routes.wide]
path = "/wide/*"
respond.status = 200
rates = ["wide"]
[routes.hot]
path = "/hot"
respond.status = 200
rates = ["hot"]
[routes.few]
path = "/few"
respond.status = 200
rates = ["few"]
[routes.both]
path = "/both"
respond.status = 200
rates = ["few", "caller"]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="redis")
async def fixture_redis() -> AsyncIterator[RedisServer]:
    async with RedisServer() as redis:
        yield redis


async def store_of(redis: RedisServer, within: float = PATIENT) -> RateStore:
    store = RateStore(get_running_loop(), redis.url, within, "local")
    await eventually(lambda: store.answers)
    return store


async def ask(
    store: RateStore, *rates: tuple[str, Rate], cost: int = 1, enforced: Sequence[bool] = (True, True)
) -> StoreAnswer:
    keys = [store_key(name.encode()) for name, _ in rates]
    arguments = [
        argument
        for (_, rate), each in zip(rates, enforced, strict=False)
        for argument in store_arguments(rate, cost, enforced=each)
    ]
    answer = await store.ask(keys, arguments)
    assert answer is not None
    return answer


async def test_the_script_admits_a_burst_and_then_refuses(redis: RedisServer) -> None:
    store = await store_of(redis)
    rate = "burst", Rate(1, 3600, 3)
    answers = [await ask(store, rate) for _ in range(5)]
    assert [answer.refused for answer in answers] == [False] * 3 + [True] * 2
    interval = rate[1].interval
    for answer, times in zip(answers, (1, 2, 3, 3, 3), strict=True):
        assert times * interval - 60_000_000_000 < answer.ahead[0] <= times * interval
    await store.close()


async def test_the_script_takes_from_all_or_from_none(redis: RedisServer) -> None:
    store = await store_of(redis)
    few, many = ("few", Rate(1, 3600, 1)), ("many", Rate(1, 3600, 9))
    assert not (await ask(store, few, many)).refused
    for _ in range(3):
        answer = await ask(store, few, many)
        assert (answer.refused, answer.over) == (True, [True, False])
    assert (await ask(store, many)).ahead[0] <= 2 * many[1].interval
    only_told = await ask(store, few, many, enforced=(False, True))
    assert (only_told.refused, only_told.over) == (False, [True, False])
    await store.close()


async def test_what_was_taken_can_be_given_back(redis: RedisServer) -> None:
    store = await store_of(redis)
    rate = "back", Rate(1, 3600, 2)
    assert [(await ask(store, rate)).refused for _ in range(3)] == [False, False, True]
    await ask(store, rate, cost=-1)
    assert [(await ask(store, rate)).refused for _ in range(2)] == [False, True]
    await ask(store, rate, cost=-2)
    assert [(await ask(store, rate)).refused for _ in range(3)] == [False, False, True]
    await store.close()


async def test_questions_of_one_turn_go_together_and_a_script_that_is_forgotten_is_sent_again(
    redis: RedisServer,
) -> None:
    store = await store_of(redis)
    rate = "together", Rate(1, 3600, 50)
    answers = await gather(*(ask(store, rate) for _ in range(100)))
    assert sum(answer.refused for answer in answers) == 50
    assert store.times.calls < 20
    await store._client.script_flush()  # pyright: ignore[reportPrivateUsage] -- as another user of the server may
    assert (await ask(store, rate)).refused
    assert store.answers
    await store.close()


class Node:
    """One gateway of several."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.gateway = gateway

    async def ask(self, path: str) -> Response:
        async with RawClient(self.gateway.address) as client:
            await client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            return await client.read_response()

    async def store_is(self, up: int) -> None:
        """Wait until the metric says so."""
        async with asyncio.timeout(30):
            while f"coregateway_rate_store_up {up}.0" not in (await self.ask("/metrics")).body.decode():  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def _hammer(node: Node, tally: Tally, requests: int) -> None:
    async with RawClient(node.gateway.address) as raw:
        for _ in range(requests):
            sent = monotonic()
            await raw.send(b"GET /hot HTTP/1.1\r\nHost: a\r\n\r\n")
            tally.note((await raw.read_response()).status, sent, monotonic())


async def test_two_gateways_share_one_limit_and_live_on_without_the_store() -> None:
    async with AsyncExitStack() as running:
        redis = await running.enter_async_context(RedisServer())
        gateways = [GatewayProcess(toml=toml(redis.url)) for _ in range(2)]
        nodes = [Node(await running.enter_async_context(each)) for each in gateways]
        for node in nodes:
            await node.store_is(1)
        tally = Tally()
        await gather(*(_hammer(node, tally, 60) for node in nodes for _ in range(8)))
        least, most = tally.bounds(200.0, 40)
        assert least * 0.98 <= tally.admitted <= most * 1.02
        assert [(await nodes[number % 2].ask("/few")).status for number in range(5)] == [200] * 3 + [429] * 2
        told = await nodes[0].ask("/few")
        assert told.header("RateLimit") == b'"few";r=0;t=3600'

        redis.stop()
        assert [(await nodes[0].ask("/hot")).status for _ in range(5)] == [200] * 5
        await nodes[0].store_is(0)
        redis.go_on()
        await nodes[0].store_is(1)
        redis.kill()
        assert [(await nodes[0].ask("/hot")).status for _ in range(5)] == [200] * 5
        assert (await nodes[0].ask("/few")).status == 429
        await nodes[0].gateway.wait_for_line(event="diagnosis.rate_store_lost", within=60)
        await redis.start()
        await nodes[0].store_is(1)
        assert (await nodes[0].ask("/few")).status == 429  # by what the node knows itself
        assert (await nodes[1].ask("/both")).status == 429


async def test_a_store_that_freezes_costs_those_that_wait_its_time_limit_and_no_others() -> None:
    clients, requests, within = 4, 100, 0.9

    async def ask(node: Node, number: int) -> None:
        async with RawClient(node.gateway.address) as raw:
            for count in range(requests):
                await raw.send(b"GET /wide/%d-%d HTTP/1.1\r\nHost: a\r\n\r\n" % (number, count))
                assert (await raw.read_response()).status == 200

    async with RedisServer() as redis, GatewayProcess(toml=toml(redis.url, within=within)) as gateway:
        node = Node(gateway)
        await node.store_is(1)
        redis.stop()
        await gather(*(ask(node, number) for number in range(clients)))
        for number in range(clients):
            await gateway.wait_for_line(event="request", path=f"/wide/{number}-{requests - 1}")
        lines = [each for each in gateway.log_lines(event="request") if each["path"].startswith("/wide/")]
        redis.go_on()
    took = sorted(line["duration_ms"] for line in lines)
    assert len(took) == clients * requests
    assert [line for line in lines if line["error"] is not None] == []
    assert took[-1] >= within * 999  # it was frozen
    # so many at most were under way when it was: p99, of which the limit of a real store is 0.02 s
    assert took[-clients - 1] < within * 1000


@pytest.mark.parametrize(
    ("on_error", "statuses"), [("allow", [200] * 6), ("deny", [503] * 6), ("local", [200] * 3 + [429] * 3)]
)
async def test_without_its_store_a_gateway_does_as_it_is_told(on_error: str, statuses: list[int]) -> None:
    url = f"redis://127.0.0.1:{free_port()}"  # where nothing listens
    async with GatewayProcess(toml=toml(url, on_error)) as gateway:
        node = Node(gateway)
        answers = [await node.ask("/few") for _ in range(6)]
    assert [answer.status for answer in answers] == statuses
    if on_error == "deny":
        assert answers[0].header("X-CoreGateway-Error") == b"rate_store_unavailable"
        assert answers[0].header("Retry-After") == b"1"
