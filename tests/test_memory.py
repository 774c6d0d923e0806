"""A worker's memory: at rest, and while large bodies pass through it.

`python -m tests.test_memory 1024` passes as many MiB each way and prints what it saw.
"""

import asyncio
import sys
from collections.abc import Awaitable
from pathlib import Path

from coregateway.testing import Filler, GatewayProcess, ScriptedBackend, respond

MIB = 1024 * 1024
AT_REST = 70 * MIB
GROWTH = 24 * MIB
UNLIMITED = {"COREGATEWAY_LIMITS__REQUEST__MAX_BODY": "0"}


async def test_a_worker_at_rest_is_small_and_bodies_do_not_make_it_grow() -> None:
    at_rest, download, upload = await figures(256 * MIB)
    assert at_rest < AT_REST
    assert download < GROWTH
    assert upload < GROWTH


async def figures(size: int) -> tuple[int, int, int]:
    """Resident bytes of a worker at rest, and by how many it grows during a download and an upload."""
    async with ScriptedBackend() as backend:
        backend.on("/download", respond(200, Filler(size)))
        backend.default(respond(200, b"taken"))
        async with GatewayProcess(backends={"coredinator": backend.url}, env=UNLIMITED) as gateway:
            at_rest = worker_memory(gateway)
            after_download = await highest(gateway, download(gateway, size))
            after_upload = await highest(gateway, upload(gateway, size))
    return at_rest, after_download - at_rest, after_upload - at_rest


async def download(gateway: GatewayProcess, size: int) -> None:
    reader, writer = await asyncio.open_connection(*gateway.address)
    writer.write(b"GET /api/v1/coredinator/download HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    while size > 0:
        piece = await reader.read(MIB)
        assert piece
        size -= len(piece)
    writer.close()
    await writer.wait_closed()


async def upload(gateway: GatewayProcess, size: int) -> None:
    reader, writer = await asyncio.open_connection(*gateway.address)
    head = f"POST /api/v1/coredinator/upload HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
    writer.write(head.encode())
    for block in Filler(size):
        writer.write(block)
        await writer.drain()
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()


async def highest(gateway: GatewayProcess, transfer: Awaitable[None]) -> int:
    """The most resident bytes that a worker had while something passed through it."""
    task = asyncio.ensure_future(transfer)
    most = 0
    while not task.done():
        most = max(most, worker_memory(gateway))
        await asyncio.wait({task}, timeout=0.02)
    await task
    return most


def worker_memory(gateway: GatewayProcess) -> int:
    """Resident bytes of the gateway's one worker."""
    for pid, resident in gateway.resident_memory().items():
        if b"SANIC_WORKER_NAME=" in Path(f"/proc/{pid}/environ").read_bytes():
            return resident
    raise AssertionError("the gateway has no worker")


if __name__ == "__main__":
    found = asyncio.run(figures(int(sys.argv[1]) * MIB))
    names = ("at rest", "growth, download", "growth, upload")
    sys.stdout.writelines(
        f"{name}: {value / MIB:.1f} MiB\n" for name, value in zip(names, found, strict=True)
    )
