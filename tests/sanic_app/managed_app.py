"""A gateway with processes beside its workers: `sanic tests.sanic_app.managed_app:app`.

Each process beside the workers writes what happens to it to the file that HAPPENED names.
"""

# Sanic's decorators have no types:
# pyright: reportUnknownMemberType=false, reportUntypedFunctionDecorator=false, reportUnusedFunction=false

import os
import signal
import time
from pathlib import Path
from typing import Any

from sanic import Request, json
from sanic.worker.inspector import Inspector

from coregateway.app import app

HAPPENED = Path(os.environ.get("HAPPENED", os.devnull))


def tell(*words: object) -> None:
    with HAPPENED.open("a") as happened:
        happened.write(" ".join(map(str, words)) + "\n")


def watch(name: str) -> None:
    """A process that takes its time until it is told to end."""
    tell(name, "begun", os.getpid())
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        tell(name, "interrupted")


def end_orderly(name: str) -> None:
    """As `watch`, by a handler of its own for SIGTERM."""

    def end(number: int, _: Any) -> None:
        tell(name, "took", signal.Signals(number).name)
        raise SystemExit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    watch(name)


def refuse_to_end(name: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    watch(name)


def once(name: str) -> None:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    tell(name, "done", *sorted(signal.Signals(number).name for number in blocked))


TARGETS = {"watch": watch, "orderly": end_orderly, "deaf": refuse_to_end, "once": once}


class Commands(Inspector):
    async def double(self, number: int) -> int:
        return int(number) * 2


app.inspector_class = Commands


@app.main_process_ready
async def manage(app: Any) -> None:
    for name in os.environ.get("MANAGED", "").split():
        app.manager.manage(name, TARGETS[name], {"name": name}, restartable=name == "once")


@app.post("/terminate")
async def terminate(_: Request) -> Any:
    app.m.terminate()
    return json("terminating")


@app.post("/manage/<name>")
async def manage_later(_: Request, name: str) -> Any:
    app.m.manage(f"{name}-later", TARGETS[name], {"name": f"{name}-later"})
    return json("managed")


@app.post("/restart")
async def restart(request: Request) -> Any:
    name = request.args.get("name", "")
    app.m.restart(name, all_workers="all" in request.args, zero_downtime="gently" in request.args)
    return json("restarted")


@app.get("/pid")
async def pid(_: Request) -> Any:
    return json(os.getpid())


@app.get("/states")
async def states(_: Request) -> Any:
    return json({name: note.get("state") for name, note in app.m.workers.items()})
