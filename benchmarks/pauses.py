"""How long a worker serves nothing while the API documents of 50 backends are fetched, merged and published.

    python benchmarks/pauses.py [--runs 5] [--backends 50] [--operations 200]

Each run starts a gateway with two workers in front of so many backends, whose documents are held back until
the workers have been at rest for a while. Then all come at once: they are made into one by a process of their
own, which is timed, published, and the merged document is asked for once. `ticking` tells how late the loops
of the workers were meanwhile, without what they waited for a core: the process that merges, this one and the
workers share two. Prints the longest pause of either worker in each part of a run, as the median of the runs
with the lowest and the highest. The exit status is 1 where a median is above its limit.
"""

import asyncio
import itertools
import sys
import tempfile
from argparse import ArgumentParser
from asyncio import Event, StreamReader, StreamWriter
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
from figures import Spread
from peers import BENCHMARKS
from ticking import FOLDER

from coregateway.testing import GatewayProcess

WORKERS = 2
REST = 2.0
"""Seconds in which nothing happens, for comparison."""

AFTER = 0.5
"""Seconds after a part of a run in which what it has brought about may still go on."""

MERGING = 2.0
"""Seconds, at most, from the arrival of the documents until they are published."""

PAUSE = 0.005
"""Seconds, at most."""

PARTS = ("at rest", "fetched, merged, published", "served once")
"""Of a run, with a pause each."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"


def main() -> int:
    parser = ArgumentParser(description="How long a worker pauses while API documents are merged.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--backends", type=int, default=50)
    parser.add_argument("--operations", type=int, default=200, help="of each document")
    options = parser.parse_args()
    documents = [orjson.dumps(document(number, options.operations)) for number in range(options.backends)]
    runs = [asyncio.run(run(documents)) for _ in range(options.runs)]
    size = sum(map(len, documents)) / 1e6
    print(f"{len(documents)} documents of {options.operations} operations, {size:.1f} MB, {len(runs)} runs")
    kept = True
    for part in PARTS:
        found, computing = (
            Spread.of([each[key] * 1000 for each in runs]) for key in (part, f"{part}, computing")
        )
        kept = kept and (part == PARTS[0] or found.middle <= PAUSE * 1000)
        print(
            f"longest pause, {part}: {found.text('{:.1f}'.format)} ms, at most {PAUSE * 1000:.0f}; "
            f"of it computing {computing.text('{:.1f}'.format)}"
        )
    took = Spread.of([each["took"] for each in runs])
    served, bytes_ = (Spread.of([each[key] for each in runs]) for key in ("answered", "bytes"))
    print(f"from arrival to publication: {took.text('{:.2f}'.format)} s, at most {MERGING:.0f}")
    print(f"the merged document: {bytes_.middle / 1e6:.1f} MB in {served.text('{:.0f}'.format)} ms")
    return 0 if kept and took.middle <= MERGING else 1


async def run(documents: list[bytes]) -> dict[str, float]:
    """The longest pause in each part of a run, in seconds, and how long things took."""
    arrive = Event()
    held = Held(documents, arrive)
    server = await asyncio.start_server(held.answer, "127.0.0.1", 0, backlog=512)
    port = server.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="pauses-") as name:
        folder = Path(name)
        environment = {FOLDER: name, "PYTHONPATH": f"{BENCHMARKS.parent}:{BENCHMARKS}"}
        gateway = GatewayProcess(toml=settings(len(documents), port), env=environment, workers=WORKERS)
        async with server, gateway:
            await held.all_are_asked.wait()
            await asyncio.sleep(AFTER)
            rested = monotonic()
            await asyncio.sleep(REST)
            began = monotonic()
            arrive.set()
            await gateway.wait_for_lines(len(documents), within=60.0, event="document.fetched")
            published = monotonic()
            await asyncio.sleep(AFTER)
            asked = monotonic()
            size = await fetch(gateway.address)
            answered = monotonic()
            await asyncio.sleep(AFTER)
            ended = monotonic()
        moments = (rested, began, asked, ended)
        longest = [pause(folder, *each) for each in itertools.pairwise(moments)]
    return {
        **{part: took for part, (took, _) in zip(PARTS, longest, strict=True)},
        **{f"{part}, computing": computed for part, (_, computed) in zip(PARTS, longest, strict=True)},
        "took": published - began,
        "answered": (answered - asked) * 1000,
        "bytes": size,
    }


class Held:
    """The backends: one server, which holds each document back until all are asked for and may `arrive`."""

    def __init__(self, documents: list[bytes], arrive: Event) -> None:
        self._documents = documents
        self._arrive = arrive
        self._asked: set[int] = set()
        self.all_are_asked = Event()

    async def answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        number = int(head.split(b" ", 2)[1].removeprefix(b"/").partition(b"/")[0])
        self._asked.add(number)
        if len(self._asked) == len(self._documents):
            self.all_are_asked.set()
        await self._arrive.wait()
        body = self._documents[number]
        writer.write(HEAD % len(body) + body)
        await writer.drain()
        writer.close()


async def fetch(address: tuple[str, int]) -> int:
    """Ask for the merged document; its size in bytes."""
    reader, writer = await asyncio.open_connection(*address, limit=2**26)
    writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the merged document cannot be had: {head.partition(b'\r\n')[0].decode()}")
    size = len(await reader.read(-1))
    writer.close()
    return size


def pause(folder: Path, since: float, until: float) -> tuple[float, float]:
    """The longest one of any worker between two moments, and the CPU time of it."""
    found = [(0.0, 0.0)]
    for file in folder.glob("*.ticks"):
        for line in file.read_text().splitlines():
            at, took, computed = map(float, line.split())
            if since < at <= until:
                found.append((took, min(took, computed)))  # not that of the timer's millisecond
    return max(found)


def settings(backends: int, port: int) -> str:
    """Those of a gateway whose backends are all at this port, each with a document of its own."""
    rows = "".join(
        f'[backends.b{number}]\nprefix = "/b{number}"\nurls = ["http://127.0.0.1:{port}"]\n'
        f'openapi.path = "/{number}/openapi.json"\nhealth.interval = 0\n'
        for number in range(backends)
    )
    absent = "".join(f"[backends.{name}]\nenabled = false\n" for name in ("coredinator", "coretelemetry"))
    return f'plugins = ["ticking"]\n{absent}{rows}'


def document(number: int, operations: int) -> Mapping[str, Any]:
    """As a service has it that lists, makes, shows, changes and removes things of many kinds."""
    error = {"description": "It cannot be.", "content": {"application/json": {"schema": _ref("Error")}}}
    schemas: dict[str, Any] = {
        "Error": {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
    }
    paths: dict[str, Any] = {}
    for kind in range(-(-operations // 5)):
        name = f"Thing{kind}"
        properties = {f"field_{each}": {"type": "string", "title": f"Field {each}"} for each in range(12)}
        schemas[name] = {"type": "object", "title": name, "properties": properties, "required": ["field_0"]}
        given = {"required": True, "content": {"application/json": {"schema": _ref(name)}}}
        shown = {"description": "It is.", "content": {"application/json": {"schema": _ref(name)}}}
        query = {"name": "limit", "in": "query", "schema": {"type": "integer", "default": 100}}
        by_id = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
        for path, method, takes in (
            (f"/things{kind}", "get", {"parameters": [query]}),
            (f"/things{kind}", "post", {"requestBody": given}),
            (f"/things{kind}/{{id}}", "get", {"parameters": [by_id]}),
            (f"/things{kind}/{{id}}", "put", {"parameters": [by_id], "requestBody": given}),
            (f"/things{kind}/{{id}}", "delete", {"parameters": [by_id]}),
        ):
            paths.setdefault(path, {})[method] = {
                "operationId": f"{method}_{path.strip('/').replace('/', '_')}",
                "summary": f"{method.title()} things of kind {kind}",
                "tags": [f"kind {kind % 10}"],
                "responses": {"200": shown, "404": error, "422": error},
                **takes,
            }
    info = {"title": f"Service {number}", "version": "1.0"}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _ref(name: str) -> Mapping[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


if __name__ == "__main__":
    sys.exit(main())
