"""The subscribers of all of Sanic's events on plain Sanic: `sanic tests.sanic_app.plain_events_app:app`."""

# ruff: noqa: ARG001 -- handlers are called with what Sanic has for them
# Sanic's decorators have no types:
# pyright: reportUnknownMemberType=false, reportUntypedFunctionDecorator=false

from typing import Any

from sanic import Request, Sanic, text

from tests.sanic_app.eventful import attach, attach_middleware

app: Sanic[Any, Any] = Sanic("coregateway")
app.config.AUTO_EXTEND = False
attach(app)
attach_middleware(app)


@app.get("/readyz")
async def ready(request: Request) -> Any:
    return text("ready")
