"""Reloads under load, with WebSockets open: none is lost, and no request fails."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, WebSocketException

from coregateway.testing import ScriptedBackend
from tests.endurance.load import Load, steady
from tests.node.reloadable import PREFIX, Reloadable

WITHIN = 10.0
"""Seconds for a WebSocket to echo."""

BARE = 'openapi.path = ""\n'


@dataclass
class Reloaded:
    """What came of it. `took`: seconds of each reload."""

    took: list[float] = field(default_factory=list[float])
    versions: Counter[int] = field(default_factory=Counter[int])
    """The versions that workers have in the end, and how many."""
    lost: list[str] = field(default_factory=list[str])
    load: Load = field(default_factory=Load)
    slowest: float = 0.0
    """Seconds that a reload may take."""

    @property
    def broken(self) -> list[str]:
        """The promises that did not hold."""
        last = len(self.took) + 1
        return [
            *self.lost,
            *self.load.failures,
            *(f"a reload took {took:.1f} s" for took in self.took if took > self.slowest),
            *(f"{n} workers run with version {v}" for v, n in self.versions.items() if v != last),
        ]

    def __str__(self) -> str:
        times = sorted(self.took)
        return (
            f"{len(times)} reloads in {sum(times):.1f} s, of which the slowest took {times[-1]:.2f} s; "
            f"{len(self.lost)} WebSockets lost; {self.load}"
        )


async def run(
    reloads: int, sockets: int, *, pause: float = 0.0, rate: float = 200.0, slowest: float = 2.0
) -> Reloaded:
    """Reload so often, `pause` seconds apart, with so many WebSockets open and `rate` requests a second.

    `slowest`: seconds that each may take.
    """
    done = Reloaded(slowest=slowest)

    async def echo(websocket: ServerConnection) -> None:
        with suppress(ConnectionClosed):  # in the end
            async for message in websocket:
                await websocket.send(message)

    async with (
        serve(echo, "127.0.0.1", 0) as server,
        ScriptedBackend() as backend,
        ScriptedBackend() as other,
    ):
        port = next(iter(server.sockets)).getsockname()[1]

        def settings(number: int) -> str:
            """Each time limits, fields, and a backend that comes and goes are others."""
            urls = f'["{backend.url}"]' if number % 3 else f'["{backend.url}", "{other.url}"]'
            # Each row says that it has no API document: one that goes takes that with it.
            late = f'[backends.late{number}]\nprefix = "/late{number}"\nurls = ["{other.url}"]\n{BARE}'
            return (
                f"timeouts.read = {30 + number}.0\ntracing.server_timing = {str(number % 2 > 0).lower()}\n"
                f'[backends.coredinator]\nprefix = "{PREFIX}"\nurls = {urls}\n{BARE}'
                f'[backends.ws]\nprefix = "/ws"\nurls = ["http://127.0.0.1:{port}"]\n{BARE}{late}'
                f"[backends.coretelemetry]\n{BARE}"
            )

        async with Reloadable(settings(0)) as node:
            opened = await asyncio.gather(*(_open(node, each) for each in range(sockets)))
            async with steady(node.gateway.address, f"{PREFIX}/x", rate=rate) as load:
                done.load = load
                for number in range(1, reloads + 1):
                    began = time.monotonic()
                    await node.reload(settings(number))
                    done.took.append(time.monotonic() - began)
                    await asyncio.sleep(pause)
                done.lost = [
                    each for each in await asyncio.gather(*map(_echoes, range(sockets), opened)) if each
                ]
            done.versions = Counter(worker["settings_version"] for worker in (await node.status())["workers"])
            for websocket in opened:
                websocket.transport.abort()
    return done


async def _open(node: Reloadable, number: int) -> ClientConnection:
    host, port = node.gateway.address
    websocket = await connect(f"ws://{host}:{port}/ws/{number}", ping_interval=None, open_timeout=WITHIN)
    await websocket.send("first")
    await asyncio.wait_for(websocket.recv(), WITHIN)
    return websocket


async def _echoes(number: int, websocket: ClientConnection) -> str:
    """Empty, or why a WebSocket is lost."""
    try:
        await websocket.send(f"still {number}")
        async with asyncio.timeout(WITHIN):
            answer = await websocket.recv()
    except (OSError, TimeoutError, WebSocketException) as error:
        return f"WebSocket {number}: {error!r}"
    return "" if answer == f"still {number}" else f"WebSocket {number} has echoed {answer!r}"
