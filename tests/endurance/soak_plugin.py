"""A plugin of the gateway that is soaked: `GET /counts` tells what a worker holds, and middleware runs."""

import os
import sys
from asyncio import all_tasks
from typing import Any

from sanic.request import Request
from sanic.response import HTTPResponse, json


def attach(app: Any) -> None:
    @app.get("/counts")
    async def counts(_: Request) -> HTTPResponse:
        return json({"pid": os.getpid(), "tasks": len(all_tasks()) - 1, "blocks": sys.getallocatedblocks()})

    @app.backend("retried").on_request
    async def mark(request: Request) -> None:
        request.ctx.began = request.headers.get("x-request-id")
        request.headers["X-Seen"] = "yes"

    @app.backend("retried").on_response
    def tell(_: Request, response: HTTPResponse) -> None:
        response.headers["X-Told"] = "yes"
