"""Clients who hold their connections: `python -m tests.endurance.holding heads 127.0.0.1:8001 2000 30 10`.

In a process of their own, so that they do not slow down whoever measures. `heads` send a request head byte by
byte and never end it; `readers` ask for a large body and stop reading when it comes. After the last one has
ended, or so many seconds, one line of JSON tells for how long each was held (see `Held`).
"""

import asyncio
import os
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass, field

import orjson

from coregateway.testing import RawClient, ResponseCut

EVERY = 0.5
"""Seconds between two bytes of a slow head."""

RAMP = 500
"""Connections that are opened in a second."""

HEAD = b"GET /good/ok HTTP/1.1\r\nHost: gw\r\nX-Slow: " + b"x" * 1000
ASK = b"GET /large/body HTTP/1.1\r\nHost: gw\r\n\r\n"


@dataclass
class Held:
    """For how many seconds the gateway let each client hold its connection; `kept` it still held at the end.

    A head is timed from its connection on, a reader from the first bytes of its answer.
    """

    seconds: list[float] = field(default_factory=list[float])
    kept: int = 0
    statuses: dict[str, int] = field(default_factory=dict[str, int])

    def __str__(self) -> str:
        if not self.seconds:
            return f"none ended, {self.kept} held on"
        shortest, longest = min(self.seconds), max(self.seconds)
        return (
            f"{len(self.seconds)} ended after {shortest:.2f} to {longest:.2f} s ({self.statuses}), "
            f"{self.kept} held on"
        )


async def hold(kind: str, address: tuple[str, int], number: int, seconds: float) -> Held:
    """Hold so many connections for at most so many seconds from the opening of the last one."""
    held = Held()
    one = {"heads": slow_head, "readers": slow_reader}[kind]

    async def hold_one(at: int) -> None:
        await asyncio.sleep(at / RAMP)
        try:
            async with asyncio.timeout(seconds):
                lasted, status = await one(address)
        except TimeoutError:
            held.kept += 1
        else:
            held.seconds.append(lasted)
            held.statuses[status] = held.statuses.get(status, 0) + 1

    await asyncio.gather(*(hold_one(at) for at in range(number)))
    return held


async def slow_head(address: tuple[str, int]) -> tuple[float, str]:
    began = time.monotonic()
    async with RawClient(address, within=600) as client:
        answer = asyncio.create_task(client.read_response())
        try:
            for byte in HEAD:
                await client.send(bytes([byte]))
                await asyncio.wait([answer], timeout=EVERY)
                if answer.done():
                    break
        except ConnectionError:
            pass
        try:
            return time.monotonic() - began, str((await answer).status)
        except ResponseCut:
            return time.monotonic() - began, "closed"


async def slow_reader(address: tuple[str, int]) -> tuple[float, str]:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock, select.epoll() as watch:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(sock, address)
        await loop.sock_sendall(sock, ASK)
        status = await loop.sock_recv(sock, len(b"HTTP/1.1 200"))
        began = time.monotonic()
        watch.register(sock, select.EPOLLRDHUP)  # the end is seen without reading
        over = asyncio.Event()
        loop.add_reader(watch.fileno(), over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(watch.fileno())
        return time.monotonic() - began, status[-3:].decode()


if __name__ == "__main__":
    os.nice(int(sys.argv[5]))
    host, _, port = sys.argv[2].partition(":")
    found = asyncio.run(hold(sys.argv[1], (host, int(port)), int(sys.argv[3]), float(sys.argv[4])))
    sys.stdout.buffer.write(orjson.dumps(asdict(found)) + b"\n")
