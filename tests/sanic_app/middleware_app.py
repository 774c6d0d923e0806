"""The gateway with middleware: `sanic tests.sanic_app.middleware_app:app`.

What each one does to a request is said by the last segment of its path, so that one gateway serves all tests.
What they see goes to the log as `test.seen`.
"""

# Sanic's decorators have no types:
# pyright: reportUnknownMemberType=false, reportUntypedFunctionDecorator=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import asyncio
import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, cast

from sanic import Request, html, json, text
from sanic.exceptions import Forbidden, NotFound, SanicException, Unauthorized
from sanic.response import ResponseStream, file

from coregateway.app import app
from coregateway.logs import events as logs

__all__ = ["app"]

seen: ContextVar[str] = ContextVar("seen", default="nobody")
WAITING: set[str] = set()


class Mapped(Exception):
    """The application has a handler for it."""


@app.exception(Mapped)
def answer_mapped(_: Request, error: Mapped) -> Any:
    return text(f"mapped: {error}", status=418)


def told(**fields: Any) -> None:
    logs.event("test.seen", **fields)


def act(request: Request) -> str:
    """What the test wants to happen."""
    return request.path.rpartition("/")[2]


# Actions of request middleware, by name


def read_field(request: Request) -> None:
    told(action="read-field", value=request.headers.get("x-test"))


def look(request: Request) -> None:
    told(
        action="look",
        method=request.method,
        path=request.path,
        query=request.query_string,
        args={name: request.args.getlist(name) for name in request.args},
        agent=request.headers.get("user-agent"),
        all=request.headers.getall("x-many", []),
        host=request.headers.get("host"),
        cookies=dict(request.cookies),
        ip=request.ip,
        remote=request.remote_addr,
        id=str(request.id),
        token=request.token,
        route=request.route and request.route.name,
        endpoint=request.endpoint,
        match_info=dict(request.match_info),
        current=Request.get_current() is request,
        scheme=request.scheme,
        version=request.version,
        url=request.url,
        safe=request.is_safe,
        body=request.body.decode(),
        port=request.port > 0,
        head=request.head.decode(),
        accept=[str(one) for one in request.accept],
        type=request.content_type,
        stream=request.stream is not None,
        app=request.app is app,
        protocol=cast(Any, request.protocol) is request.transport.get_protocol(),
    )


def set_field(request: Request) -> None:
    request.headers["X-Tenant"] = "acme"


def change_fields(request: Request) -> None:
    headers = request.headers
    headers["x-test"] = "changed"
    headers.add("X-Many", "3")
    headers.setdefault("x-default", "new")
    headers.setdefault("x-kept", "not this")
    headers.update({"X-Updated": "1"})
    headers.extend([("X-Extended", "1"), ("X-Extended", "2")])
    headers.popall("x-gone")
    del headers["x-deleted"]
    headers.pop("x-none", None)
    headers["Authorization"] = "Bearer other"
    headers["X-Number"] = 7  # as Sanic takes it


def replace_fields(request: Request) -> None:
    request.headers = {**request.headers, "x-test": "replaced"}  # type: ignore[assignment]


def touch(name: str) -> Callable[[Request], None]:
    def change(request: Request) -> None:
        request.headers[name] = "1"

    return change


def keep(request: Request) -> None:
    before = seen.get()
    seen.set(request.path)
    told(action="keep", path=request.path, before=before)


async def wait(request: Request) -> None:
    WAITING.add(request.path)
    told(action="wait", state="begun", path=request.path)
    try:
        async with asyncio.timeout(30):
            await asyncio.sleep(float(request.args.get("for", "0.02")))
    except asyncio.CancelledError:
        told(action="wait", state="cancelled", path=request.path)
        raise
    request.headers["X-Waited"] = "yes"


async def timed(request: Request) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0))
    assert asyncio.current_task() is not None
    request.headers["X-Timed"] = "yes"


async def body(request: Request) -> None:
    await request.receive_body()
    request.headers["X-Body"] = f"{len(request.body)}"
    if request.content_type == "application/json":
        request.headers["X-Json"] = ",".join(request.json)


async def half_body(request: Request) -> None:
    stream: Any = request.stream
    piece = await stream.read()
    request.headers["X-Piece"] = str(len(piece or b""))


async def caught_body(request: Request) -> None:
    try:
        await request.receive_body()
    except Exception as error:
        request.headers["X-Caught"] = type(error).__name__


async def respond(request: Request) -> None:
    response: Any = await request.respond(content_type="text/plain")
    await response.send("in ")
    await asyncio.sleep(0)
    await response.send("pieces")
    await response.eof()


async def respond_and_fail(request: Request) -> None:
    response: Any = await request.respond(content_type="text/plain")
    await response.send("half")
    raise ValueError("a secret of the middleware")


async def streamed(_: Request) -> Any:
    async def write(response: Any) -> None:
        await response.write("old ")
        await response.write("way")

    return ResponseStream(write, content_type="text/plain")


async def whole_file(_: Request) -> Any:
    return await file(__file__)


def fail(_: Request) -> None:
    raise ValueError("a secret of the middleware")


async def fail_later(_: Request) -> None:
    await asyncio.sleep(0)
    raise ValueError("a secret of the middleware")


async def fail_at_once(_: Request) -> None:
    raise ValueError("a secret of the middleware")


def cancelled(_: Request) -> None:
    raise asyncio.CancelledError


async def cancelled_later(_: Request) -> None:
    raise asyncio.CancelledError


def raises(error: Exception) -> Callable[[Request], None]:
    def refuse(_: Request) -> None:
        raise error

    return refuse


def answers(response: Any) -> Callable[[Request], Any]:
    return lambda _: response()


class Callables:
    """Middleware that is no function."""

    async def __call__(self, request: Request) -> None:
        request.headers["X-Called"] = "object"


async def partly(name: str, request: Request) -> None:
    request.headers["X-Partly"] = name


def tell_consumer(request: Request) -> None:
    told(action="consumer", path=request.path, names=request.headers.getall("x-consumer", []))


def pop_consumer(request: Request) -> None:
    request.headers.pop("x-consumer")


def pop_host(request: Request) -> None:
    request.headers.pop("host")


def clear(request: Request) -> None:
    request.headers.clear()


ON_REQUEST: dict[str, Callable[[Request], Any]] = {
    "read-field": read_field,
    "look": look,
    "set-field": set_field,
    "change-fields": change_fields,
    "replace-fields": replace_fields,
    "keep": keep,
    "wait": wait,
    "timed": timed,
    "body": body,
    "half-body": half_body,
    "caught-body": caught_body,
    "respond": respond,
    "respond-and-fail": respond_and_fail,
    "streamed": streamed,
    "file": whole_file,
    "fail": fail,
    "fail-later": fail_later,
    "fail-at-once": fail_at_once,
    "cancelled": cancelled,
    "cancelled-later": cancelled_later,
    "no-response": answers(lambda: "a text"),
    "empty-answer": answers(lambda: ""),
    "answer": answers(lambda: json({"by": "middleware"}, status=203, headers={"X-One": "1"})),
    "html": answers(lambda: html("<p>")),
    "bad-status": answers(lambda: text("x", status=99)),
    "large": answers(lambda: text("x" * 300_000)),
    "forbidden": raises(Forbidden("not you", headers={"X-Why": "so"}, extra={"secret": "s3cret"})),
    "unauthorized": raises(Unauthorized("who?", scheme="Basic", realm="here")),
    "teapot": raises(SanicException("short", 418, quiet=True)),
    "not-found": raises(NotFound("no agent")),
    "mapped": raises(Mapped("so")),
    "object": Callables(),
    "partial": functools.partial(partly, "given"),
    "bad-value": lambda request: request.headers.update({"X-Bad": "a\r\nX-Injected: 1"}),
    "bad-name": lambda request: request.headers.update({"X Bad": "a"}),
    "bad-object": lambda request: request.headers.update({"X-Bad": Bad()}),
    **{
        f"touch-{name}": touch(name)
        for name in (
            *("Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "TE", "Via"),
            *("X-Request-ID", "X-Forwarded-For", "Proxy-Authorization", "Keep-Alive"),
            *("X-Consumer", "x_consumer", "X-Auth-Roles"),
        )
    },
    "consumer": tell_consumer,
    "pop-consumer": pop_consumer,
    "pop-host": pop_host,
    "clear": clear,
}


class Bad:
    """A value whose text is no field value."""

    def __str__(self) -> str:
        return "a\r\nX-Injected: 1"


@app.on_request
def first(request: Request) -> Any:
    """Not a coroutine function; what it returns may be one all the same."""
    action = ON_REQUEST.get(act(request))
    return None if action is None else action(request)


# Actions of response middleware, by name: the query's `then`


def look_at_answer(request: Request, response: Any) -> None:
    told(
        action="answer",
        path=request.path,
        status=response.status,
        kind=type(response).__name__,
        fields=sorted(response.headers),
        type=response.content_type,
        length=response.headers.get("content-length"),
        cookies=[str(one) for one in response.headers.getall("set-cookie", [])],
        location=response.headers.get("location"),
        began=getattr(request.ctx, "began", None),
        current=Request.get_current() is request,
        kept=seen.get(),
        body=repr(response.body),
    )


def change_answer(_: Request, response: Any) -> None:
    headers = response.headers
    headers["X-Changed"] = "new"
    headers.add("X-Many", "3")
    headers.pop("x-gone", None)
    headers["X-Request-ID"] = "fake"
    headers["X-CoreRL-Version"] = "fake"
    headers["Access-Control-Allow-Origin"] = "https://one.example"


def say_status(status: Any) -> Callable[[Request, Any], None]:
    def change(_: Request, response: Any) -> None:
        response.status = status

    return change


def touch_answer(name: str) -> Callable[[Request, Any], None]:
    def change(_: Request, response: Any) -> None:
        response.headers[name] = "1"

    return change


def change_cookies(_: Request, response: Any) -> None:
    response.add_cookie("own", "1", path="/x", secure=False)
    response.delete_cookie("theirs", path="/")


def set_date(_: Request, response: Any) -> None:
    response.headers["Date"] = "Thu, 01 Jan 1970 00:00:00 GMT"


def drop_date(_: Request, response: Any) -> None:
    response.headers.pop("date", None)


def set_body(_: Request, response: Any) -> None:
    response.body = b"other"


async def change_later(_: Request, response: Any) -> None:
    await asyncio.sleep(0.02)
    response.headers["X-Changed"] = "later"


async def change_at_once(_: Request, response: Any) -> None:
    assert asyncio.current_task() is not None
    response.headers["X-Changed"] = "at once"


async def hold_answer(request: Request, _: Any) -> None:
    told(action="hold", state="begun", path=request.path)
    try:
        await asyncio.sleep(20)
    except asyncio.CancelledError:
        told(action="hold", state="cancelled", path=request.path)
        raise


async def replace_later(_: Request, __: Any) -> Any:
    await asyncio.sleep(0.02)
    return text("replaced", status=202, headers={"X-By": "middleware"})


async def read_request(request: Request, response: Any) -> None:
    await request.receive_body()
    response.headers["X-Read"] = str(len(request.body))


def raises_at(error: BaseException) -> Callable[[Request, Any], None]:
    def refuse(_: Request, __: Any) -> None:
        raise error

    return refuse


async def fail_at_answer_later(_: Request, __: Any) -> None:
    await asyncio.sleep(0.02)
    raise ValueError("a secret of the middleware")


def replace(_: Request, __: Any) -> Any:
    return text("replaced", status=202, headers={"X-By": "middleware"})


async def stream_instead(request: Request, _: Any) -> Any:
    return await streamed(request)


def answer_with_text(_: Request, __: Any) -> Any:
    return "a text"


ON_RESPONSE: dict[str, Callable[[Request, Any], Any]] = {
    "look": look_at_answer,
    "change": change_answer,
    "cookies": change_cookies,
    "date": set_date,
    "no-date": drop_date,
    "body": set_body,
    "later": change_later,
    "at-once": change_at_once,
    "hold": hold_answer,
    "replace": replace,
    "replace-later": replace_later,
    "stream": stream_instead,
    "read": read_request,
    "fail": raises_at(ValueError("a secret of the middleware")),
    "fail-later": fail_at_answer_later,
    "cancelled": raises_at(asyncio.CancelledError()),
    "forbidden": raises_at(Forbidden("not this answer")),
    "no-response": answer_with_text,
    "bad-value": lambda _, response: response.headers.update({"X-Bad": "a\r\nX-Injected: 1"}),
    "bad-object": lambda _, response: response.headers.update({"X-Bad": Bad()}),
    **{f"status-{status}": say_status(status) for status in (200, 201, 204, 304, 404, 503, 999)},
    "status-none": say_status("none"),
    "status-100": say_status(100),
    **{
        f"touch-{name}": touch_answer(name)
        for name in ("Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Upgrade", "Trailer")
    },
}


def begin(request: Request) -> None:
    request.ctx.began = "by the first"


app.on_request(begin, priority=5)


@app.on_response
def last(request: Request, response: Any) -> Any:
    action = ON_RESPONSE.get(request.args.get("then", ""))
    return None if action is None else action(request, response)


# The order


def note(name: str) -> Callable[..., None]:
    def take_down(request: Request, response: Any = None) -> None:
        if "order" in request.args:
            headers = request.headers if response is None else response.headers
            headers["X-Order"] = f"{headers.get('x-order', '')}{name} "

    return take_down


app.on_request(note("third"))
app.on_request(note("first"), priority=9)
app.on_request(note("fourth"), priority=-1)
app.backend("coredinator").on_request(note("second"), priority=1)
app.backend("coretelemetry").on_request(note("other"))


@app.backend("coretelemetry").on_request
async def own(request: Request) -> None:
    if "own-waits" in request.args:
        await asyncio.sleep(0.01)
        request.headers["X-Waited"] = "own"
    if "own-refuses" in request.args:
        raise Forbidden("not to this one")


app.on_response(note("two"))
app.on_response(note("one"), priority=-1)
app.on_response(note("four"), priority=9)
app.backend("coredinator").on_response(priority=1)(note("three"))
