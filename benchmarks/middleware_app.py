"""The gateway with middleware, for `costs.py`: `sanic middleware_app:reads`, and the like below."""

# Sanic's decorators have no types:
# pyright: reportUnknownMemberType=false

from argparse import Namespace
from asyncio import sleep
from functools import partial
from typing import Any

from coregateway.app import create_app
from coregateway.sanic_app.gateway import Gateway


def read(request: Any) -> None:
    request.headers.get("x-tenant")


async def read_without_waiting(request: Any) -> None:
    request.headers.get("x-tenant")


async def wait(_: Any) -> None:
    await sleep(0)


def set_on_request(request: Any) -> None:
    request.headers["X-Tenant"] = "acme"


def set_on_response(_: Any, response: Any) -> None:
    response.headers["X-Tenant"] = "acme"


def reads(arguments: Namespace) -> Gateway:
    app = create_app(arguments)
    app.on_request(read)
    return app


def reads_as_coroutine(arguments: Namespace) -> Gateway:
    app = create_app(arguments)
    app.on_request(read_without_waiting)
    return app


def reads_elevenfold(arguments: Namespace) -> Gateway:
    app = create_app(arguments)
    for _ in range(11):
        app.on_request(partial(read))  # which is another each time
    return app


def sets(arguments: Namespace) -> Gateway:
    app = create_app(arguments)
    app.on_request(set_on_request)
    app.on_response(set_on_response)
    return app


def waits(arguments: Namespace) -> Gateway:
    app = create_app(arguments)
    app.on_request(wait)
    return app
