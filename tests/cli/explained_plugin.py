"""A plugin whose middleware may not be called by commands."""

# Sanic's decorators have no types:
# pyright: reportUnknownMemberType=false

from typing import Any

from coregateway.sanic_app.gateway import Gateway


def look(_: Any) -> None:
    raise AssertionError


def own(_: Any) -> None:
    raise AssertionError


def sign(*_: Any) -> None:
    raise AssertionError


def attach(app: Gateway) -> None:
    app.on_request(look)
    app.backend("coretelemetry").on_request(own)
    app.on_response(sign)
