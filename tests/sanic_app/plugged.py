"""A plugin: an own route that tells its settings, and in which process it was attached."""

import os
from typing import Any

from pydantic import BaseModel
from sanic import Request, json

from coregateway.sanic_app.gateway import Gateway


class Settings(BaseModel):
    word: str = "none"


def attach(app: Gateway, settings: Settings) -> None:
    async def told(_: Request) -> Any:
        return json({"word": settings.word, "attached": attached_in == os.getpid()})

    attached_in = os.getpid()
    app.add_route(told, "/told")


def fail(_: Gateway) -> None:
    """Another function, which a plugin may name."""
    raise ValueError("it cannot be attached")


async def _later() -> None: ...


def wait(_: Gateway) -> Any:
    """A plain function that returns a coroutine."""
    return _later()
