"""What is noted of an endpoint: answers, failures, and connections that the backend ended."""

import asyncio
from socket import gaierror

import pytest

from coregateway.model.errors import GatewayError
from coregateway.testing import ScriptedBackend, close, hang, respond, send
from coregateway.upstream.endpoint_health import EndpointHealth
from coregateway.upstream.pool import Pool
from tests.upstream.pools import fetch, pool_to


async def failed(pool: Pool) -> None:
    with pytest.raises(GatewayError):
        await fetch(pool)


def health_of(pool: Pool) -> EndpointHealth:
    return pool.endpoints[0].health


def test_failures_count_from_the_last_answer_on() -> None:
    health = EndpointHealth()
    health.fail("connect_failed", 10.0)
    health.fail("read_timeout", 12.0)
    assert (health.failures, health.failing_since, health.failed, health.cause) == (
        2,
        10.0,
        12.0,
        "read_timeout",
    )
    health.answered = 13.0
    health.fail("connect_failed", 14.0)
    assert (health.failures, health.failing_since, health.failed) == (1, 14.0, 14.0)


async def test_an_answer_is_noted(backend: ScriptedBackend) -> None:
    backend.once(respond(200, b"kept"))
    backend.once(respond(200, b"until the end", framing="close"))
    async with pool_to(backend.url) as pool:
        await fetch(pool)
        first = health_of(pool).answered
        await asyncio.sleep(0.002)  # the loop's clock has milliseconds
        await fetch(pool)
        assert 0.0 < first < health_of(pool).answered
        assert health_of(pool).failures == 0


async def test_a_refused_connection_is_noted(down: str) -> None:
    async with pool_to(down) as pool:
        for _ in range(2):
            await failed(pool)
        health = health_of(pool)
        assert (health.failures, health.cause) == (2, "connect_failed")
        assert (health.connects, health.refusals) == (2, 2)


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "refusals"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] Connect"), "refusals"),
        (TimeoutError(), "timeouts"),
        (TimeoutError(110, "Connection timed out"), "timeouts"),
        (gaierror(-2, "Name or service not known"), "unresolved"),
        (gaierror(-3, "Temporary failure in name resolution"), "unresolved"),
        (OSError(113, "No route to host"), "unreachable"),
        (OSError(24, "Too many open files"), "unreachable"),
        (PermissionError(1, "Operation not permitted"), "unreachable"),
    ],
)
def test_connections_that_cannot_be_had_count_by_what_came_in_their_place(error: OSError, what: str) -> None:
    health = EndpointHealth()
    health.miss(error)
    counted = {name: getattr(health, name) for name in ("refusals", "timeouts", "unresolved", "unreachable")}
    assert counted == {name: int(name == what) for name in counted}


async def test_a_name_that_nothing_is_known_of_is_noted() -> None:
    async with pool_to("http://nowhere.invalid:1") as pool:
        await failed(pool)
        health = health_of(pool)
        assert (health.cause, health.refusals, health.unresolved) == ("connect_failed", 0, 1)


@pytest.mark.parametrize(
    ("steps", "cause"),
    [
        ((close(),), "upstream_closed"),
        ((send(b"nonsense\r\n\r\n"),), "upstream_protocol"),
        ((hang(),), "read_timeout"),
    ],
    ids=["closed", "no HTTP", "silent"],
)
@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
async def test_a_request_without_a_sound_answer_is_noted(
    steps: tuple[object, ...], cause: str, backend: ScriptedBackend, *, kept: bool
) -> None:
    async with pool_to(backend.url, timeouts={"read": 0.1} if cause == "read_timeout" else None) as pool:
        if kept:
            await fetch(pool)
        backend.default(*steps)  # pyright: ignore[reportArgumentType] -- steps they are
        if kept and cause == "upstream_closed":
            await failed(pool)  # the connection may have been at its end
            assert health_of(pool).failures == 0
        await failed(pool)
        assert (health_of(pool).failures, health_of(pool).cause) == (1, cause)
