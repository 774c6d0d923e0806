"""`/dashboard`, its files, and the stream of events that feeds it.

The page shows paths that strangers have sent. It puts them in as text, and its policy lets no script run but
its own file, none of it from another host.
"""

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from sanic import Blueprint
from sanic.response import HTTPResponse

from coregateway.endpoints.dashboard.feed import Feed
from coregateway.endpoints.dashboard.history import hour
from coregateway.sanic_app.documents import excluded
from coregateway.sanic_app.request import GatewayRequest
from coregateway.settings import Settings

if TYPE_CHECKING:
    from coregateway.sanic_app.gateway import Gateway

METHODS = ("GET", "HEAD")

FILES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/past.js": ("past.js", "text/javascript; charset=utf-8"),
    "/refusals.js": ("refusals.js", "text/javascript; charset=utf-8"),
    "/request.js": ("request.js", "text/javascript; charset=utf-8"),
    "/plots.js": ("plots.js", "text/javascript; charset=utf-8"),
}
"""By path under `/dashboard`."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

ANSWER_HEADERS = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

STREAM_HEADERS = {**ANSWER_HEADERS, "X-Accel-Buffering": "no"}  # some proxies would collect events

BEGIN = b"retry: 2000\n\n"
"""Milliseconds after which a browser asks again when the stream has ended."""


def attach(app: "Gateway", operators: "Gateway", settings: Settings) -> None:
    """Serve the page on the admin address, and on the main port if the settings say so.

    To be called after `workers.attach`.
    """
    if not settings.dashboard.enabled:
        return
    feeds: list[Feed] = []
    operators.blueprint(blueprint(feeds, controls=True))
    if settings.dashboard.on_main_port:
        app.blueprint(blueprint(feeds, controls=False))

    def follow(settings: Settings) -> None:
        for feed in feeds:
            feed.settings = settings

    async def begin(app: "Gateway") -> None:
        feeds.append(Feed(app.ctx.settings, app.ctx.board, app.ctx.node, lambda: app.ctx.drained))

    async def end(_: "Gateway") -> None:
        for feed in feeds:
            feed.close()

    app.ctx.followers.append(follow)
    app.register_listener(begin, "before_server_start")
    app.register_listener(end, "before_server_stop")


def blueprint(feeds: list[Feed], *, controls: bool) -> Blueprint:
    """The routes; `feeds` holds the worker's feed once it serves. `controls`: the page may change it."""
    routes = Blueprint("dashboard", url_prefix="/dashboard")
    for path, (name, media_type) in FILES.items():
        body = (Path(__file__).parent / name).read_bytes()
        if controls and not path:
            body = body.replace(b"<body>", b"<body data-controls>")
        _add_file(routes, path, body, media_type)

    @routes.get("/events")
    @excluded  # the page's own business
    async def events(request: GatewayRequest) -> None:
        async with aclosing(feeds[0].watch()) as watch:
            first = await anext(watch)
            response = HTTPResponse(headers=STREAM_HEADERS, content_type="text/event-stream")
            await request.respond(response)
            await response.send(BEGIN + first)
            async for event in watch:
                await response.send(event)
            await response.eof()

    @routes.get("/history")
    @excluded
    async def history(request: GatewayRequest) -> HTTPResponse:
        name: str | None = request.args.get("backend")
        told = await hour(feeds[0].history, name or "")
        return HTTPResponse(orjson.dumps(told), headers=ANSWER_HEADERS, content_type="application/json")

    return routes


def _add_file(routes: Blueprint, path: str, body: bytes, media_type: str) -> None:
    async def answer(_: GatewayRequest) -> HTTPResponse:
        return HTTPResponse(body, headers=HEADERS, content_type=media_type)

    name = path.removeprefix("/").replace(".", "_") or "page"
    routes.route(path, METHODS, name=name, ignore_body=True)(excluded(answer))
