"""One blueprint of all that an own route may do, for plain Sanic and for the gateway alike."""

# ruff: noqa: ARG001, ARG002 -- handlers are called with what Sanic has for them
# Sanic's decorators have no types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUntypedFunctionDecorator=false, reportUnusedFunction=false

import asyncio
from pathlib import Path
from typing import Any, cast

from sanic import Blueprint, Request, Sanic, empty, file, html, json, raw, redirect, text
from sanic.exceptions import (
    BadRequest,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    SanicException,
    ServerError,
    ServiceUnavailable,
    Unauthorized,
)
from sanic.response import ResponseStream, file_stream
from sanic.views import HTTPMethodView

HERE = Path(__file__)
everything = Blueprint("everything", url_prefix="/all")
guarded = Blueprint("guarded", url_prefix="/guarded")
part = Blueprint("part", url_prefix="/part")
group = Blueprint.group(part, url_prefix="/group", version=3, version_prefix="/api/v")


class Teapot(SanicException):
    status_code = 418
    quiet = True
    message = "short and stout"


class Handled(Exception):
    """By a handler of the application."""


class HandledByBlueprint(Exception):
    pass


class HandledByGroup(Exception):
    """By a handler of a group of blueprints."""


class HandledLater(Exception):
    """By a coroutine function."""


class Unhandled(Exception):
    """Its handler answers nothing."""


class Added(Exception):
    """By `app.error_handler.add`."""


class HandlerFails(Exception):
    pass


class HandlerFailsLater(Exception):
    pass


class HandlerRefuses(Exception):
    pass


EXCEPTIONS: dict[str, Any] = {
    "400": BadRequest("no such thing"),
    "401": Unauthorized("who are you?", scheme="Basic", realm="here"),
    "403": Forbidden("not you"),
    "404": NotFound("no agent 7"),
    "405": MethodNotAllowed("not like this", "GET", ["PUT"]),
    "409": SanicException("it is there already", 409),
    "413": PayloadTooLarge("too much"),
    "418": Teapot(),
    "418-text": Teapot("tall"),
    "429": SanicException("slow down", 429, headers={"Retry-After": "7"}),
    "500": ServerError("it broke"),
    "503": ServiceUnavailable("later", headers={"Retry-After": "9"}),
    "599": SanicException("odd", 599),
    "bytes": SanicException(b"as bytes", 400),
    "no-text": SanicException(status_code=403),
    "context": SanicException("look", 409, context={"agent": 7}, extra={"secret": "s3cret"}),
    "quiet": SanicException("hush", 500, quiet=True),
    "plain": ValueError("nobody's business"),
    "handled": Handled("so"),
    "handled-by-blueprint": HandledByBlueprint("so"),
    "handled-later": HandledLater("so"),
    "unhandled": Unhandled("so"),
    "added": Added("so"),
    "handler-fails": HandlerFails("so"),
    "handler-fails-later": HandlerFailsLater("so"),
    "handler-refuses": HandlerRefuses("so"),
}


@everything.get("/raise/<name>")
async def raise_one(request: Request, name: str) -> Any:
    raise EXCEPTIONS[name]


@everything.get("/raise-json/<name>", error_format="json")
async def raise_as_json(request: Request, name: str) -> Any:
    raise EXCEPTIONS[name]


@everything.get("/raise-text/<name>", error_format="text")
async def raise_as_text(request: Request, name: str) -> Any:
    raise EXCEPTIONS[name]


@everything.get("/raise-html/<name>", error_format="html")
async def raise_as_html(request: Request, name: str) -> Any:
    raise EXCEPTIONS[name]


@everything.get("/determined")
async def determined(request: Request) -> Any:
    if request.args:
        raise SanicException("its handler returns JSON", 409)
    return json({})


@everything.exception(HandledByBlueprint)
async def handle_in_blueprint(request: Request, error: Exception) -> Any:
    return json({"by": "blueprint", "error": str(error)}, status=422)


@everything.get("/text")
def in_text(request: Request) -> Any:
    return text("ü", headers={"X-One": "1"})


@everything.get("/html")
async def in_html(request: Request) -> Any:
    return html("<p>x</p>", status=203)


@everything.get("/raw")
async def in_bytes(request: Request) -> Any:
    return raw(b"\0\xff", content_type="application/x-any")


@everything.get("/empty")
async def nothing(request: Request) -> Any:
    return empty()


@everything.get("/none")
async def none(request: Request) -> Any:
    return None


@everything.get("/redirect")
async def elsewhere(request: Request) -> Any:
    return redirect(request.app.url_for("everything.in_text"))


@everything.route("/inspect/<number:int>/<word>", methods=["GET", "POST", "PUT"])
async def inspect(request: Request, number: int, word: str) -> Any:
    """What a handler sees of its request."""
    current = Request.get_current()
    conn = request.conn_info
    assert conn is not None
    return json(
        {
            "method": request.method,
            "path": request.path,
            "raw": request.raw_url.decode(),
            "server_name": conn.server_name,
            "certificate": conn.cert,
            "query": request.query_string,
            "args": dict(request.args),
            "pairs": request.query_args,
            "number": [number, type(number).__name__],
            "word": word,
            "matched": {name: str(value) for name, value in request.match_info.items()},
            "template": request.uri_template,
            "name": request.name,
            "endpoint": request.endpoint,
            "cookies": dict(request.cookies),
            "token": request.token,
            "credentials": request.credentials and request.credentials.auth_type,
            "agent": request.headers.get("user-agent"),
            "all": request.headers.getall("x-many", []),
            "accept": [str(one) for one in request.accept],
            "type": request.content_type,
            "version": request.version,
            "scheme": request.scheme,
            "host": request.host,
            "server": request.server_name,
            "url": request.url.replace(f":{request.server_port}", ""),
            "ip": request.ip,
            "client": request.client_ip,
            "remote": request.remote_addr,
            "forwarded": dict(request.forwarded),
            "id": [str(request.id), type(request.id).__name__] if "x-request-id" in request.headers else None,
            "id type": type(request.id).__name__,
            "current": current is request,
            "body": request.body.decode(),
            "lost": conn.lost,
            "ssl": conn.ssl,
            "stream": request.stream is not None,
            "line": request.request_line.decode(),
            "protocol": cast(Any, request.protocol) is request.transport.get_protocol(),
            "peer": request.transport.get_extra_info("peername")[0],
            "closing": request.transport.is_closing(),
            "safe": [request.is_safe, request.is_idempotent, request.is_cacheable],
        }
    )


@everything.get("/current")
async def current_elsewhere(request: Request) -> Any:
    async def elsewhere() -> str:
        await asyncio.sleep(0)
        return Request.get_current().path

    return text(await asyncio.create_task(elsewhere()))


@everything.get("/visits")
async def visits(request: Request) -> Any:
    """How often this connection was here."""
    assert request.conn_info is not None
    ctx = request.conn_info.ctx
    ctx.visits = getattr(ctx, "visits", 0) + 1
    return text(str(ctx.visits))


@everything.get("/cookies")
async def cookies(request: Request) -> Any:
    response = text("; ".join(f"{name}={value}" for name, value in request.cookies.items()))
    response.add_cookie("a", "1", path="/all", httponly=True, secure=False)
    response.add_cookie("b", "two words", max_age=60)
    response.delete_cookie("c")
    return response


@everything.post("/form")
async def form(request: Request) -> Any:
    files = request.files or {}
    uploads = {name: [one.name, one.type, one.body.decode()] for name, (one, *_) in files.items()}
    return json({"form": dict(request.form or {}), "files": uploads})


@everything.post("/json")
async def as_json(request: Request) -> Any:
    return json(request.json)


@everything.post("/upload", stream=True)
async def upload(request: Request) -> Any:
    size = 0
    stream: Any = request.stream
    async for data in stream:
        size += len(data)
    return text(str(size))


@everything.post("/read", stream=True)
async def read(request: Request) -> Any:
    stream: Any = request.stream
    pieces: list[bytes] = []
    while (data := await stream.read()) is not None:
        pieces.append(data)
    return raw(b"".join(pieces))


@everything.post("/whole", stream=True)
async def whole(request: Request) -> Any:
    await request.receive_body()
    return raw(request.body)


@everything.post("/unread", stream=True)
async def unread(request: Request) -> Any:
    return text("not read")


@everything.route("/pieces", methods=["GET", "HEAD"])
async def pieces(request: Request) -> None:
    response: Any = await request.respond(content_type="text/plain", headers={"X-One": "1"})
    for piece in ("one ", "two ", "three"):
        await response.send(piece)
        await asyncio.sleep(0)
    await response.eof()


@everything.route("/open-end", methods=["GET", "HEAD"])
async def open_end(request: Request) -> None:
    response: Any = await request.respond(content_type="text/event-stream")
    await response.send("data: 1\n\n")


@everything.route("/sized", methods=["GET", "HEAD"])
async def sized(request: Request) -> None:
    response: Any = await request.respond(headers={"Content-Length": "6"})
    await response.send(b"abc")
    await response.send(b"def")


@everything.get("/respond-once")
async def respond_once(request: Request) -> None:
    await request.respond(json({"so": True}, status=202))


@everything.get("/respond-twice")
async def respond_twice(request: Request) -> Any:
    await request.respond(text("first"))
    return await request.respond(text("second"))


@everything.route("/stream", methods=["GET", "HEAD"])
async def old_stream(request: Request) -> Any:
    async def write(response: Any) -> None:
        await response.write("old ")
        await response.write("way")

    return ResponseStream(write, content_type="text/plain")


@everything.route("/file", methods=["GET", "HEAD"])
async def whole_file(request: Request) -> Any:
    return await file(HERE, request_headers=request.headers, last_modified=1_700_000_000)


@everything.route("/file-stream", methods=["GET", "HEAD"])
async def streamed_file(request: Request) -> Any:
    return await file_stream(HERE, chunk_size=500)


class View(HTTPMethodView):
    async def get(self, request: Request) -> Any:
        return text("view get")

    def put(self, request: Request) -> Any:
        return text("view put")


everything.add_route(View.as_view(), "/view")
everything.static("/static", HERE.parent, name="files", use_content_range=True)


@everything.get("/versioned", version=2)
async def versioned(request: Request) -> Any:
    return text("v2")


@everything.get("/hosted", host="one.example", name="hosted_one")
async def hosted_one(request: Request) -> Any:
    return text("one")


@everything.get("/hosted", host="two.example", name="hosted_two")
async def hosted_two(request: Request) -> Any:
    return text("two")


@everything.get("/strict/", strict_slashes=True)
async def strict(request: Request) -> Any:
    return text("strict")


@everything.get("/unquoted/<word>", unquote=True)
async def unquoted(request: Request, word: str) -> Any:
    return text(word)


@everything.get("/labelled", ctx_label="blue")
async def labelled(request: Request) -> Any:
    assert request.route is not None
    return text(request.route.ctx.label)


@everything.get("/typed/<at:ymd>/<ratio:float>/<id:uuid>")
async def typed(request: Request, at: Any, ratio: float, id: Any) -> Any:  # noqa: A002 -- the name of a parameter
    return json([str(at), ratio, str(id), type(id).__name__])


@everything.get("/pattern/<word:[a-z]{3}>")
async def pattern(request: Request, word: str) -> Any:
    return text(word)


@everything.get("/data")
async def data(request: Request) -> Any:
    response: Any = json({"a": 1})
    response.update({"b": 2})
    response.headers.add("X-Two", "1")
    response.headers.add("X-Two", "2")
    return response


@everything.route("/coded", methods=["GET", "HEAD"])
async def coded(request: Request) -> Any:
    return raw(b"", status=int(request.args.get("status", "200")))


@everything.get("/ignored", ignore_body=True)
async def ignored(request: Request) -> Any:
    return text(repr(request.body))


@everything.websocket("/chat", subprotocols=["chat", "other"], name="chat")  # pyright: ignore[reportArgumentType] -- of a route and its handler Sanic gives the handler
@everything.websocket("/echo")
async def echo(request: Request, ws: Any) -> None:
    async for message in ws:
        if message == "close":
            return
        if message == "fail":
            raise ValueError("a defect")
        if message == "who":
            message = f"{request.path} {ws.subprotocol} {Request.get_current() is request}"
        await ws.send(message)


@everything.websocket("/closes")
async def closes(request: Request, ws: Any) -> None:
    await ws.close(4001, "enough")


@everything.websocket("/greets/<name>")
async def greets(request: Request, ws: Any, name: str) -> None:
    await ws.send(f"hello {name}")
    async for _ in ws:  # to the client's end
        pass


@everything.websocket("/deaf")
async def deaf(request: Request, ws: Any) -> None:
    await asyncio.sleep(3600)


@everything.get("/tasks")
async def tasks(request: Request) -> Any:
    return text(str(len(asyncio.all_tasks())))


@guarded.on_request
async def guard(request: Request) -> Any:
    request.ctx.began = "here"
    if "stop" in request.args:
        return text("stopped", status=403)
    if "refuse" in request.args:
        raise Forbidden("by middleware")
    if "fail" in request.args:
        raise ValueError("a defect of middleware")
    return None


@guarded.on_response
async def sign(request: Request, response: Any) -> Any:
    response.headers["X-Began"] = getattr(request.ctx, "began", "nowhere")
    if "replace" in request.args:
        return text("replaced")
    if "break" in request.args:
        raise ValueError("a defect of middleware")
    return None


@guarded.get("/")
async def inside(request: Request) -> Any:
    return text(request.ctx.began)


@guarded.get("/pieces")
async def inside_pieces(request: Request) -> None:
    response: Any = await request.respond()
    await response.send("a")
    await response.send("b")


@part.get("/", name="first")
async def in_group(request: Request) -> Any:
    return text(f"{request.app.url_for('part.first')} {request.name}")


@part.on_request(priority=1)  # pyright: ignore[reportCallIssue] -- its overloads know no priority
async def lower(request: Request) -> None:
    request.ctx.order = [*getattr(request.ctx, "order", []), "lower"]


@part.on_request(priority=9)  # pyright: ignore[reportCallIssue] -- likewise
async def higher(request: Request) -> None:
    request.ctx.order = [*getattr(request.ctx, "order", []), "higher"]


@part.on_response
async def first_written(request: Request, response: Any) -> None:
    response.headers["X-Order"] = " ".join([*request.ctx.order, response.headers.get("X-Order", "")])


@part.on_response
async def last_written(request: Request, response: Any) -> None:
    response.headers["X-Order"] = "last"


@group.exception(HandledByGroup)  # pyright: ignore[reportArgumentType] -- it takes classes
async def handle_in_group(request: Request, error: Exception) -> Any:
    return text(f"by the group: {error}", status=409)


@part.get("/fails")
async def fails(request: Request) -> Any:
    raise HandledByGroup("so")


def attach(app: Sanic[Any, Any]) -> None:
    app.blueprint(everything)
    app.blueprint(guarded)
    app.blueprint(group)

    @app.exception(Handled, KeyError)
    def handle(request: Request, error: Exception) -> Any:
        return json({"by": "application", "error": str(error)}, status=299, headers={"X-By": "app"})

    @app.exception(HandledLater)
    async def handle_later(request: Request, error: Exception) -> Any:
        await asyncio.sleep(0)
        return text(f"later {error}", status=444)

    @app.exception(Unhandled)
    async def handle_not(request: Request, error: Exception) -> Any:
        return None

    @app.exception(HandlerFails)
    def fail(request: Request, error: Exception) -> Any:
        raise ValueError("a defect of a handler")

    @app.exception(HandlerFailsLater)
    async def fail_later(request: Request, error: Exception) -> Any:
        raise ValueError("a defect of a handler")

    @app.exception(HandlerRefuses)
    async def refuse(request: Request, error: Exception) -> Any:
        raise Forbidden("by the handler")

    def added(request: Request, error: Exception) -> Any:
        return text(f"added {error}", status=298)

    app.error_handler.add(Added, added)
