"""A gateway whose number of workers a request changes: `sanic tests.sanic_app.scaled_app:app`."""

import asyncio
import os
from typing import Any

from sanic import Request, json

from coregateway.app import app


async def workers(_: Request) -> Any:
    """Those of the node, and who answers."""
    node = [[worker.number, worker.state] for worker in app.ctx.node.workers()]
    return json({"node": node, "pid": os.getpid(), "name": app.m.name})


async def scale(_: Request, number: int) -> Any:
    app.m.scale(number)
    return json(number)


async def slow(_: Request) -> Any:
    await asyncio.sleep(1.0)
    return json("complete")


app.add_route(workers, "/workers")
app.add_route(scale, "/scale/<number:int>", methods=["POST"])
app.add_route(slow, "/slow")
