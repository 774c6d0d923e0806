"""Routes with several backends, on a gateway that runs."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from coregateway.testing import GatewayProcess, RawClient, ScriptedBackend, free_port, respond
from tests.waiting import eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
[admin]
address = "127.0.0.1:{admin}"
[access_log]
slow = 1.0
[backends.stable]
prefix = "/stable"
urls = ["{stable}"]
request.set = {{ X-Of-Backend = "stable" }}
deny = ["127.0.0.0/8"]
[backends.next]
prefix = "/next"
urls = ["{next}"]
[backends.shut]
prefix = "/shut"
urls = ["{stable}"]
maintenance = true
[backends.shut-next]
prefix = "/shut-next"
urls = ["{stable}"]
maintenance = true
[routes.counted]
path = "/counted/*"
backend = {{ shut = 95, shut-next = 5 }}
[routes.weighed]
path = "/weighed/*"
backend = {{ stable = 95, next = 5 }}
request.set = {{ X-Route = "${{route}}" }}
[routes.sticky]
path = "/sticky/*"
backend = {{ stable = 50, next = 50 }}
sticky = "cookie:user"
[routes.forced]
path = "/forced/*"
backend = {{ stable = 1, next = 0 }}
force = {{ header = "X-Canary", cookie = "canary" }}
"""


class Stage:
    def __init__(self, gateway: GatewayProcess, admin: int, backends: dict[str, ScriptedBackend]) -> None:
        self.gateway = gateway
        self.admin = admin
        self.backends = backends

    async def chosen(self, path: str, *fields: str, times: int = 1, connections: int = 1) -> Counter[str]:
        """Which backends have answered so many requests, sent in a row on each of so many connections."""
        head = "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *fields, "", ""]).encode()
        counted = Counter[str]()
        async with AsyncExitStack() as opened:
            clients = [
                await opened.enter_async_context(RawClient(self.gateway.address)) for _ in range(connections)
            ]
            for client in clients:
                await client.send(head * (times // connections))
            for client in clients:
                for _ in range(times // connections):
                    counted[(await client.read_response()).body.decode()] += 1
        return counted


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as running:
        backends: dict[str, ScriptedBackend] = {}
        for name in ("stable", "next"):
            backends[name] = await running.enter_async_context(ScriptedBackend(respond(200, name.encode())))
        admin = free_port()
        toml = TOML.format(admin=admin, **{name: each.url for name, each in backends.items()})
        gateway = await running.enter_async_context(GatewayProcess(toml=toml, workers=4))
        yield Stage(gateway, admin, backends)


async def test_weights_hold_over_all_workers(stage: Stage) -> None:
    counted = await stage.chosen("/weighed/x", times=1000, connections=20)
    assert counted.total() == 1000
    # Each worker keeps the shares of its own requests.
    assert abs(counted["next"] - 50) <= 7


async def test_weights_hold_to_within_seven_in_a_thousand_over_ten_thousand_requests(stage: Stage) -> None:
    """Each worker spreads its own evenly, so this holds for any run, not for most (policy.shares).

    The backends are under maintenance: who is chosen is known before anything is forwarded.
    """
    connections, each = 40, 250
    head = b"GET /counted/x HTTP/1.1\r\nHost: a\r\n\r\n"

    async def ask() -> None:
        async with RawClient(stage.gateway.address) as client:
            await client.send(head * each)
            answered = 0
            rest = b""
            while answered < each:
                rest += await client.receive()
                answered += rest.count(b"HTTP/1.1 503 ")
                rest = rest[-12:]

    stage.gateway.new_log_lines()
    await asyncio.gather(*(ask() for _ in range(connections)))
    counted, workers = Counter[str](), Counter[int]()
    while counted.total() < connections * each:
        for line in stage.gateway.new_log_lines():
            if line.get("path") == "/counted/x":
                counted[line["share"]] += 1
                workers[line["worker"]] += 1
        await asyncio.sleep(0.01)
    assert len(workers) > 1
    assert abs(counted["shut-next"] - 500) <= 70
    # What the points of one worker can be off at most, whichever they begin with.
    assert abs(counted["shut-next"] - 500) <= 4 * len(workers)


async def test_a_user_stays_with_one_backend_whatever_the_worker(stage: Stage) -> None:
    found = Counter[str]()
    for number in range(30):
        counted = await stage.chosen("/sticky/x", f"Cookie: a=b; user=u{number}", times=6, connections=3)
        assert len(counted) == 1
        found += counted
    assert set(found) == {"stable", "next"}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ([], "stable"),
        (["X-Canary: next"], "next"),
        (["Cookie: canary=next"], "next"),
        (["X-Canary: evil", "Cookie: canary=x"], "stable"),
    ],
)
async def test_a_request_may_name_its_backend(stage: Stage, fields: list[str], name: str) -> None:
    assert await stage.chosen("/forced/x", *fields) == {name: 1}


async def test_a_share_has_the_rules_of_its_route_and_of_no_backend(stage: Stage) -> None:
    before = len(stage.backends["stable"].requests)
    await stage.chosen("/forced/rules", "X-Canary: stable")
    request = await stage.backends["stable"].wait_for_request(before + 1)
    assert request.header("x-of-backend") is None
    before = len(stage.backends["next"].requests)
    await stage.chosen("/weighed/rules", times=40)
    assert (await stage.backends["next"].wait_for_request(before + 1)).header("x-route") == b"weighed"


async def test_the_choice_is_in_the_log_line(stage: Stage) -> None:
    await stage.chosen("/forced/told", "X-Canary: next")
    line = await stage.gateway.wait_for_line(event="request", path="/forced/told")
    assert (line["backend"], line["share"], line["status"]) == ("next", "next", 200)
    await stage.chosen("/next/told")
    assert "share" not in await stage.gateway.wait_for_line(event="request", path="/next/told")


async def test_choices_are_counted_with_how_they_were_made(stage: Stage) -> None:
    await stage.chosen("/forced/counted", "X-Canary: next")

    async def is_told() -> bool:
        async with RawClient(("127.0.0.1", stage.admin)) as client:
            await client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            text = (await client.read_response()).body.decode()
        labels = re.findall(r"^coregateway_shares_total\{(.*)\} [0-9.]+$", text, re.MULTILINE)
        return 'backend="next",route="forced",way="force"' in labels

    await eventually_async(is_told)
