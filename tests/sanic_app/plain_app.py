"""The blueprint of everything on plain Sanic: `sanic tests.sanic_app.plain_app:app`."""

# ruff: noqa: ARG001 -- handlers are called with what Sanic has for them
# Sanic's decorators have no types:
# pyright: reportUnknownMemberType=false, reportUntypedFunctionDecorator=false

from typing import Any

from sanic import Request, Sanic, text

from tests.sanic_app.everything import attach

app: Sanic[Any, Any] = Sanic("coregateway")  # names are a part of some answers
app.config.AUTO_EXTEND = False  # sanic-ext is installed, and would add pages, fields and methods
attach(app)


@app.get("/readyz")
async def ready(request: Request) -> Any:
    return text("ready")
