"""A gateway with subscribers under conditions, and routes that wait for events.

`sanic tests.sanic_app.conditional_app:app`. What the subscribers were told goes to the log as `test.told`.
"""

# Sanic's decorators have no types:
# pyright: reportUnknownMemberType=false, reportUntypedFunctionDecorator=false, reportUnusedFunction=false

from typing import Any

from sanic import Blueprint, Request, json
from sanic_routing.exceptions import NotFound

from coregateway.app import app
from coregateway.logs import events as logs
from coregateway.model.exchange import Exchange

part = Blueprint("part")
ONE = {"backend": "coredinator"}


def subscriber(name: str) -> Any:
    def take(exchange: Exchange, event: str = "", **_: Any) -> None:
        logs.event("test.told", by=name, kind=event, id=exchange.request_id)

    return take


async def later(exchange: Exchange, event: str, **_: Any) -> None:
    logs.event("test.told", by="coroutine", kind=event, id=exchange.request_id)


app.signal("coregateway.exchange.finished")(subscriber("all"))
app.signal("coregateway.exchange.finished", condition=ONE)(subscriber("one"))
app.signal("coregateway.exchange.finished", condition={"backend": "coretelemetry"})(subscriber("other"))
app.signal("coregateway.exchange.finished", condition=ONE, exclusive=False)(subscriber("one or none"))
app.signal("coregateway.exchange.finished", condition={"colour": "blue"})(subscriber("never"))
app.signal("coregateway.exchange.started", condition=ONE)(subscriber("started"))
app.signal("coregateway.attempt.failed", condition=ONE)(subscriber("failed"))
app.signal("coregateway.attempt.failed", condition={"backend": "coretelemetry"})(subscriber("other failed"))
app.signal("coregateway.exchange.<event>")(subscriber("wildcard"))
app.signal("coregateway.exchange.<event>", condition=ONE)(subscriber("one wildcard"))
app.signal("coregateway.exchange.<event>")(later)
part.signal("coregateway.exchange.finished")(subscriber("blueprint"))
part.signal("coregateway.exchange.finished", condition=ONE)(subscriber("one blueprint"))
app.blueprint(part)


@app.get("/wait/<name>")
async def wait(request: Request, name: str) -> Any:
    """Wait for an event, and answer with what it brings."""
    backend = request.args.get("backend")
    options: dict[str, Any] = {"condition": {"backend": backend}} if backend else {}
    options["exclusive"] = "shared" not in request.args
    try:
        told: Any = await app.event(name, float(request.args.get("timeout", "30")), **options)
    except TimeoutError:
        return json("timeout")
    except NotFound as error:
        return json(str(error))
    told = {name: getattr(value, "path", value) for name, value in told.items()}
    if "exchanges" in told:
        told["exchanges"] = [exchange.path for exchange in told["exchanges"]]
    return json(told)
