"""Who subscribes to the gateway's events is told of every exchange, once."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from coregateway import __version__
from coregateway.testing import GatewayProcess, RawClient, ScriptedBackend, hang, respond, send
from tests.stage import PREFIX, request
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


class ObservedGateway(GatewayProcess):
    """A gateway with the subscribers of `observed_app`, started by Sanic's own command."""

    def __init__(self, backend: ScriptedBackend, *, by_sanic: bool = False) -> None:
        super().__init__(
            backends={"coredinator": backend.url},
            toml="[timeouts]\nclient = 0.5\nread = 0.5\n",
            env={"OBSERVED_BY_SANIC": "1"} if by_sanic else {},
        )
        self._command = [sys.executable, "-m", "sanic", "tests.sanic_app.observed_app:app"]
        self._command += ["--host", "127.0.0.1", "--port", str(self.port)]

    async def told(self, request_id: str, signal: str, times: int = 1) -> list[dict[str, Any]]:
        """What the subscribers of a signal were told of an exchange, when it has been so often."""
        await eventually(lambda: len(self.told_so_far(request_id, signal)) >= times)
        await asyncio.sleep(0.05)  # for one that is too many
        return self.told_so_far(request_id, signal)

    def told_so_far(self, request_id: str, signal: str) -> list[dict[str, Any]]:
        return self.log_lines(event="test.told", signal=signal, id=request_id)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend() as backend:
        backend.on("/hang", hang())
        backend.on("/garbage", send(b"garbage\r\n\r\n"))
        backend.on("/cut", send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), hang())
        backend.on("/large", respond(200, b"x" * 300_000))
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(backend: ScriptedBackend) -> AsyncIterator[ObservedGateway]:
    async with ObservedGateway(backend) as gateway:
        yield gateway


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def observed(backend: ScriptedBackend) -> AsyncIterator[ObservedGateway]:
    """Sanic's own means are in use as well."""
    async with ObservedGateway(backend, by_sanic=True) as gateway:
        yield gateway


ENDINGS = [
    pytest.param(PREFIX + "/a", "GET", 200, None, id="forwarded"),
    pytest.param(PREFIX + "/large", "GET", 200, None, id="large"),
    pytest.param(PREFIX + "/a", "TRACE", 405, "method_not_allowed", id="method"),
    pytest.param(PREFIX + "/garbage", "GET", 502, "upstream_protocol", id="not HTTP"),
    pytest.param(PREFIX + "/hang", "GET", 504, "read_timeout", id="timeout"),
    pytest.param(PREFIX + "/cut", "GET", 200, "read_timeout", id="cut"),
    pytest.param("/livez", "GET", 200, None, id="own"),
    pytest.param("/livez", "HEAD", 200, None, id="own, HEAD"),
    pytest.param("/nowhere", "GET", 404, "no_route", id="no route"),
]


@pytest.mark.parametrize(("path", "method", "status", "error"), ENDINGS)
async def test_start_and_end_of_an_exchange_are_told_once(
    gateway: ObservedGateway, path: str, method: str, status: int, error: str | None
) -> None:
    own = f"once-{method}-{path.replace('/', '.')}"
    async with RawClient(gateway.address) as client:
        await client.send(request(path, f"X-Request-ID: {own}", "Connection: close", method=method))
        await client.read_until_closed()
    (started,) = await gateway.told(own, "started")
    (finished,) = await gateway.told(own, "finished")
    assert started["outcome"] is None
    (ended,) = await gateway.told(own, "turn ended")
    assert (finished["outcome"], finished["error"]) == (status, error)
    assert ended["outcome"] == status
    assert len(gateway.log_lines(event="request", request_id=own)) == 1


async def test_an_exchange_is_recorded_before_its_response_leaves(gateway: ObservedGateway) -> None:
    async with RawClient(gateway.address) as client:
        await client.send(request(PREFIX + "/a", "X-Request-ID: any"))
        await client.read_response()  # now a connection to the backend rests
        sent = time.monotonic()
        await client.send(request(PREFIX + "/a", "X-Request-ID: takes-0.3"))
        await client.read_response()
        assert time.monotonic() - sent >= 0.3


async def test_the_end_of_an_exchange_whose_client_left_is_told_once(
    gateway: ObservedGateway, backend: ScriptedBackend
) -> None:
    before = len(backend.requests)
    async with RawClient(gateway.address) as client:
        await client.send(request(PREFIX + "/hang", "X-Request-ID: left-1"))
        await backend.wait_for_request(before + 1)
    (finished,) = await gateway.told("left-1", "finished")
    assert len(await gateway.told("left-1", "turn ended")) == 1
    assert (finished["outcome"], finished["error"]) == (499, "client_closed")


async def test_the_end_of_what_was_no_sound_request_is_told_without_a_start(gateway: ObservedGateway) -> None:
    async with RawClient(gateway.address) as client:
        await client.send(b"garbage\r\n\r\n")
        own = ((await client.read_response()).header("x-request-id") or b"").decode()
    (finished,) = await gateway.told(own, "finished")
    assert (finished["outcome"], finished["error"]) == (400, "bad_request")
    assert await gateway.told(own, "started", times=0) == []


async def test_a_subscriber_that_waits_holds_no_request_up(gateway: ObservedGateway) -> None:
    async with RawClient(gateway.address) as client:
        for number in range(10):
            await client.send(request("/livez", f"X-Request-ID: slow-{number}"))
            await client.read_response()
    assert gateway.told_so_far("slow-9", "finished slowly") == []  # it takes its time for all of them
    for number in range(10):
        assert len(await gateway.told(f"slow-{number}", "finished slowly")) == 1


async def test_a_subscriber_that_fails_is_logged_and_disturbs_nobody(gateway: ObservedGateway) -> None:
    async with RawClient(gateway.address) as client:
        for _ in range(2):
            await client.send(request("/livez", "X-Request-ID: fail-1"))
            assert (await client.read_response()).status == 200
    assert len(await gateway.told("fail-1", "finished", times=2)) == 2
    failures = gateway.log_lines(event="signal.failed")
    assert failures
    assert gateway.stderr == ""


@pytest.mark.parametrize("path", ["/livez", "/nowhere", "/docs"])
async def test_a_subscriber_may_add_to_an_own_answer(gateway: ObservedGateway, path: str) -> None:
    async with RawClient(gateway.address) as client:
        await client.send(request(path, "X-Request-ID: signed"))
        assert (await client.read_response()).values("x-signed") == [b"signed"]


@pytest.mark.parametrize(("path", "method", "status", "error"), ENDINGS)
async def test_everything_is_the_same_for_who_looks_by_sanics_own_means(
    observed: ObservedGateway, path: str, method: str, status: int, error: str | None
) -> None:
    own = f"same-{method}-{path.replace('/', '.')}"
    async with RawClient(observed.address) as client:
        await client.send(request(path, f"X-Request-ID: {own}", "Connection: close", method=method))
        head = await client.read_head(to_head=method == "HEAD")
        await client.read_until_closed()
    assert head.status == status
    assert head.values("x-corerl-version") == [__version__.encode()]
    assert head.values("x-request-id") == [own.encode()]
    (finished,) = await observed.told(own, "finished")
    assert (finished["outcome"], finished["error"]) == (status, error)
    assert len(observed.log_lines(event="request", request_id=own)) == 1
    assert len(await observed.told(own, "http.lifecycle.handle")) == 1
    assert observed.stderr == ""


async def test_many_requests_on_a_connection_are_the_same_for_who_looks_by_sanics_own_means(
    observed: ObservedGateway,
) -> None:
    async with RawClient(observed.address) as client:
        for number in range(20):
            body = b"x" * (number * 10_000)
            own = f"X-Request-ID: many-{number}"
            await client.send(request(PREFIX + "/a", own, method="POST", body=body))
            assert (await client.read_response()).body == b"ok"
    for number in range(20):
        assert len(await observed.told(f"many-{number}", "on_request")) == 1


@pytest.mark.parametrize(
    ("path", "method", "size"),
    [("/pieces/10", "GET", 10), ("/pieces/", "GET", 10), ("/pieces/10", "HEAD", 0), ("/pieces/", "HEAD", 0)],
)
async def test_the_bytes_of_an_own_answer_in_pieces_are_counted(
    gateway: ObservedGateway, path: str, method: str, size: int
) -> None:
    request_id = f"pieces-{method}-{len(path)}"
    async with RawClient(gateway.address) as client:
        await client.send(request(path, f"X-Request-ID: {request_id}", method=method))
        answer = await client.read_response(to_head=method == "HEAD")
    assert len(answer.body) == size
    line = await gateway.wait_for_line(event="request", request_id=request_id)
    assert (line["status"], line["bytes_out"]) == (200, size)
