"""Many connections of clients at once: event streams, WebSockets, idle ones; or one large download.

python benchmarks/stream_client.py {events,websocket,idle,download} URL COUNT SECONDS

It prints `ready` when all connections are there, waits for a line on stdin, measures, and prints one JSON
object. It is a process of its own so that what it computes is not in the way of who watches the servers.
"""

import asyncio
import json
import re
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import urlsplit

import uvloop
from generators import percentile

OPENING = 100
"""So many connections are opened at a time."""
PATIENCE = 120.0
"""Seconds that opening them may take."""
FRAME = b"\x82\xa0\0\0\0\0" + b"x" * 32
"""A binary message of 32 bytes; a mask of zeros leaves them as they are (RFC 6455 §5.3)."""
ECHO = b"\x82\x20" + b"x" * 32
PIECE = 1024 * 1024
_EVENT = re.compile(rb"data: (\d+) (\d+) x{64}\n\n")

type Figures = dict[str, float]


class Connection(asyncio.Protocol):
    """One of a client's; `answered` is done when the first head is there, or the connection lost."""

    def __init__(self, request: bytes, results: "Results") -> None:
        self.request = request
        self.results = results
        self.buffer = bytearray()
        self.answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self.at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # of uvloop, which derives it from nothing
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.answered.done():
            self.more()
            return
        head, end, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        if end:
            self.buffer[:] = rest
            self.answered.set_result(head)
            self.more()

    def more(self) -> None:
        """What has come after the head is in `buffer`."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio gives it
        self.results.lost += 1
        if not self.answered.done():
            self.answered.set_result(b"")


class Results:
    """Latencies in milliseconds of what arrived while `measuring`."""

    def __init__(self) -> None:
        self.measuring = False
        self.lost = 0
        self.wrong = 0
        self.latencies: list[float] = []

    def figures(self, what: str, seconds: float) -> Figures:
        times = sorted(self.latencies) or [float("nan")]
        return {
            what: len(self.latencies) / seconds,
            "count": len(self.latencies),
            "p50 ms": percentile(times, 50),
            "p99 ms": percentile(times, 99),
            "p99.9 ms": percentile(times, 99.9),
            "errors": self.lost + self.wrong,
        }


class Events(Connection):
    """A stream of events; each must follow the one before."""

    def more(self) -> None:
        now, end = time.monotonic_ns(), 0
        for event in _EVENT.finditer(self.buffer):
            number, sent, end = int(event[1]), int(event[2]), event.end()
            if self.at and number != self.at + 1:
                self.results.wrong += 1
            self.at = number
            if self.results.measuring:
                self.results.latencies.append((now - sent) / 1e6)
        del self.buffer[:end]


class Echoes(Connection):
    """A WebSocket that sends its next message when the one before came back."""

    def more(self) -> None:
        if not self.results.measuring or len(self.buffer) < len(ECHO):
            return
        if bytes(self.buffer) != ECHO:
            self.results.wrong += 1
        self.results.latencies.append((time.monotonic_ns() - self.at) / 1e6)
        self.buffer.clear()
        self.send()

    def send(self) -> None:
        self.at = time.monotonic_ns()
        if self.transport is not None:
            self.transport.write(FRAME)


async def opened[C: Connection](
    url: str, count: int, request: str, make: Callable[[bytes, Results], C]
) -> list[C]:
    """So many connections that were answered with 200 or 101; SystemExit if one was not."""
    parts = urlsplit(url)
    host, port, results = parts.hostname or "", parts.port or 80, Results()
    tls = None
    if parts.scheme == "https":  # with a certificate that was made for the measurement
        tls = ssl._create_unverified_context()  # noqa: S323  # pyright: ignore[reportPrivateUsage] -- public in all but its name
    head = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{request}\r\n".encode()
    turns, connections = asyncio.Semaphore(OPENING), list[C]()

    async def one() -> None:
        async with turns:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: make(head, results), host, port, ssl=tls
            )
            answer = await connection.answered
            if not re.match(rb"HTTP/1\.1 (200|101) ", answer):
                raise SystemExit(f"{url}: {answer!r}")
            connections.append(connection)

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(one())
    return connections


async def events(url: str, count: int, seconds: float) -> Figures:
    request = "Accept: text/event-stream\r\n"
    results = (await opened(url, count, request, Events))[0].results
    await go()
    results.measuring = True
    await asyncio.sleep(seconds)
    results.measuring = False
    return results.figures("events/s", seconds)


async def websocket(url: str, count: int, seconds: float) -> Figures:
    request = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    request += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    connections = await opened(url, count, request, Echoes)
    results = connections[0].results
    await go()
    results.measuring = True
    for connection in connections:
        connection.send()
    await asyncio.sleep(seconds)
    results.measuring = False
    return results.figures("round trips/s", seconds)


async def idle(url: str, count: int, _: float) -> Figures:
    """Each connection has asked once, and is kept."""
    results = (await opened(url, count, "", Connection))[0].results
    await go()
    return {"errors": results.lost}


async def download(url: str, count: int, _: float) -> Figures:
    """One response of `count` bytes, which the kernel drops instead of copying them here: the client shares a
    core with the upstream, and would hold back the fastest servers."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=60) as connection:
        await go()
        start = time.monotonic()
        connection.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        came = b""
        while b"\r\n\r\n" not in came and (received := connection.recv(PIECE)):
            came += received
        head, end, body = came.partition(b"\r\n\r\n")
        size = len(body)
        nowhere = bytearray(PIECE)
        while size < count and (dropped := connection.recv_into(nowhere, flags=socket.MSG_TRUNC)):
            size += dropped
        seconds = time.monotonic() - start
    right = end and size == count and head.startswith(b"HTTP/1.1 200 ")
    return {"MiB/s": size / 2**20 / seconds, "errors": float(not right)}


async def go() -> None:
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


WAYS: dict[str, Callable[[str, int, float], Awaitable[Figures]]] = {
    "events": events,
    "websocket": websocket,
    "idle": idle,
    "download": download,
}


async def main(way: str, url: str, count: str, seconds: str) -> None:
    print(json.dumps(await WAYS[way](url, int(count), float(seconds))), flush=True)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
