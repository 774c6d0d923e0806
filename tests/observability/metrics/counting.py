"""Is anything lost or counted twice while workers are killed?

Run it by `python -m tests.observability.metrics.counting --help`.

Every request bears an id of its own, which is why the load is not wrk's: it cannot tell which of its requests
were not answered. After the load each answered id must be in the log exactly once, and the node's counters
must say how many there were. What may differ are the requests that were in flight on a worker when it was
killed: those whose connection ended before their answer, one for each connection.
"""

import asyncio
import os
import signal
import sys
from argparse import ArgumentParser
from contextlib import suppress
from multiprocessing import get_context
from time import monotonic
from typing import cast

import orjson
import uvloop

from coregateway.testing import PATIENCE, GatewayProcess, free_port
from tests.observability.metrics.scraping import get, scrape
from tests.stage import PREFIX

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n" + b'{"status":"ok"}\n'
)

SETTLING = 10.0
"""Seconds that lines and counts may take to arrive after the last answer."""


class Answering(asyncio.Protocol):
    """A backend: the same answer to each request."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own, which is none by inheritance

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


def answer_on(port: int) -> None:
    """Be that backend, until this process is ended."""

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(serve())


async def accepts(port: int) -> None:
    """Wait until the backend listens there."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(OSError):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    asyncio.Protocol, "127.0.0.1", port
                )
                transport.close()
                return
            await asyncio.sleep(0.02)


class Load:
    """Numbered requests, and what became of them."""

    def __init__(self, requests: int, port: int) -> None:
        self.port = port
        self.sent = 0
        self.answered = 0
        self.lost: set[int] = set()
        """Those whose connection ended before their answer."""
        self.wrong = 0
        """Answers that were not the backend's."""
        self.done = asyncio.Event()
        self._requests = requests
        self._calling = 0

    def next(self) -> int | None:
        if self.sent == self._requests:
            return None
        self.sent += 1
        return self.sent

    async def call(self) -> None:
        """One client, on as many connections as it takes."""
        self._calling += 1
        loop = asyncio.get_running_loop()
        while (number := self.next()) is not None:
            ended: asyncio.Future[None] = loop.create_future()
            await loop.create_connection(
                lambda n=number, e=ended: Calling(self, n, e), "127.0.0.1", self.port
            )
            await ended
        self._calling -= 1
        if not self._calling:
            self.done.set()


class Calling(asyncio.Protocol):
    """A connection that sends one request after the other, until there are no more or it is ended."""

    transport: asyncio.Transport

    def __init__(self, load: Load, number: int, ended: "asyncio.Future[None]") -> None:
        self._load = load
        self._number: int | None = number
        self._ended = ended
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own, which is none by inheritance
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < 16:
            return
        self._load.answered += 1
        self._load.wrong += not (head.startswith(b"HTTP/1.1 200 ") and len(body) == 16)
        self._received = b""
        self._number = self._load.next()
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- as asyncio has it
        if self._number is not None:
            self._load.lost.add(self._number)
        self._ended.set_result(None)

    def _ask(self) -> None:
        if self._number is None:
            self.transport.close()
        else:
            self.transport.write(
                b"GET %b/x HTTP/1.1\r\nHost: gw\r\nX-Request-ID: n%d\r\n\r\n"
                % (PREFIX.encode(), self._number)
            )


class Log:
    """The request lines so far, by the number of their request."""

    def __init__(self, gateway: GatewayProcess, requests: int) -> None:
        self._gateway = gateway
        self.times = bytearray(requests + 1)
        self.lines = 0

    def read(self) -> None:
        for line in self._gateway.new_log_lines():
            if line["event"] == "request" and line["request_id"].startswith("n"):
                self.lines += 1
                number = int(line["request_id"][1:])
                self.times[number] = min(self.times[number] + 1, 255)


async def kill_at(load: Load, share: float, requests: int, admin: int) -> None:
    """Kill a worker that serves when that share of the requests is answered."""
    while load.answered < share * requests:  # noqa: ASYNC110 - nobody sets an event for each answer
        await asyncio.sleep(0.01)
    workers = orjson.loads((await get(admin, "/status")).body)["workers"]
    serving = [worker["pid"] for worker in workers if worker["state"] == "ready"]
    os.kill(serving[0], signal.SIGKILL)


async def run(requests: int, kills: int, workers: int, connections: int) -> bool:
    """Do it and print the figures; whether all is well."""
    admin = free_port()
    backend = free_port()
    serving = get_context("spawn").Process(target=answer_on, args=(backend,), daemon=True)
    serving.start()
    toml = f'[admin]\naddress = "127.0.0.1:{admin}"\n[access_log]\nfields = ["request_id", "status"]\n'
    try:
        await accepts(backend)
        async with GatewayProcess(
            toml=toml, workers=workers, backends={"coredinator": f"http://127.0.0.1:{backend}"}
        ) as gateway:
            return await measure(gateway, admin, requests, kills, connections)
    finally:
        serving.kill()
        serving.join()


async def measure(gateway: GatewayProcess, admin: int, requests: int, kills: int, connections: int) -> bool:
    load = Load(requests, gateway.port)
    log = Log(gateway, requests)
    began = monotonic()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(load.call())
        for number in range(kills):
            tasks.create_task(kill_at(load, (number + 1) / (kills + 1), requests, admin))
        while not load.done.is_set():
            await asyncio.sleep(0.2)
            log.read()
    took = monotonic() - began
    counted = 0.0
    end = monotonic() + SETTLING
    while monotonic() < end and (log.lines < load.answered or counted < load.answered):
        await asyncio.sleep(0.5)
        log.read()
        counted = (await scrape(admin)).value("requests_total", backend="coredinator")
    restarts = (await scrape(admin)).value("worker_restarts_total")
    twice = sum(times > 1 for times in log.times)
    unlogged = sum(not log.times[number] for number in range(1, requests + 1) if number not in load.lost)
    in_flight = len(load.lost)
    print(  # noqa: T201 - what the command is for
        f"{requests} requests in {took:.1f} s ({requests / took:.0f}/s), {kills} workers killed, "
        f"{restarts:.0f} started again\n"
        f"answered {load.answered}, of them wrong {load.wrong}; in flight on killed workers {in_flight}\n"
        f"log lines {log.lines}: answered without a line {unlogged}, with two {twice}\n"
        f"coregateway_requests_total {counted:.0f}: {counted - load.answered:+.0f}"
    )
    return (
        load.answered + in_flight == requests
        and in_flight <= kills * connections
        and not load.wrong
        and not twice
        and unlogged <= in_flight
        and abs(log.lines - load.answered) <= in_flight
        and abs(counted - load.answered) <= in_flight
        and restarts == kills
    )


def main() -> int:
    parser = ArgumentParser("python -m tests.observability.metrics.counting", description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=2, help="workers that are killed meanwhile")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    well = uvloop.run(run(options.requests, options.kills, options.workers, options.connections))
    print("nothing is lost or counted twice" if well else "LOST OR COUNTED TWICE")  # noqa: T201
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
