"""Names of upstreams with a real resolver and a name server that is silent, wrong and moving."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import monotonic
from typing import NamedTuple

import pytest
import pytest_asyncio

from coregateway.testing import Connection, RawClient, Response, ScriptedBackend, respond, wait
from coregateway.upstream.following import LOOK
from tests.prober.name_server import NamedGateway, NameServer, can_have_names
from tests.waiting import eventually

pytestmark = [
    pytest.mark.skipif(not can_have_names(), reason="needs root and mount namespaces"),
    pytest.mark.asyncio(loop_scope="module"),
]

REFRESH, HOLD, CONNECT = 0.2, 1.0, 3.0

TOML = f"""
[dns]
refresh = {REFRESH}
hold = {HOLD}
[timeouts]
connect = {CONNECT}
"""


class Stage(NamedTuple):
    server: NameServer
    a: ScriptedBackend
    """At 127.0.0.1."""
    b: ScriptedBackend
    """At 127.0.0.2, and the same port."""
    gateway: NamedGateway

    async def ask(self, backend: str, path: str = "/a") -> Response:
        async with RawClient(self.gateway.address, within=20.0) as client:
            await client.send(f"GET /{backend}{path} HTTP/1.1\r\nHost: gw\r\n\r\n".encode())
            return await client.read_response()

    async def answers(self, backend: str, status: int) -> None:
        """Wait until this backend's requests are answered so."""
        async with asyncio.timeout(30):
            while (await self.ask(backend)).status != status:  # noqa: ASYNC110 - it asks, too
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as running:
        server = await running.enter_async_context(NameServer())
        a = await running.enter_async_context(ScriptedBackend(respond(200, b"a")))
        b = await running.enter_async_context(
            ScriptedBackend(respond(200, b"b"), host="127.0.0.2", port=a.port)
        )
        names = ("moving", "several", "holding", "silent", "unknown", "rubbish", "steady")
        server.names |= {f"{name}.test": ("127.0.0.1",) for name in ("moving", "holding", "steady")}
        server.names |= {"several.test": ("127.0.0.1", "127.0.0.2")}
        server.names |= {"silent.test": "silent", "rubbish.test": "rubbish"}
        toml = TOML + "".join(row(name, a.port) for name in names)
        yield Stage(server, a, b, await running.enter_async_context(NamedGateway(server, toml=toml)))


def row(name: str, port: int) -> str:
    return f'[backends.{name}]\nprefix = "/{name}"\nurls = ["http://{name}.test:{port}"]\n'


def error(response: Response) -> bytes | None:
    return response.header("x-coregateway-error")


async def test_a_name_that_is_late_lets_its_requests_wait() -> None:
    async with NameServer() as server, ScriptedBackend() as backend:
        server.names["late.test"] = "silent"
        toml = "[timeouts]\nconnect = 30.0\n" + row("late", backend.port)
        async with (
            NamedGateway(server, toml=toml, patience="timeout:30 attempts:1") as gateway,
            RawClient(gateway.address, within=30) as client,
        ):
            await client.send(b"GET /late/a HTTP/1.1\r\nHost: gw\r\n\r\n")
            await client.expect_silence(0.2)
            server.speak("late.test", ("127.0.0.1",))
            assert (await client.read_response()).body == b"ok"


async def test_every_address_of_a_name_is_an_upstream(stage: Stage) -> None:
    assert {(await stage.ask("several")).body for _ in range(40)} == {b"a", b"b"}


async def test_a_silent_name_lets_its_requests_fail_and_delays_no_other(stage: Stage) -> None:
    failing = asyncio.create_task(stage.ask("silent"))
    for _ in range(5):
        assert (await stage.ask("steady")).body == b"a"
    response = await failing
    assert (response.status, error(response)) in ((502, b"connect_failed"), (503, b"no_upstream"))


async def test_an_unknown_name_fails_at_once_and_is_no_upstream_after_hold(stage: Stage) -> None:
    response = await stage.ask("unknown")
    assert (response.status, error(response)) in ((502, b"connect_failed"), (503, b"no_upstream"))
    await stage.answers("unknown", 503)
    response = await stage.ask("unknown")
    assert error(response) == b"no_upstream"
    stage.server.names["unknown.test"] = ("127.0.0.1",)
    await stage.answers("unknown", 200)


async def test_rubbish_is_no_answer(stage: Stage) -> None:
    response = await stage.ask("rubbish")
    assert (response.status, error(response)) in ((502, b"connect_failed"), (503, b"no_upstream"))


async def test_a_name_that_moves_takes_new_requests_with_it_and_those_in_flight_finish(stage: Stage) -> None:
    gate = asyncio.Event()
    stage.a.on("/moving-held", wait(gate), respond(200, b"a, late"))
    held = asyncio.create_task(stage.ask("moving", "/moving-held"))
    await eventually(lambda: connections_for(stage.a, "/moving-held"))
    assert (await stage.ask("moving", "/moving-before")).body == b"a"
    [idle] = connections_for(stage.a, "/moving-before")
    [busy] = connections_for(stage.a, "/moving-held")
    assert idle is not busy
    stage.server.names["moving.test"] = ("127.0.0.2",)
    line = await stage.gateway.wait_for_line(event="name.resolved", name="moving.test", before=["127.0.0.1"])
    assert line["addresses"] == ["127.0.0.2"]
    async with asyncio.timeout(30):
        while (await stage.ask("moving", "/moving-now")).body != b"b":
            pass
    # From the refresh on, the prober's answer and a look of the worker may pass: that is less than 1 s.
    assert LOOK < 0.5
    for _ in range(20):
        assert (await stage.ask("moving", "/moving-after")).body == b"b"
    assert not connections_for(stage.a, "/moving-after")
    await eventually(lambda: idle.closed)
    assert not held.done()
    assert not busy.closed
    gate.set()
    assert (await held).body == b"a, late"
    await eventually(lambda: busy.closed)


def connections_for(backend: ScriptedBackend, path: str) -> list[Connection]:
    """On which the requests for a path came."""
    return [
        backend.connections[each.connection - 1] for each in backend.requests if each.path == path.encode()
    ]


@pytest.mark.parametrize("answer", ["unknown", "refused", ()])
async def test_a_failure_keeps_the_last_answer_for_hold_and_no_longer(
    stage: Stage, answer: tuple[str, ...] | str
) -> None:
    stage.server.names["holding.test"] = ("127.0.0.1",)
    await stage.answers("holding", 200)
    stage.server.names["holding.test"] = answer  # pyright: ignore[reportArgumentType] -- of the list above
    asked = stage.server.asked["holding.test"]
    await stage.server.until(lambda: stage.server.asked["holding.test"] > asked)
    began = monotonic()
    assert (await stage.ask("holding")).status == 200 or monotonic() - began > HOLD
    await stage.answers("holding", 503)
    assert error(await stage.ask("holding")) == b"no_upstream"
