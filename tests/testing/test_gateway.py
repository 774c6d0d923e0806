"""What the gateway process promises to those who test with it."""

import signal
from pathlib import Path

import pytest

from coregateway.testing import GatewayFailed, GatewayProcess, RawClient, ScriptedBackend, free_port
from tests.conftest import StartGateway

GET = b"GET /api/v1/coredinator/a HTTP/1.1\r\nHost: a\r\n\r\n"


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def test_it_forwards_to_the_backend_of_the_test_and_its_log_can_be_read(
    backend: ScriptedBackend, gateway: StartGateway
) -> None:
    running = await gateway()
    async with RawClient(running.address) as client:
        await client.send(GET)
        assert (await client.read_response()).body == b"ok"
    assert (await backend.wait_for_request()).target == b"/a"
    line = await running.wait_for_line(event="request", path="/api/v1/coredinator/a")
    assert line["status"] == 200
    assert running.log_lines(event="request", path="/nowhere") == []
    assert line in running.new_log_lines()
    assert line not in running.new_log_lines()
    with pytest.raises(TimeoutError, match="no line with"):
        await running.wait_for_line(within=0.05, event="nothing like it")


async def test_settings_come_from_toml_and_from_the_environment(gateway: StartGateway) -> None:
    running = await gateway(toml="[limits.request]\nmax_body = 4\n", env={"COREGATEWAY_LOG_LEVEL": "WARNING"})
    async with RawClient(running.address) as client:
        await client.send(b"POST /api/v1/coredinator/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        assert (await client.read_response()).status == 413


async def test_it_has_an_admin_address_where_the_settings_name_one_however_they_write_it(
    gateway: StartGateway,
) -> None:
    address = f"127.0.0.1:{free_port()}"
    running = await gateway(toml=f'admin.address = "{address}"\n')
    assert (await running.wait_for_line(event="gateway.starting"))["admin"] == address


async def test_it_stops_when_asked_to_and_nothing_is_left(backend: ScriptedBackend) -> None:
    async with GatewayProcess(backends={"coredinator": backend.url}, workers=2) as running:
        processes = running.processes()
        assert len(processes) >= 3  # the main one and two workers
        memory = running.resident_memory()
        assert all(memory[pid] > 1_000_000 for pid in processes)
        assert await running.stop() == 0
    assert not any(map(is_alive, processes))


async def test_a_killed_gateway_leaves_nothing_either(backend: ScriptedBackend) -> None:
    async with GatewayProcess(backends={"coredinator": backend.url}, workers=2) as running:
        processes = running.processes()
        running.signal(signal.SIGKILL)
        assert await running.wait() == -signal.SIGKILL
    assert not any(map(is_alive, processes))


async def test_a_gateway_that_does_not_start_says_why() -> None:
    with pytest.raises(GatewayFailed, match=r"(?s)exit status 2.*nonsense"):
        async with GatewayProcess(toml="nonsense = 1\n"):
            pass
