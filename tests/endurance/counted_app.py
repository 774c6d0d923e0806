"""The gateway with a route that counts what a worker holds: `sanic tests.endurance.counted_app:app`.

`GET /counts` tells the numbers of tasks, client connections and, summed over the pools, of requests and slots
(see `counting.Counts`); the request that asks is not among them. `GET /counts?collect` collects garbage
before, for longer than others may be disturbed. `GET /busy?seconds=0.5` keeps the worker's loop from turning
for so long.
"""

import gc
import re
import sys
import time
from asyncio import all_tasks
from collections import Counter

from sanic.request import Request
from sanic.response import HTTPResponse, json

from coregateway.app import app

__all__ = ["app"]

_counted = re.compile(r"(\d+) (active|queued|idle|opening)").findall


@app.get("/counts")
async def counts(request: Request) -> HTTPResponse:
    if "collect" in request.query_string:
        gc.collect()
    held: Counter[str] = Counter()
    for backend in request.app.ctx.backends.values():
        # Of a pool: requests that are active, and queued; connections that are active, idle, and opening.
        names = ("requests", "queued", "slots", "idle", "slots")
        for name, (number, _) in zip(names, _counted(repr(backend.pool)), strict=True):
            held[name] += int(number)
    connections = request.app.ctx.worker.connections
    return json(
        {
            **held,
            "blocks": sys.getallocatedblocks(),
            "tasks": len(all_tasks()) - 1,
            "clients": len(connections) - 1,
        }
    )


@app.get("/busy")
async def busy(request: Request) -> HTTPResponse:
    time.sleep(float(request.args["seconds"][0]))  # noqa: ASYNC251 -- that is the purpose
    return json({})
