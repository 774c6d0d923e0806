"""A gateway whose descriptors are used up serves on: idle clients give way to newcomers, over TLS, too."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from coregateway.testing import GatewayProcess, RawClient, ScriptedBackend, TlsRawClient, respond, wait
from tests import certificates

FILES = 256
MANY = 400
"""Clients, more than there are descriptors."""

GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET /api/v1/coredinator/slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def crowd(gateway: GatewayProcess, opened: AsyncExitStack, first: bytes) -> list[RawClient]:
    """As many clients, each with these first bytes, whose answer it waits for if they are a whole request."""
    clients: list[RawClient] = []
    for _ in range(MANY):
        client = await opened.enter_async_context(RawClient(gateway.address))
        if first:
            await client.send(first)
        if first.endswith(b"\r\n\r\n"):
            assert (await client.read_response()).status == 200
        clients.append(client)
    return clients


async def statuses(address: tuple[str, int], path: bytes, count: int = 1) -> Sequence[int]:
    """Of so many requests at once, on connections of their own."""

    async def ask() -> int:
        async with RawClient(address) as client:
            await client.send(GET % path)
            return (await client.read_response()).status

    return await asyncio.gather(*(ask() for _ in range(count)))


@pytest.mark.parametrize("first", [b"", GET % b"/livez", GET % b"/api/v1/coredinator/x"])
async def test_idle_clients_give_way_to_newcomers_upstreams_and_operators(
    backend: ScriptedBackend, first: bytes
) -> None:
    admin = '[admin]\naddress = "127.0.0.1:0"\n'
    async with (
        GatewayProcess(backends={"coredinator": backend.url}, files=FILES, toml=admin) as gateway,
        RawClient(gateway.address) as user,
        AsyncExitStack() as opened,
    ):
        await user.send(GET % b"/api/v1/coredinator/user")
        assert (await user.read_response()).status == 200
        await crowd(gateway, opened, first)
        assert await statuses(gateway.address, b"/livez") == [200]
        assert await statuses(gateway.address, b"/api/v1/coredinator/y", 40) == [200] * 40
        host, _, port = gateway.log_lines(event="gateway.starting")[0]["admin"].rpartition(":")
        assert await statuses((host, int(port)), b"/status") == [200]
        await gateway.wait_for_line(event="clients.recycled", level="WARNING")
        assert gateway.log_lines(event="clients.waiting", level="ERROR") == []
        assert {line["status"] for line in gateway.log_lines(event="request")} == {200}
        assert await gateway.stop() == 0
        assert gateway.stderr == ""


HELLO = b"\x16\x03\x01\x02\x00\x01"
"""The first bytes of a TLS handshake."""


async def test_over_tls_those_give_way_too_that_never_shake_hands(backend: ScriptedBackend) -> None:
    trusting = certificates.trusting()
    toml = f'tls.cert = "{certificates.pair_file("localhost")}"\n'
    async with (
        GatewayProcess(
            backends={"coredinator": backend.url}, files=FILES, toml=toml, tls=trusting
        ) as gateway,
        AsyncExitStack() as opened,
    ):
        silent = await crowd(gateway, opened, HELLO)
        served: list[RawClient] = []
        for _ in range(FILES):
            client = await opened.enter_async_context(TlsRawClient(gateway.address, trusting))
            await client.send(GET % b"/api/v1/coredinator/x")
            assert (await client.read_response()).status == 200
            served.append(client)
        await gateway.wait_for_line(event="clients.recycled", level="WARNING")
        assert gateway.log_lines(event="clients.waiting", level="ERROR") == []
        # The first of both are closed by now: the silent without a word, the served with a close_notify.
        await silent[0].expect_closed()
        await served[0].expect_closed()
        assert not served[0].reset_by_peer
        assert await gateway.stop() == 0
        assert gateway.stderr == ""


async def test_busy_clients_are_not_cut_off_and_newcomers_wait_for_them(backend: ScriptedBackend) -> None:
    gate = asyncio.Event()
    backend.on("/slow", wait(gate), respond(200, b"late"))
    limits = "limits.max_connections = 60\n"
    async with (
        GatewayProcess(
            "--log-level", "INFO", backends={"coredinator": backend.url}, files=FILES, toml=limits
        ) as gateway,
        AsyncExitStack() as opened,
    ):
        clients: list[RawClient] = []
        for _ in range(MANY):
            client = await opened.enter_async_context(RawClient(gateway.address))
            await client.send(
                b"GET /api/v1/coredinator/slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            )
            clients.append(client)
        await gateway.wait_for_line(event="clients.waiting", level="WARNING", within=20)
        gate.set()
        answers = await asyncio.gather(*(client.read_response() for client in clients))
        assert {answer.status for answer in answers} == {200}
        assert await statuses(gateway.address, b"/livez") == [200]
        assert await gateway.stop() == 0
