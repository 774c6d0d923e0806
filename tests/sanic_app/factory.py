"""Factories of applications, for `--factory`."""

from argparse import Namespace
from typing import Any

from sanic import Request, text

from coregateway.app import create_app
from coregateway.sanic_app.gateway import Gateway


def _with_route(app: Gateway) -> Gateway:
    async def own(_: Request) -> Any:
        return text("own")

    app.add_route(own, "/own")
    return app


def make() -> Gateway:
    return _with_route(create_app())


def make_by_options(options: Namespace) -> Gateway:
    """`options`: of Sanic's command line."""
    return _with_route(create_app(options))
