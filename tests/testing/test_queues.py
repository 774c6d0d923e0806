"""What the kernel tells of bytes that were sent: read by the process at the other end, or not yet."""

import asyncio

import pytest

from coregateway.testing import RawClient, ScriptedBackend, hang, read_body, wait
from coregateway.testing.queues import has_taken, kernel_queues

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize("size", [0, 10, 100_000])
async def test_what_the_peer_has_read_is_taken(size: int) -> None:
    async with ScriptedBackend(hang()) as backend, RawClient(backend.address) as client:
        await client.send(HEAD % size + b"x" * size)
        await client.until_taken()
        assert (await backend.wait_for_request()).content.size == size


@pytest.mark.parametrize("size", [100_000, 3_000_000])
async def test_what_the_peer_leaves_in_the_kernel_is_not_taken_until_it_reads_on(size: int) -> None:
    gate = asyncio.Event()
    async with (
        ScriptedBackend(wait(gate), read_body(), hang(), early=True) as backend,
        RawClient(backend.address) as client,
    ):
        sending = asyncio.create_task(client.send(HEAD % size + b"x" * size))
        await backend.wait_for_request(complete=False)
        with pytest.raises(TimeoutError):
            await client.until_taken(within=0.1)
        gate.set()
        await sending
        await client.until_taken()
        assert backend.requests[0].complete


async def test_nothing_is_taken_where_there_is_no_connection() -> None:
    async with ScriptedBackend() as backend, RawClient(backend.address) as client:
        assert has_taken(client.local_address, backend.address)
        assert not has_taken(backend.address, ("127.0.0.1", 1))
        here, there = client.local_address[1], backend.port
        assert kernel_queues()[here, there] == kernel_queues()[there, here] == (0, 0)
