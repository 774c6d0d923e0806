"""Limits of requests in flight, on a gateway that runs."""

from asyncio import sleep, timeout
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from coregateway.testing import (
    PATIENCE,
    GatewayProcess,
    RawClient,
    Response,
    ScriptedBackend,
    hang,
    respond,
    send,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
[concurrency.few]
key = "header:X-Key"
max = 2
[concurrency.watched]
key = "header:X-Key"
max = 1
enforce = false
[concurrency.keyed]
key = "header:X-Key"
max = 9
missing = "deny"
[backends.coredinator]
concurrency = ["few"]
[routes.watched]
path = "/watched"
backend = "coredinator"
rewrite = "/held"
concurrency = ["watched"]
[routes.keyed]
path = "/keyed"
respond.status = 200
concurrency = ["keyed"]
"""

FRONT = "/api/v1/coredinator"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
UPGRADE = (
    *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Stage:
    def __init__(self, gateway: GatewayProcess, backend: ScriptedBackend) -> None:
        self.gateway = gateway
        self.backend = backend

    async def begin(self, client: RawClient, path: str, key: str, *fields: str) -> None:
        lines = [f"GET {path} HTTP/1.1", "Host: gw.test", *fields, f"X-Key: {key}"]
        await client.send("\r\n".join([*lines, "", ""]).encode())

    async def ask(self, path: str, key: str) -> Response:
        async with RawClient(self.gateway.address) as client:
            await self.begin(client, path, key)
            return await client.read_response()

    async def until_admitted(self, key: str) -> None:
        """Ask until a request is admitted."""
        async with timeout(PATIENCE):
            while (await self.ask(f"{FRONT}/now", key)).status != 200:  # noqa: ASYNC110 -- nothing tells it
                await sleep(0.02)


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as running:
        backend = await running.enter_async_context(ScriptedBackend(respond(200, b"ok")))
        backend.on("/held", hang())
        backend.on("/events", send(EVENTS), hang())
        backend.on("/tunnel", send(SWITCHED), hang())
        gateway = GatewayProcess(backends={"coredinator": backend.url}, toml=TOML)
        yield Stage(await running.enter_async_context(gateway), backend)


@pytest.mark.parametrize(
    ("path", "fields"),
    [("/held", ()), ("/events", ()), ("/tunnel", UPGRADE)],
    ids=["requests", "event streams", "websockets"],
)
async def test_what_is_in_flight_counts_until_its_client_leaves(
    stage: Stage, path: str, fields: tuple[str, ...]
) -> None:
    before = len(stage.backend.requests)
    async with AsyncExitStack() as clients:
        held = [await clients.enter_async_context(RawClient(stage.gateway.address)) for _ in range(2)]
        for client in held:
            await stage.begin(client, f"{FRONT}{path}", path, *fields)
        await stage.backend.wait_for_request(before + 2)
        refused = await stage.ask(f"{FRONT}/now", path)
        assert (refused.status, refused.header("Retry-After")) == (429, b"1")
        assert refused.header("X-CoreGateway-Error") == b"too_many_in_flight"
        await stage.gateway.wait_for_line(event="request", error="too_many_in_flight", limited_by="few")
        assert (await stage.ask(f"{FRONT}/now", "another")).status == 200
        held[0].close()
        await stage.until_admitted(path)


async def test_a_request_that_has_ended_counts_no_more(stage: Stage) -> None:
    for _ in range(5):
        assert (await stage.ask(f"{FRONT}/now", "ended")).status == 200


async def test_a_limit_that_is_not_enforced_only_tells(stage: Stage) -> None:
    before = len(stage.backend.requests)
    async with RawClient(stage.gateway.address) as client:
        await stage.begin(client, "/watched", "watched")
        await stage.backend.wait_for_request(before + 1)
        async with RawClient(stage.gateway.address) as second:
            await stage.begin(second, "/watched", "watched")
            await stage.backend.wait_for_request(before + 2)
    line = await stage.gateway.wait_for_line(event="request", limited_by="watched")
    assert line["error"] != "too_many_in_flight"


async def test_a_request_without_the_key_is_refused_where_the_limit_says_so(stage: Stage) -> None:
    assert (await stage.ask("/keyed", "k")).status == 200
    assert (await stage.ask("/keyed", "")).status == 429
