"""The traffic of a soak: what clients of every kind do, some of them badly, at a steady rate.

Each kind is a function that plays one exchange (or one connection's life) and returns what came of it; what
it should not, it raises. A kind has clients that go on for as long as the soak does.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from math import ceil
from random import Random
from typing import NamedTuple

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from coregateway.testing import RawClient, ResponseCut, WireError

WITHIN = 20.0
"""Seconds for whatever a client waits for."""

UPLOAD = bytes(range(256)) * 400
LARGE = 1 << 20
"""Bytes of a large answer."""

OWN = {"/health": 200, "/livez": 200, "/readyz": 200, "/openapi.json": 200, "/nowhere": 404}
PAGES = ("/status", "/metrics", "/dashboard", "/")
"""Of the admin address."""

EVENTS = 20
"""In a stream, and messages of a WebSocket."""

EARLY = 2.0
"""Seconds within which every client has begun, so that a short run sees all kinds."""

type Play = Callable[[Client, Random], Awaitable[str]]
"""One exchange; its outcome in a word."""


class Unexpected(Exception):
    """An answer other than the one that must come."""


class Client(NamedTuple):
    """What a kind of traffic has at hand: a kept connection, if its kind keeps one, and where to connect."""

    kept: RawClient | None
    address: tuple[str, int]
    admin: tuple[str, int]
    key: str

    @property
    def raw(self) -> RawClient:
        assert self.kept is not None
        return self.kept


class Kind(NamedTuple):
    """`share`: of all exchanges, of those that are paced; `clients` at a time."""

    play: Play
    share: float
    clients: int
    kept: bool = True
    """Whether clients keep their connections, for a while."""


@dataclass
class Traffic:
    """`rate`: exchanges a second of all kinds together. What came of them is counted until `take`."""

    address: tuple[str, int]
    admin: tuple[str, int]
    key: str
    rate: float
    seed: int = 1
    outcomes: Counter[str] = field(default_factory=Counter[str])
    unexpected: Counter[str] = field(default_factory=Counter[str])
    waits: list[float] = field(default_factory=list[float])
    """Seconds of each small GET."""
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until `stop`; exchanges that are under way then come to their ends."""
        async with asyncio.TaskGroup() as clients:
            for name, kind in KINDS.items():
                for number in range(kind.clients):
                    draw = Random(f"{self.seed}:{name}:{number}")
                    clients.create_task(self._client(name, kind, draw))

    async def fill(self, number: int, seconds: float) -> None:
        """So many callers who come once, in so many seconds: what remembers lines is full from then on."""
        draw = Random(self.seed)
        left = number
        while left > 0 and not self._stopping.is_set():
            with suppress(OSError, ResponseCut, WireError):
                async with RawClient(self.address, within=WITHIN) as raw:
                    for _ in range(100):
                        left -= 1
                        await raw.send(_head("GET", "/rated/x", f"X-Caller: {draw.getrandbits(64)}"))
                        await raw.read_response()
                        await self._rest(seconds / number)

    def stop(self) -> None:
        self._stopping.set()

    def take(self) -> "Taken":
        """What there is since the last time."""
        taken = Taken(self.outcomes, self.unexpected, sorted(self.waits))
        self.outcomes, self.unexpected, self.waits = Counter(), Counter(), []
        return taken

    async def _client(self, name: str, kind: Kind, draw: Random) -> None:
        pause = kind.clients / (self.rate * kind.share)
        await self._rest(draw.uniform(0.0, min(pause, EARLY)))
        while not self._stopping.is_set():
            try:
                await self._connection(name, kind, draw, pause)
            except (OSError, ResponseCut, WireError, Unexpected, WebSocketException) as error:
                # A TimeoutError is an OSError.
                self.unexpected[f"{name}: {type(error).__name__}: {str(error)[:120]}"] += 1
                await self._rest(0.1)

    async def _connection(self, name: str, kind: Kind, draw: Random, pause: float) -> None:
        """Exchanges up to the end of the connection, where the kind keeps one."""
        async with AsyncExitStack() as open_now:
            kept = None
            if kind.kept:
                kept = await open_now.enter_async_context(RawClient(self.address, within=WITHIN))
            client = Client(kept, self.address, self.admin, self.key)
            for _ in range(draw.randint(1, 200) if kept else 1):
                began = time.monotonic()
                outcome = await kind.play(client, draw)
                self.outcomes[f"{name}: {outcome}"] += 1
                took = time.monotonic() - began
                if name == "small":
                    self.waits.append(took)
                await self._rest(max(draw.uniform(0.5, 1.5) * pause - took, 0.0))
                if self._stopping.is_set():
                    return
                if kept is not None:
                    kept.arrivals.clear()

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


class Taken(NamedTuple):
    """Of some time. `waits` in seconds, in order."""

    outcomes: Counter[str]
    unexpected: Counter[str]
    waits: list[float]

    def p(self, percent: float) -> float:
        """Seconds within which so many small GETs were answered; 0 without any."""
        return self.waits[ceil(len(self.waits) * percent / 100) - 1] if self.waits else 0.0


async def small(client: Client, draw: Random) -> str:
    """A GET with a key, whose answer is some bytes."""
    return await _ask(client.raw, "GET", f"/plain/{draw.randrange(1000)}", f"X-API-Key: {client.key}")


async def refused(client: Client, draw: Random) -> str:
    """A key that nobody has."""
    return await _ask(client.raw, "GET", "/plain/x", f"X-API-Key: cg_{draw.getrandbits(256):x}", expected=401)


async def rated(client: Client, draw: Random) -> str:
    """Callers without number, most of which come once, and a few that come too often."""
    caller = draw.choice((draw.getrandbits(64), draw.randrange(3)))
    await client.raw.send(_head("GET", "/rated/x", f"X-Caller: {caller}"))
    status = (await client.raw.read_response()).status
    if status not in (200, 429):
        raise Unexpected(f"status {status}")
    return str(status)


async def upload(client: Client, draw: Random) -> str:
    """A body that has a length, or that comes in chunks."""
    if draw.random() < 0.5:
        return await _ask(client.raw, "POST", "/plain/up", f"X-API-Key: {client.key}", body=UPLOAD)
    head = _head("POST", "/plain/up", f"X-API-Key: {client.key}", "Transfer-Encoding: chunked")
    chunks = [b"%x\r\n%b\r\n" % (len(UPLOAD) // 4, UPLOAD[: len(UPLOAD) // 4])] * 4
    await client.raw.send([head, *chunks, b"0\r\n\r\n"])
    return _expected((await client.raw.read_response()).status, 200)


async def large(client: Client, _: Random) -> str:
    """An answer of a mebibyte."""
    return await _ask(client.raw, "GET", "/bodies/large")


async def retried(client: Client, draw: Random) -> str:
    """A backend of which one address fails now and then, and another one refuses."""
    return await _ask(client.raw, "GET", f"/retried/{draw.randrange(1000)}")


async def own(client: Client, draw: Random) -> str:
    """What the gateway answers itself."""
    path = draw.choice(list(OWN))
    return await _ask(client.raw, "GET", path, expected=OWN[path])


async def admin(client: Client, draw: Random) -> str:
    """What operators look at."""
    async with RawClient(client.admin, within=WITHIN) as raw:
        return await _ask(raw, "GET", draw.choice(PAGES))


async def stream(client: Client, _: Random) -> str:
    """A stream of events to its end."""
    async with RawClient(client.address, within=WITHIN) as raw:
        await raw.send(_head("GET", "/bodies/events"))
        events = (await raw.read_response()).body.count(b"data: ")
        return _expected(events, EVENTS)


async def websocket(client: Client, draw: Random) -> str:
    """One that is opened, echoes, and is closed, or cut."""
    host, port = client.address
    async with connect(f"ws://{host}:{port}/ws/x", ping_interval=None, open_timeout=WITHIN) as socket:
        for number in range(EVENTS):
            await socket.send(f"{number}")
            async with asyncio.timeout(WITHIN):
                if await socket.recv() != f"{number}":
                    raise Unexpected("another echo")
            await asyncio.sleep(0.05)
        if draw.random() < 0.3:
            socket.transport.abort()
            return "cut"
    return "closed"


async def leaver(client: Client, draw: Random) -> str:
    """One who leaves while the backend is silent, within a body, a stream, or an upload."""
    path = draw.choice(("silent", "half", "events", "upload"))
    async with RawClient(client.address, within=WITHIN) as raw:
        if path == "upload":
            await raw.send(_head("POST", "/bodies/x", f"Content-Length: {len(UPLOAD)}") + UPLOAD[:20_000])
        else:
            await raw.send(_head("GET", f"/bodies/{path}"))
        await asyncio.sleep(draw.uniform(0.0, 0.1))
        leave = draw.choice((RawClient.close, RawClient.half_close, RawClient.reset))
        leave(raw)
    return f"left {path}"


async def slow(client: Client, draw: Random) -> str:
    """One who sends a head in pieces, or a body, or reads little at a time."""
    kind = draw.choice(("head", "body", "reader"))
    buffer = 4096 if kind == "reader" else None
    async with RawClient(client.address, within=WITHIN, receive_buffer=buffer) as raw:
        if kind == "head":
            await raw.send_segments(_head("GET", "/bodies/x", "X-Filler: " + "x" * 100), size=10, every=0.05)
        elif kind == "body":
            head = _head("POST", "/bodies/x", "Content-Length: 20000")
            await raw.send_segments(head + UPLOAD[:20_000], size=1000, every=0.05)
        else:
            await raw.send(_head("GET", "/bodies/large"))
            answer = await raw.read_head(keep=0)
            while not answer.content.complete:
                await asyncio.sleep(0.02)
                piece = await raw.receive(32_768)
                if not piece:
                    raise Unexpected("cut")
                answer.content.feed(piece)
            return kind
        _expected((await raw.read_response()).status, 200)
    return kind


KINDS = {
    "small": Kind(small, 0.58, 8),
    "retried": Kind(retried, 0.12, 4),
    "rated": Kind(rated, 0.1, 2),
    "upload": Kind(upload, 0.05, 4),
    "own": Kind(own, 0.04, 2),
    "leaver": Kind(leaver, 0.04, 4, kept=False),
    "refused": Kind(refused, 0.02, 1),
    "large": Kind(large, 0.02, 2),
    "stream": Kind(stream, 0.01, 4, kept=False),
    "websocket": Kind(websocket, 0.01, 4, kept=False),
    "slow": Kind(slow, 0.005, 4, kept=False),
    "admin": Kind(admin, 0.005, 1, kept=False),
}


def _head(method: str, path: str, *fields: str) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: localhost", *fields, "", "")).encode()


async def _ask(
    raw: RawClient, method: str, path: str, *fields: str, body: bytes = b"", expected: int = 200
) -> str:
    length = (f"Content-Length: {len(body)}",) if body else ()
    await raw.send(_head(method, path, *fields, *length) + body)
    return _expected((await raw.read_response(keep=0)).status, expected)


def _expected(found: int, expected: int) -> str:
    if found != expected:
        raise Unexpected(f"{found} instead of {expected}")
    return str(found)
