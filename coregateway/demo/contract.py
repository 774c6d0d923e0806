"""What both demo backends share with FastAPI services: how they answer, refuse and describe themselves.

Routes are registered together with their description, so that `/openapi.json` lists what is served. Errors
are `{"detail": …}`, values that do not fit are 422 with pydantic's words, and a path that lacks its trailing
slash (or has some too many) is redirected with 307 to an absolute `Location`.
"""

import json
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from sanic import HTTPResponse, Request, Sanic
from sanic.exceptions import MethodNotAllowed, NotFound, SanicException
from sanic.log import error_logger
from sanic.response import BaseHTTPResponse

import coregateway

VERSION = f"{coregateway.__version__}+demo"

type App = Sanic[Any, Any]
type Schema = Mapping[str, Any]
type Handler = Callable[..., Coroutine[Any, Any, HTTPResponse | None]]

STRING: Schema = {"type": "string"}
DETAIL: Schema = {"type": "object", "properties": {"detail": STRING}, "required": ["detail"]}
INVALID: Schema = {
    "type": "object",
    "properties": {
        "detail": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "type": STRING,
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": STRING,
                },
                "required": ["type", "loc", "msg"],
            },
        }
    },
    "required": ["detail"],
}


class RefusalError(Exception):
    """Answered with `status` and `{"detail": detail}`."""

    def __init__(self, status: int, detail: object, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status
        self.detail = detail
        self.headers = headers


def answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> HTTPResponse:
    body = json.dumps(content, separators=(",", ":"))
    return HTTPResponse(body, status, dict(headers or {}), "application/json")


def query[Model: BaseModel](request: Request, model: type[Model]) -> Model:
    """The query as `model`; of a repeated parameter the last counts. Raises `RefusalError` with 422."""
    given: dict[str, list[str]] = dict(request.get_args(keep_blank_values=True))
    return _fit(model, {name: values[-1] for name, values in given.items()}, "query")


def body[Model: BaseModel](request: Request, model: type[Model]) -> Model:
    """The JSON body as `model`. Raises `RefusalError` with 422, or 400 if it cannot be read at all."""
    if not request.body:
        missing = {"type": "missing", "loc": ["body"], "msg": "Field required", "input": None}
        raise RefusalError(422, [missing])
    try:
        content = json.loads(request.body)
    except json.JSONDecodeError as error:
        words = {"type": "json_invalid", "loc": ["body", error.pos], "msg": "JSON decode error"}
        raise RefusalError(422, [{**words, "input": {}, "ctx": {"error": error.msg}}]) from None
    except (UnicodeDecodeError, RecursionError):
        raise RefusalError(400, "There was an error parsing the body") from None
    return _fit(model, content, "body")


def _fit[Model: BaseModel](model: type[Model], content: object, place: str) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        mistakes = json.loads(error.json(include_url=False))
        for mistake in mistakes:
            mistake["loc"].insert(0, place)
            if place == "query" and mistake["type"] == "missing":
                mistake["input"] = None
        raise RefusalError(422, mistakes) from None


class Contract:
    """The routes of one backend, added to `app` and to the OpenAPI document (3.1) that it serves."""

    def __init__(self, app: App, title: str, description: str) -> None:
        self._app = app
        self._paths: dict[str, dict[str, Any]] = {}
        self._document = {
            "openapi": "3.1.0",
            "info": {"title": title, "version": VERSION, "description": description},
            "paths": self._paths,
        }
        app.add_route(self._describe, "/openapi.json", strict_slashes=True)
        # Sanic leaves open what requests and responses its decorators take.
        app.on_response(_name_version)  # pyright: ignore[reportUnknownMemberType]
        app.exception(Exception)(_refuse)  # pyright: ignore[reportUnknownMemberType]

    def route(
        self,
        method: str,
        path: str,
        summary: str,
        answers: Mapping[int, tuple[str, Schema]],
        *,
        query: Mapping[str, tuple[Schema, bool]] | None = None,
        body: Schema | None = None,
        media_type: str = "application/json",
        upload: bool = False,
        websocket: bool = False,
    ) -> Callable[[Handler], Handler]:
        """A decorator for the handler of `method` on `path`, whose parameters stand in braces.

        `answers` gives the words and the schema of every status; `query` the schema of each parameter and
        whether it must be there; `media_type` is that of the answer 200. 422 is added here where it can be.
        An `upload` has a body of any bytes, which the handler reads from `request.stream` as they come. The
        handler of a `websocket` gets the open WebSocket after the request; 426 without a handshake is added.
        """
        answers = (
            {**answers, 422: ("A value is missing or does not fit", INVALID)} if query or body else answers
        )
        if websocket:
            answers = {**answers, 426: ("No WebSocket handshake", DETAIL)}
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": STRING}
            for name in re.findall(r"{(\w+)}", path)
        ] + [
            {"name": name, "in": "query", "required": required, "schema": schema}
            for name, (schema, required) in (query or {}).items()
        ]
        operation: dict[str, Any] = {
            "summary": summary,
            "operationId": re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_"),
            "parameters": parameters,
            "responses": {
                str(status): {
                    "description": words,
                    "content": {media_type if status == 200 else "application/json": {"schema": schema}},
                }
                for status, (words, schema) in answers.items()
            },
        }
        if body:
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
        if upload:  # OpenAPI 3.1 describes bytes by their media type alone
            operation["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
        self._paths.setdefault(path, {})[method.lower()] = operation

        def register(handler: Handler) -> Handler:
            uri = re.sub(r"{(\w+)}", r"<\1:str>", path)
            # Sanic leaves open what handlers its decorator takes.
            self._app.route(  # pyright: ignore[reportUnknownMemberType]
                uri,
                [method],
                strict_slashes=True,
                name=operation["operationId"],
                unquote=True,
                stream=upload,
                websocket=websocket,
            )(handler)
            return handler

        return register

    async def _describe(self, _: Request) -> HTTPResponse:
        return answer(self._document)


async def _name_version(_: Request, response: BaseHTTPResponse) -> None:
    response.headers["X-CoreRL-Version"] = VERSION


def _refuse(request: Request, exception: Exception) -> HTTPResponse:
    match exception:
        case RefusalError():
            return answer({"detail": exception.detail}, exception.status, exception.headers)
        case NotFound() if location := _other_slash(request):
            return HTTPResponse(status=307, headers={"location": location}, content_type="text/plain")
        case MethodNotAllowed():
            return answer({"detail": "Method Not Allowed"}, 405, exception.headers)
        case NotFound():
            return answer({"detail": "Not Found"}, 404)
        case SanicException(status_code=426):
            words = "This is a WebSocket: the request lacks its handshake"
            return answer({"detail": words}, 426, {"Upgrade": "websocket", "Connection": "Upgrade"})
        case SanicException():
            return answer({"detail": str(exception)}, exception.status_code, exception.headers)
        case _:
            error_logger.error("A handler failed", exc_info=exception)
            return answer({"detail": "Internal Server Error"}, 500)


def _other_slash(request: Request) -> str | None:
    """Where the same path with its trailing slash (or without all of them) is, if anything is there."""
    path = request.path.rstrip("/") if request.path.endswith("/") else request.path + "/"
    try:
        request.app.router.get(path, request.method, None)
    except NotFound:
        return None
    except MethodNotAllowed:
        pass
    # Without a Host (HTTP/1.0) only a relative reference is sure to lead back here.
    origin = f"http://{request.host}" if request.host else ""
    return f"{origin}{path}" + (f"?{request.query_string}" if request.query_string else "")
