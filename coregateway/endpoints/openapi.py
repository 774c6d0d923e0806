"""The gateway's OpenAPI 3.1 document, made from the settings and from what own routes say of themselves.

Each backend is a tag. OpenAPI cannot describe a path of any depth, so a backend's routes are one path item
`<prefix>/{path}` in which `path` may contain slashes; `/docs` sends them as slashes. Upstream addresses are
nowhere in the document: it is for the gateway's clients.

Own routes, the gateway's and the user's, are described by the decorators of sanic-ext at their handlers
(`sanic_app.documents`). Here they get what every answer of the gateway has.
"""

from collections.abc import Callable, Collection, Iterable
from itertools import count, groupby
from operator import attrgetter
from typing import Any

from sanic_ext import openapi
from sanic_ext.extensions.openapi.definitions import Response

from coregateway.model.contract import CONTRACT
from coregateway.model.errors import GatewayError, MethodNotAllowed, Unavailable
from coregateway.openapi.security import gateways
from coregateway.prober.planning import ways_of
from coregateway.sanic_app.documents import OwnDocument
from coregateway.settings import BackendSettings, Settings

type JSON = dict[str, Any]

OWN_TAG = "gateway"

USERS_TAG = "application"
"""Of the operations of users that name none, and belong to no blueprint."""

DESCRIBABLE = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"})
"""The methods that a path item has a field for (OpenAPI 3.1 §4.8.9), TRACE apart: it is never forwarded."""

WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose body has a meaning. Others are forwarded with their bodies too, but seldom have one."""

EXAMPLE_REQUEST_ID = "0b9d1c6e4f5a47d2a3c8e7f601b2c3d4"

DESCRIPTION = """\
One address for every backend. A request to `<prefix>/<path>` is forwarded to `/<path>` of the backend that
has the prefix, and what the backend answers comes back unchanged.

Every answer carries `X-CoreRL-Version` and `X-Request-ID`. When the gateway itself has to refuse or to give
up, the answer is a problem document (RFC 9457) and the header `X-CoreGateway-Error` names the cause; an
answer without that header is the backend's own, whatever its status.
"""


def document(
    settings: Settings, version: str, own: OwnDocument, described: Collection[str] = frozenset()
) -> JSON:
    """Return the document for the gateway with these settings; `version` is the gateway's own.

    `own`: what the own routes of the application say. `described`: backends whose operations are known from
    documents of theirs: they are left out.
    """
    paths = {
        f"{backend.prefix}/{{path}}": _forwarded(settings, name, backend)
        for name, backend in settings.backends.items()
        if name not in described
    }
    taken = {operation["operationId"] for item in paths.values() for operation in item.values()}
    own_paths = {
        path: {method: _own(operation, taken, described) for method, operation in item.items()}
        for path, item in own.paths.items()
        if not any(f"{path}/".startswith(f"{settings.backends[name].prefix}/") for name in described)
    }
    # By name, for tags have to be unique: a backend may be called "gateway" too.
    tags = {
        name: _about(name, backend) for name, backend in settings.backends.items() if name not in described
    }
    used = (tag for item in own_paths.values() for operation in item.values() for tag in operation["tags"])
    words = {tag: own.tags.get(tag, {}).get("description") for tag in used}
    for tag, about in (words | {OWN_TAG: "What the gateway answers itself."}).items():
        tags[tag] = " ".join(filter(None, [tags.get(tag), about]))
    return {
        "openapi": "3.1.0",
        "info": {"title": "CoreGateway", "version": version, "description": DESCRIPTION},
        "tags": [{"name": name, **_described(description)} for name, description in tags.items()],
        "servers": [{"url": "/"}],
        "paths": {**paths, **own_paths},
        "components": _merged(_components(settings, described), own.components),
    }


def _described(description: str) -> JSON:
    return {"description": description} if description else {}


def _components(settings: Settings, described: Collection[str]) -> JSON:
    schemes = security_schemes(settings)
    return {
        **({"securitySchemes": schemes} if schemes else {}),
        "schemas": {
            _own_schema(name): schema
            for name, schema in (("Problem", _PROBLEM), ("Health", _HEALTH), ("State", _STATE))
        },
        "parameters": {
            **{
                _path_of(name): _path_parameter(backend)
                for name, backend in settings.backends.items()
                if name not in described
            },
            "Query": _QUERY,
        },
        "headers": {"Version": _VERSION, "RequestID": _REQUEST_ID, "RetryAfter": _RETRY_AFTER},
        "requestBodies": {"Body": _BODY},
        "responses": {
            "Relayed": _RELAYED,
            "Refused": _REFUSED,
            **{_component(status): _problem(errors) for status, errors in _by_status().items()},
        },
    }


def _merged(components: JSON, users: JSON) -> JSON:
    """Those of the gateway keep their names, whatever a user's are called."""
    return {
        kind: users.get(kind, {}) | components.get(kind, {}) for kind in dict.fromkeys([*components, *users])
    }


def _about(name: str, backend: BackendSettings) -> str:
    words = f"The backend *{name}*: `{backend.prefix}/<path>` is its `/<path>`."
    if backend.health.path is None:
        return f"{words} `/health` opens a connection to it."
    return f"{words} `/health` asks its `{backend.health.path}`."


def security_schemes(settings: Settings) -> JSON:
    """How callers authenticate where a backend requires it."""
    found: JSON = {}
    for row in settings.backends.values():
        for way in ways_of(settings, row.auth.require):
            if way.scheme == "gateway.keys":
                found[way.scheme] = {
                    "type": "apiKey",
                    "in": "header",
                    "name": settings.auth.keys.header,
                    "description": "A key of this gateway.",
                }
            else:
                issuer = settings.auth.jwt[way.scheme.removeprefix("gateway.jwt.")].issuer
                found[way.scheme] = {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": f"A token of {issuer}.",
                }
    return found


def about(name: str, backend: BackendSettings, state: str) -> JSON:
    """The tag of a backend; `state`: of its document."""
    return {"name": name, "description": _about(name, backend), "x-coregateway": {"state": state}}


def _forwarded(settings: Settings, name: str, backend: BackendSettings) -> JSON:
    responses = {str(status): _ref("responses", _component(status)) for status in _by_status()}
    responses["default"] = _ref("responses", "Relayed")
    security = gateways(ways_of(settings, backend.auth.require), anonymous=backend.auth.anonymous)
    item: JSON = {}
    for method in backend.methods:
        if method not in DESCRIBABLE:
            continue
        operation: JSON = {
            "tags": [name],
            "operationId": f"{method.lower()}_{name}",
            "summary": f"Forward to {name}",
            # Not at the path item, where Swagger UI shows them after the operation's and ignores references.
            "parameters": [_ref("parameters", _path_of(name)), _ref("parameters", "Query")],
            "responses": responses,
            **({"security": security} if security else {}),
        }
        if method in WITH_BODY:
            operation["requestBody"] = _ref("requestBodies", "Body")
        item[method.lower()] = operation
    return item


def _path_of(name: str) -> str:
    return f"Path-{name}"


def _path_parameter(backend: BackendSettings) -> JSON:
    parameter: JSON = {
        "name": "path",
        "in": "path",
        "required": True,
        "description": (
            "The path at the backend without its first slash, written as in a URL: it is forwarded byte "
            "for byte. It may contain slashes, which must be sent as slashes and not as `%2F`."
        ),
        "schema": {"type": "string"},
    }
    if backend.health.path is not None:
        parameter["example"] = backend.health.path.partition("?")[0].removeprefix("/")
    return parameter


def _own(operation: JSON, taken: set[str], described: Collection[str]) -> JSON:
    """An operation of an own route, with what every answer of the gateway has, and an id of its own, which
    no operation of a backend has."""
    answers = {
        status: answer if "$ref" in answer else answer | {"headers": answer.get("headers", {}) | _ALWAYS}
        for status, answer in operation["responses"].items()
    }
    name = str(operation["operationId"])
    if any(name.startswith((f"{backend}_", f"{backend}.")) for backend in described):
        name = f"{USERS_TAG}.{name}"
    numbered = (f"{name}_{number}" for number in count(2))
    while name in taken:
        name = next(numbered)
    taken.add(name)
    return {
        **operation,
        "operationId": name,
        "tags": operation.get("tags") or [USERS_TAG],
        "responses": {**answers, "default": answers.get("default") or _ref("responses", "Refused")},
    }


def state(
    operation: str, summary: str, schema: str, answers: Iterable[tuple[int, str, JSON]]
) -> Callable[[Any], Any]:
    """Describe a handler that answers by JSON; `answers`: status, words and an example of each."""
    reference = _ref("schemas", _own_schema(schema))
    responses = (
        Response({"application/json": {"schema": reference, "example": example}}, status, words)
        for status, words, example in answers
    )
    return own(operation, summary, *responses)


def own(operation: str, summary: str, *responses: Response) -> Callable[[Any], Any]:
    """Describe a handler of the gateway's own."""
    return openapi.definition(operation=operation, summary=summary, tag=OWN_TAG, response=[*responses])


def answer(status: int, description: str, media_type: str | None = None) -> Response:
    """An answer whose content needs no words."""
    return Response({media_type: {"schema": {}}} if media_type else None, status, description)


def _by_status() -> dict[int, tuple[type[GatewayError], ...]]:
    status = attrgetter("status")
    return {key: tuple(errors) for key, errors in groupby(sorted(CONTRACT, key=status), key=status)}


def _component(status: int) -> str:
    return f"Problem{status}"


def _problem(errors: tuple[type[GatewayError], ...]) -> JSON:
    headers: JSON = {**_ALWAYS, "X-CoreGateway-Error": _cause(errors)}
    if any(issubclass(error, Unavailable) for error in errors):
        headers["Retry-After"] = _ref("headers", "RetryAfter")
    if MethodNotAllowed in errors:
        headers["Allow"] = {"description": "The methods of this backend.", "schema": {"type": "string"}}
    causes = ", ".join(f"`{error.cause}`" for error in errors)
    return {
        "description": f"{errors[0].title}, from the gateway: {causes}.",
        "headers": headers,
        "content": {
            "application/problem+json": {
                "schema": _ref("schemas", _own_schema("Problem")),
                "examples": {
                    error.cause: {
                        "value": {
                            "type": "about:blank",
                            "title": error.title,
                            "status": error.status,
                            "detail": error.detail,
                            "request_id": EXAMPLE_REQUEST_ID,
                        }
                    }
                    for error in errors
                },
            }
        },
    }


def _cause(errors: Iterable[type[GatewayError]]) -> JSON:
    return {
        "description": "The cause, as one token. Only on answers of the gateway itself.",
        "schema": {"type": "string", "enum": [error.cause for error in errors]},
    }


def _own_schema(name: str) -> str:
    """A name that no class of a user has."""
    return f"{OWN_TAG}.{name}"


def _ref(kind: str, name: str) -> JSON:
    return {"$ref": f"#/components/{kind}/{name}"}


_ALWAYS: JSON = {
    "X-CoreRL-Version": _ref("headers", "Version"),
    "X-Request-ID": _ref("headers", "RequestID"),
}

_VERSION: JSON = {"description": "The gateway's version.", "schema": {"type": "string"}}

_REQUEST_ID: JSON = {
    "description": "The client's own `X-Request-ID` when it is usable, otherwise a new one.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$"},
}

_RETRY_AFTER: JSON = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}

_PROBLEM: JSON = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "The same as in `X-Request-ID` and in the log."},
    },
    "required": ["type", "title", "status", "detail", "request_id"],
}

_HEALTH: JSON = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["healthy", "degraded"]},
        "services": {
            "type": "object",
            "additionalProperties": {"type": "string", "enum": ["healthy", "unhealthy"]},
        },
    },
    "required": ["status", "services"],
}

_STATE: JSON = {
    "type": "object",
    "properties": {"status": {"type": "string", "enum": ["alive", "ready", "not ready"]}},
    "required": ["status"],
}

_QUERY: JSON = {
    "name": "query",
    "in": "query",
    "style": "form",
    "explode": True,
    "description": "Any query: each property becomes one `name=value`. It is forwarded byte for byte.",
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "example": {},
}

_BODY: JSON = {
    "description": "Any body of any media type.",
    "content": {
        "application/json": {"schema": {}, "example": {}},
        "text/plain": {"schema": {"type": "string"}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}

_RELAYED: JSON = {
    "description": (
        "What the backend sent: its status, headers and body. It may have a status listed above too, "
        "then without `X-CoreGateway-Error`."
    ),
    "headers": _ALWAYS,
    "content": {"*/*": {"schema": {}}},
}

_REFUSED: JSON = {
    "description": "The gateway refused the request.",
    "headers": {
        **_ALWAYS,
        "X-CoreGateway-Error": {"description": "The cause, as one token.", "schema": {"type": "string"}},
    },
    "content": {"application/problem+json": {"schema": _ref("schemas", _own_schema("Problem"))}},
}
