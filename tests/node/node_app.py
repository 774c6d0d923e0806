"""A small application that lives as a node of workers: `sanic tests.node.node_app:app`."""

import asyncio
import os
import signal
import sys
import threading
import time
from typing import Any

from sanic import Request, Sanic
from sanic.response import HTTPResponse, json, text
from sanic.server.protocols.http_protocol import HttpProtocol

from coregateway.downstream.ending import NEWCOMER
from coregateway.logs import events as logs
from coregateway.node import lives, supervisor, workers
from coregateway.node.listeners import BACKLOG, CannotListen, listen, worker_number
from coregateway.settings.model import ShutdownSettings
from coregateway.shared_memory import Board


class Patient(HttpProtocol):
    """As the gateway's own protocol, it leaves those who have just come their time at the end of a worker."""

    __slots__ = ("_come_at",)

    loop: asyncio.AbstractEventLoop
    _come_at: float

    def connection_made(self, transport: Any) -> None:
        self._come_at = time.monotonic()
        super().connection_made(transport)  # pyright: ignore[reportUnknownMemberType] -- Sanic's is untyped

    def close_if_idle(self) -> bool:
        left = self._come_at + NEWCOMER - time.monotonic()
        if left > 0:
            self.loop.call_later(left, self.close_if_idle)
            return False
        return super().close_if_idle()


class NodeApp(Sanic[Any, Any]):
    def prepare(self, host: str | None = None, port: int | None = None, **options: Any) -> None:
        """As the gateway's: its own sockets, and a node unless there is to be a single process."""
        count = options.get("workers", 1)
        try:
            sock = listen(host or "127.0.0.1", 0 if port is None else port, count)
        except CannotListen as error:
            raise SystemExit(str(error)) from None
        if not options.get("single_process"):
            workers.found(self, Board(count))
        logs.event("test.listening", port=sock.getsockname()[1])
        options |= {"sock": sock, "backlog": BACKLOG, "motd": False, "protocol": Patient}
        super().prepare(**options)  # pyright: ignore[reportUnknownMemberType] -- Sanic leaves its options open


def seconds(name: str) -> float:
    return float(os.environ.get(f"NODE_{name}", "0"))


supervisor.START_LIMIT = seconds("START_LIMIT") or supervisor.START_LIMIT
lives.LONGEST_PAUSE = seconds("LONGEST_PAUSE") or lives.LONGEST_PAUSE
logs.configure("INFO")
app = NodeApp("node", log_config=logs.SANIC_LOG_CONFIG)


async def start_slowly(_: NodeApp) -> None:
    await asyncio.sleep(seconds("START") + seconds("STAGGER") * worker_number())


async def stumble(_: NodeApp) -> None:
    """Do as this process was told, by the order in which those of workers start."""
    stumbles = os.environ.get("NODE_STUMBLES", "").split()
    if not stumbles:
        return
    descriptor = os.open(os.environ["NODE_STARTS"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, b".")
    before = os.lseek(descriptor, 0, os.SEEK_CUR) - 1
    os.close(descriptor)
    match stumbles[before] if before < len(stumbles) else "none":
        case "raise":
            raise RuntimeError("it cannot start")
        case "exit":
            os._exit(3)
        case "settings":
            sys.exit(2)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "block":
            time.sleep(3600)  # noqa: ASYNC251 - the whole worker stands still
        case "wait":
            await asyncio.Future[None]()
        case _:
            pass


async def pid(_: Request) -> HTTPResponse:
    return text(str(os.getpid()))


async def readyz(_: Request) -> HTTPResponse:
    return text("", status=200 if app.ctx.node.ready() else 503)


async def states(_: Request) -> HTTPResponse:
    return json([{"pid": worker.pid, "state": worker.state} for worker in app.ctx.node.workers()])


async def slow(_: Request) -> HTTPResponse:
    await asyncio.sleep(1)
    return text("complete")


async def busy(_: Request) -> HTTPResponse:
    time.sleep(1)  # noqa: ASYNC251 - the whole worker stands still
    return text("")


async def deadlock(_: Request) -> HTTPResponse:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
    return text("")


async def orphan(_: Request) -> HTTPResponse:
    """Leave a process behind that ends when it has no parent any more."""
    command = "(sleep 0.2 & echo $!)"
    process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
    told, _error = await process.communicate()
    return json([int(told), process.returncode])


async def block(_: Request) -> HTTPResponse:
    time.sleep(3600)  # noqa: ASYNC251 - the whole worker stands still
    return text("")


async def endless(_: Request) -> HTTPResponse:
    await asyncio.Future[None]()
    return text("never")


async def reload(request: Request) -> HTTPResponse:
    app.m.restart(all_workers=True, zero_downtime="gently" in request.args)
    return text("")


app.register_listener(start_slowly, "before_server_start")
app.register_listener(stumble, "before_server_start")
app.add_route(pid, "/")
app.add_route(readyz, "/readyz")
app.add_route(states, "/workers")
app.add_route(slow, "/slow")
app.add_route(busy, "/busy")
app.add_route(block, "/block")
app.add_route(deadlock, "/deadlock")
app.add_route(orphan, "/orphan")
app.add_route(endless, "/endless")
app.add_route(reload, "/reload")
workers.attach(app, ShutdownSettings(delay=seconds("DELAY"), grace=seconds("GRACE")), seconds("WATCHDOG"))
