"""A backend that answers every request with 16 MiB: `python -m tests.endurance.large`.

In a process of its own, and one that leaves the processor to others: backends and slow clients are on other
machines, and what they compute is no disturbance of the gateway.
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

SIZE = 16 << 20
"""Bytes of an answer: more than the kernel's buffers on the way to a slow reader may hold."""

NICENESS = 10
"""Of processes that stand for other machines."""

_BLOCK = b"x" * 65_536


@asynccontextmanager
async def serving() -> AsyncGenerator[int]:
    """The port of a backend that runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.endurance.large"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


async def _serve() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        for _ in range(SIZE // len(_BLOCK)):
            writer.write(_BLOCK)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    os.nice(NICENESS)
    asyncio.run(_serve())
