"""Subscribers of every one of Sanic's events of connections and requests, for plain Sanic and the gateway.

Each writes a line into the file that EVENTS names: the event, and what it was told of; that of the response
also how many events the request's `ctx` has seen. `?fail=EVENT` has the subscriber of that event refuse the
request, `?break=EVENT` fail.
"""

# ruff: noqa: ARG001 -- handlers are called with what Sanic has for them
# Sanic's decorators have no types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUntypedFunctionDecorator=false, reportUnusedFunction=false

import os
from pathlib import Path
from typing import Any

from sanic import Request, Sanic, text
from sanic.exceptions import Forbidden, SanicException
from sanic.signals import RESERVED_NAMESPACES

PATH = Path(os.environ.get("EVENTS", os.devnull))


def write(*words: object) -> None:
    with PATH.open("a") as events:
        events.write(" ".join(map(str, words)) + "\n")


def current() -> Request | None:
    return Request._current.get(None)  # pyright: ignore[reportPrivateUsage] -- get_current raises


def describe(told: dict[str, Any]) -> list[object]:
    """What an event brings, as far as it must be the same on both."""
    words: list[object] = []
    for name, value in sorted(told.items()):
        match name:
            case "head":
                words += [value.split(b"\r\n")[0].decode(), value.count(b"\r\n")]
            case "body":
                words.append(len(value))
            case "data":
                words.append("head" if value.startswith(b"HTTP/") else "more")
            case "request":
                words += [value.method, value.path, value.route and value.route.name]
            case "response":
                words.append(value and value.status)
            case "conn_info":
                words += [value.client, value.lost]
            case "exception":
                words += [type(value).__name__, value]
            case "route":
                words.append(value.name)
            case "kwargs":
                words.append(value)
            case _:
                words.append(name)
    return words


def subscribe(app: Sanic[Any, Any], event: str, **options: Any) -> None:
    async def take(**told: Any) -> None:
        write(event, *options.get("condition", {}).values(), *describe(told))
        request = told.get("request") or current()
        asked = told["head"].decode() if "head" in told else request and request.raw_url.decode()
        if "request" in told:
            ctx = told["request"].ctx
            ctx.told = getattr(ctx, "told", 0) + 1
            if event == "http.lifecycle.response":
                write("seen", ctx.told)
        if f"?fail={event}" in (asked or ""):
            raise Forbidden(f"by {event}")
        if f"?break={event}" in (asked or ""):
            raise LookupError("a defect of a subscriber")

    app.signal(event, **options)(take)


def attach(app: Sanic[Any, Any]) -> None:
    for event in (*RESERVED_NAMESPACES["http"], *RESERVED_NAMESPACES["websocket"]):
        if event.startswith("http.middleware."):
            for kind in ("request", "response"):
                subscribe(app, event, condition={"attach_to": kind})
        else:
            subscribe(app, event)

    @app.report_exception
    async def report(app: Any, error: Exception) -> None:
        write("reported", type(error).__name__)

    @app.get("/plain")
    async def plain(request: Request) -> Any:
        return text("plain")

    @app.post("/body")
    async def body(request: Request) -> Any:
        return text(str(len(request.body)))

    @app.get("/pieces")
    async def pieces(request: Request) -> None:
        response: Any = await request.respond()
        await response.send("one")
        await response.send("two")

    @app.get("/refuses")
    async def refuses(request: Request) -> Any:
        raise SanicException("not now", 409)

    @app.get("/breaks")
    async def breaks(request: Request) -> Any:
        raise ValueError("a defect")

    @app.websocket("/echo")
    async def echo(request: Request, ws: Any) -> None:
        message = await ws.recv()
        if message == "fail":
            raise ValueError("a defect")
        await ws.send(message)


def attach_middleware(app: Sanic[Any, Any]) -> None:
    async def before(request: Request) -> None:
        write("on_request")

    async def after(request: Request, response: Any) -> None:
        write("on_response")

    app.register_middleware(before, "request")
    app.register_middleware(after, "response")
