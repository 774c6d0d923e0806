"""How far is the way of a request through the code? Counts calls, files and changes of file.

python benchmarks/hops.py [--trace]

Interpreted, in one process: a warm GET from the first byte in until its answer is ready to leave, and what
puts it on record before it does; and one more chunk of a streamed response. What fewer hops are worth is a
reader's time, not the machine's.
"""

import asyncio
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, cast

os.environ["_COREGATEWAY_INTERPRETED"] = "1"

import uvloop

import coregateway
from coregateway.app import create_app
from coregateway.logs import events as logs
from coregateway.sanic_app.protocol import Entrance
from coregateway.settings import load
from coregateway.testing import ScriptedBackend, chunk, hang, respond, send, wait

PACKAGE = str(Path(coregateway.__file__).parent) + os.sep
REQUEST = b"GET /api/v1/coredinator/%b HTTP/1.1\r\nHost: a\r\n\r\n"


class Hops:
    """The calls of the package's own functions, while `watching`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    @contextmanager
    def watching(self) -> Generator[None]:
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(PACKAGE) and "/testing/" not in name:
            self.calls.append((name.removeprefix(PACKAGE), frame.f_code.co_qualname))

    def parted(self, name: str) -> tuple["Hops", "Hops"]:
        """Those before the call with this name, and the others."""
        at = next(number for number, (_, each) in enumerate(self.calls) if each == name)
        before, behind = Hops(), Hops()
        before.calls, behind.calls = self.calls[:at], self.calls[at:]
        return before, behind

    def text(self) -> str:
        files = [file for file, _ in self.calls]
        changes = sum(one != other for one, other in pairwise(files))
        return f"{len(self.calls)} calls, {len(set(files))} files, {changes} changes of file"


async def measure(
    settings: Any, backend: ScriptedBackend, write: Callable[[str], object], *, trace: bool
) -> None:
    app = create_app(settings)
    server = await app.create_server(  # pyright: ignore[reportUnknownMemberType] -- its options are
        host="127.0.0.1",
        port=0,
        protocol=Entrance,
        return_asyncio_server=True,
        asyncio_server_kwargs={"start_serving": False},
    )
    server = cast(Any, server)
    await server.startup()
    await server.before_start()
    await server.start_serving()
    port = server.server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(path: bytes) -> None:
        writer.write(REQUEST % path)
        await reader.readuntil(b"\r\n\r\nok")

    for _ in range(5):
        await ask(b"warm")
    await asyncio.sleep(0.15)  # timers of the worker fire beside it
    tries: list[Hops] = []
    for _ in range(10):
        tries.append(Hops())
        with tries[-1].watching():
            await ask(b"warm")
    best = min(tries, key=lambda hops: len(hops.calls))  # in which no timer fired
    way, record = best.parted("ExchangeEvents.end_turn")
    write(f"warm GET: {way.text()}\non record: {record.text()}\n")
    if trace:
        write("".join(f"  {file}  {name}\n" for file, name in best.calls))

    gate = asyncio.Event()
    backend.on(
        "/stream",
        send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"one")),
        wait(gate),
        send(chunk(b"two")),
        hang(),
    )
    writer.write(REQUEST % b"stream")
    await reader.readuntil(b"one\r\n")
    hops = Hops()
    with hops.watching():
        gate.set()
        await reader.readuntil(b"two\r\n")
    write(f"one more chunk: {hops.text()}, {_depth(hops)} coroutine frames\n")
    if trace:
        write("".join(f"  {file}  {name}\n" for file, name in hops.calls))
    writer.close()
    await server.close()


def _depth(hops: Hops) -> int:
    """How many coroutines the task resumes through, to the one that reads the chunk."""
    names = [name for _, name in hops.calls]
    resumed = 0
    for name in names:
        if name in (
            "serve",
            "ForwardedRequest.carry_within",
            "downwards",
            "ResponseReceiver.read",
        ):
            resumed += 1
        elif resumed:
            break
    return resumed


async def run(*, trace: bool) -> None:
    write = os.fdopen(os.dup(1), "w", buffering=1).write
    async with ScriptedBackend() as backend:
        backend.on("/warm", respond(200, b"ok"))
        environment = {
            "COREGATEWAY_BACKENDS__COREDINATOR__URLS": backend.url,
            "COREGATEWAY_ADMIN__ADDRESS": "",
        }
        settings = load(environ=environment, cwd=Path("/")).settings
        logs.configure("WARNING")
        await measure(settings, backend, write, trace=trace)


def main() -> None:
    parser = ArgumentParser(description="Count the hops of a request through the code.")
    parser.add_argument("--trace", action="store_true", help="print each call")
    options = parser.parse_args()
    uvloop.run(run(trace=options.trace))


if __name__ == "__main__":
    main()
