"""How the gateway tells of itself and its backends."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from coregateway.health import PROBE_TIMEOUT
from coregateway.testing import Exchange, ScriptedBackend, Step, close, delay, hang, reset, respond, send
from tests.stage import PREFIX, Stage, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/api/healthcheck"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def telemetry() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend() as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(telemetry: ScriptedBackend) -> AsyncIterator[Stage]:
    async with ScriptedBackend() as unprobed:
        toml = f"""
            [timeouts]
            read = 10.0
            [backends.unprobed]
            prefix = "/unprobed"
            urls = ["{unprobed.url}"]
        """
        async with Stage(toml=toml, backends={"coretelemetry": telemetry.url}) as stage:
            yield stage


@pytest.fixture(autouse=True)
def all_well(stage: Stage, telemetry: ScriptedBackend) -> None:
    for backend in (stage.backend, telemetry):
        backend.on(PATH, respond(200))
        backend.on("/health", respond(200))


async def health(stage: Stage) -> tuple[int, Any]:
    answer = await stage.ask_gateway("/health")
    assert answer.header("content-type") == b"application/json"
    assert answer.header("cache-control") == b"no-store"
    return answer.status, json.loads(answer.body)


def verdict(coredinator: str = "healthy", coretelemetry: str = "healthy") -> tuple[int, dict[str, Any]]:
    services = {"coredinator": coredinator, "coretelemetry": coretelemetry, "unprobed": "healthy"}
    well = set(services.values()) == {"healthy"}
    return 200 if well else 503, {"status": "healthy" if well else "degraded", "services": services}


async def test_all_backends_well_is_healthy(stage: Stage, telemetry: ScriptedBackend) -> None:
    before = len(stage.seen(PATH)), len(telemetry.requests)
    assert await health(stage) == verdict()
    assert (len(stage.seen(PATH)), len(telemetry.requests)) == (before[0] + 1, before[1] + 1)
    probe = stage.seen(PATH)[-1]
    assert (probe.method, probe.target) == (b"GET", PATH.encode())
    assert telemetry.requests[-1].target == b"/health"


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([respond(500)], id="500"),
        pytest.param([respond(404)], id="404"),
        pytest.param([respond(302, headers=[("Location", "/elsewhere")])], id="redirect"),
        pytest.param([close()], id="FIN"),
        pytest.param([reset()], id="RST"),
        pytest.param([send(b"garbage\r\n\r\n")], id="garbage"),
        pytest.param([send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), close()], id="cut"),
    ],
)
async def test_one_that_is_not_well_makes_it_degraded_until_it_recovers(
    stage: Stage, steps: list[Step]
) -> None:
    stage.backend.on(PATH, *steps)
    assert await health(stage) == verdict("unhealthy")
    stage.backend.on(PATH, respond(204))
    assert await health(stage) == verdict()


async def test_a_silent_backend_costs_two_seconds_and_not_the_others(stage: Stage) -> None:
    stage.backend.on(PATH, hang())
    started = time.monotonic()
    assert await health(stage) == verdict("unhealthy")
    assert PROBE_TIMEOUT - 0.01 <= time.monotonic() - started < PROBE_TIMEOUT + 0.5
    await stage.upstream_ended(stage.seen(PATH)[-1])


async def test_backends_are_asked_at_the_same_time(stage: Stage, telemetry: ScriptedBackend) -> None:
    stage.backend.on(PATH, delay(0.3), respond(200))
    telemetry.on("/health", delay(0.3), respond(200))
    started = time.monotonic()
    assert await health(stage) == verdict()
    assert 0.29 <= time.monotonic() - started < 0.5


async def test_a_burst_of_callers_shares_a_round(stage: Stage) -> None:
    stage.backend.on(PATH, delay(0.3), respond(200))
    before = len(stage.seen(PATH))
    assert await asyncio.gather(*(health(stage) for _ in range(30))) == [verdict()] * 30
    assert len(stage.seen(PATH)) - before <= 2  # who comes when a round has just ended begins another


async def test_a_caller_who_leaves_does_not_end_the_round_of_the_others(stage: Stage) -> None:
    stage.backend.on(PATH, delay(0.3), respond(200))
    before = len(stage.seen(PATH))
    async with stage.client() as client:
        await client.send(request("/health"))
        await stage.wait_seen(PATH, before + 1)
    assert await health(stage) == verdict()
    assert len(stage.seen(PATH)) == before + 1


async def test_a_backend_that_comes_back_on_its_port_is_well_again_without_a_restart() -> None:
    async with ScriptedBackend() as backend:
        port = backend.port
        async with Stage(backends={"coretelemetry": backend.url}) as stage:
            assert (await health(stage))[0] == 200
            await backend.__aexit__(None, None, None)
            started = time.monotonic()
            status, found = await health(stage)
            assert (status, found["services"]["coretelemetry"]) == (503, "unhealthy")
            answer = await stage.ask_gateway("/api/v1/coretelemetry/x")
            assert (answer.status, answer.header("x-coregateway-error")) == (502, b"connect_failed")
            assert time.monotonic() - started < 1.0
            async with ScriptedBackend(port=port):
                assert (await health(stage))[0] == 200
                assert (await stage.ask_gateway("/api/v1/coretelemetry/x")).body == b"ok"


async def test_liveness_and_readiness_ask_no_backend(stage: Stage) -> None:
    stage.backend.on(PATH, respond(500))
    before = len(stage.backend.requests)
    for path in ("/livez", "/readyz"):
        answer = await stage.ask_gateway(path)
        assert (answer.status, answer.header("cache-control")) == (200, b"no-store")
    assert len(stage.backend.requests) == before


async def test_probes_share_the_connections_of_the_backend(stage: Stage) -> None:
    await stage.backend.close_idle()
    await asyncio.sleep(0.02)
    path = stage.path()
    await stage.ask(path)
    await health(stage)
    await stage.ask(path)
    assert {seen.connection for seen in stage.seen(path)} == {stage.seen(PATH)[-1].connection}


async def test_no_caller_gets_what_a_backend_said_to_a_probe(stage: Stage) -> None:
    async def set_cookie(exchange: Exchange) -> None:
        await exchange.play(respond(200, b"secret", [("Set-Cookie", "session=probe"), ("X-Secret", "1")]))

    stage.backend.on(PATH, set_cookie)
    answer = await stage.ask_gateway("/health")
    assert b"secret" not in answer.raw_head.lower() + answer.body
    assert answer.values("set-cookie") == []
    await health(stage)
    assert stage.seen(PATH)[-1].values("cookie") == []
    assert (await stage.ask_gateway(PREFIX + PATH)).header("x-secret") == b"1"
