"""What a gateway owes to those who are connected when it is told to stop."""

import asyncio
import json
import signal

import pytest

from coregateway.testing import GatewayProcess, RawClient, ScriptedBackend, hang, respond, send, wait

GRACE = {"COREGATEWAY_SHUTDOWN__DELAY": "0.2", "COREGATEWAY_SHUTDOWN__GRACE": "1.0"}
LONG = GRACE | {"COREGATEWAY_SHUTDOWN__GRACE": "100"}
"""Nothing waits for it to pass."""
GET = b"GET /api/v1/coredinator%b HTTP/1.1\r\nHost: a\r\n\r\n"

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"


async def test_what_is_in_flight_completes_and_the_connection_ends_after_it(backend: ScriptedBackend) -> None:
    gate = asyncio.Event()
    backend.on("/slow", wait(gate), respond(200, b"late"))
    async with (
        GatewayProcess(backends={"coredinator": backend.url}, env=LONG) as gateway,
        RawClient(gateway.address) as client,
        RawClient(gateway.address) as idle,
    ):
        await idle.send(GET % b"/quick")
        await idle.read_response()
        await client.send(GET % b"/slow")
        await backend.wait_for_request(2)
        gateway.signal(signal.SIGTERM)
        await gateway.wait_for_line(event="worker.draining")
        gate.set()
        response = await client.read_response()
        assert (response.status, response.body) == (200, b"late")
        assert (b"connection", b"close") in [(n.lower(), v.lower()) for n, v in response.headers]
        await client.expect_closed()
        await idle.expect_closed()
        assert await gateway.wait() == 0
        assert gateway.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_who_outwaits_the_grace_is_told_and_a_stream_is_cut(
    backend: ScriptedBackend, number: signal.Signals
) -> None:
    backend.on("/never", hang())
    backend.on("/stream", send(STREAM), hang())
    async with (
        GatewayProcess(backends={"coredinator": backend.url}, env=GRACE) as gateway,
        RawClient(gateway.address) as waiting,
        RawClient(gateway.address) as streaming,
    ):
        await waiting.send(GET % b"/never")
        await streaming.send(GET % b"/stream")
        await streaming.read_head()
        await backend.wait_for_request(2)
        gateway.signal(number)
        response = await waiting.read_response()
        assert response.status == 503
        problem = json.loads(response.body)
        assert problem["detail"] == "Service unavailable: this gateway is shutting down"
        names = {name.lower(): value for name, value in response.headers}
        assert (names[b"x-coregateway-error"], names[b"retry-after"]) == (b"draining", b"1")
        assert not (await streaming.read_until_closed()).endswith(b"0\r\n\r\n")
        assert await gateway.wait() == 0
        lines = [line for line in gateway.log_lines(event="request") if "coredinator" in line["path"]]
        assert sorted((line["path"][-6:], line["status"], line["error"]) for line in lines) == [
            ("/never", 503, "draining"),
            ("stream", 200, "draining"),
        ]


async def test_readiness_fails_before_the_port_closes(backend: ScriptedBackend) -> None:
    times = {"COREGATEWAY_SHUTDOWN__DELAY": "2.0"}
    async with GatewayProcess(backends={"coredinator": backend.url}, env=times) as gateway:
        gateway.signal(signal.SIGTERM)
        await gateway.wait_for_line(event="worker.draining")
        async with RawClient(gateway.address) as client:
            await client.send(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.read_response()).status == 503
        async with RawClient(gateway.address) as client:
            await client.send(GET % b"/still-served")
            assert (await client.read_response()).status == 200
        assert await gateway.wait() == 0


async def test_whoever_has_just_come_when_the_port_closes_is_served(backend: ScriptedBackend) -> None:
    times = {"COREGATEWAY_SHUTDOWN__DELAY": "0"}
    async with (
        GatewayProcess(backends={"coredinator": backend.url}, env=times) as gateway,
        RawClient(gateway.address) as newcomer,
        RawClient(gateway.address) as silent,
    ):
        gateway.signal(signal.SIGTERM)
        await gateway.wait_for_line(event="worker.draining")
        await asyncio.sleep(0.2)  # connections that are idle are closed by now
        await newcomer.send(GET % b"/first")
        response = await newcomer.read_response()
        assert response.status == 200
        assert (b"connection", b"close") in [(n.lower(), v.lower()) for n, v in response.headers]
        await newcomer.expect_closed()
        await silent.expect_closed()
        assert await gateway.wait() == 0
