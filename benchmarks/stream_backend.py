"""A backend of endless streams: server-sent events at a steady pace, and an echo over WebSocket.

python benchmarks/stream_backend.py PORT

`/events` gives each client EVENTS_A_SECOND events, each with its number and the time of its sending
(CLOCK_MONOTONIC, ns, the same in every process of a machine). A WebSocket upgrade on any path echoes short
messages. Any other request is answered with 200.
"""

import asyncio
import base64
import hashlib
import re
import sys
import time
from typing import cast

import uvloop

EVENTS_A_SECOND = 5
SLOTS = 20
"""The clients are divided into slots that take turns, so that events do not leave in bursts."""

_EVENTS_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    # nginx collects events into whole buffers without it.
    b"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_KEY = re.compile(rb"sec-websocket-key:\s*(\S+)", re.IGNORECASE)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


class Streams(asyncio.Protocol):
    """One connection of the gateway's."""

    slots: tuple[set["Streams"], ...] = tuple(set() for _ in range(SLOTS))
    opened = 0

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.buffer = bytearray()
        self.echoes = False
        self.sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # of uvloop, which derives it from nothing

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio gives it
        for slot in self.slots:
            slot.discard(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while self._echo() if self.echoes else self._answer():
            pass

    def _answer(self) -> bool:
        """One request, none of which has a body."""
        head, end, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        if not end or self.transport is None:
            return False
        self.buffer[:] = rest
        key = _KEY.search(head)
        if key:
            accept = base64.b64encode(hashlib.sha1(key[1] + _GUID, usedforsecurity=False).digest())
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            self.echoes = True
        elif b"/events" in head.partition(b"\r\n")[0]:
            self.transport.write(_EVENTS_HEAD)
            Streams.opened += 1
            self.slots[Streams.opened % SLOTS].add(self)
        else:
            self.transport.write(_PLAIN)
        return True

    def _echo(self) -> bool:
        """One frame of at most 125 bytes, as RFC 6455 §5.2 lets a client send it: masked."""
        if len(self.buffer) < 2 or len(self.buffer) < (end := 6 + (self.buffer[1] & 0x7F)):
            return False
        first, mask, payload = self.buffer[0], bytes(self.buffer[2:6]), bytes(self.buffer[6:end])
        del self.buffer[:end]
        if mask != b"\0\0\0\0":
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        if self.transport is not None:
            self.transport.write(bytes((first, len(payload))) + payload)
        return True

    def send_event(self) -> None:
        self.sent += 1
        event = b"data: %d %d %s\n\n" % (self.sent, time.monotonic_ns(), b"x" * 64)
        if self.transport is not None:
            self.transport.write(b"%x\r\n%s\r\n" % (len(event), event))


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Streams, "127.0.0.1", port, backlog=4096)
    start, turn = loop.time(), 0
    while True:
        for stream in tuple(Streams.slots[turn % SLOTS]):
            stream.send_event()
        turn += 1
        await asyncio.sleep(start + turn / (SLOTS * EVENTS_A_SECOND) - loop.time())


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
