"""The gateway's OpenAPI 3.1 document, made from the settings and from what own routes say of themselves.

Each backend is a tag. OpenAPI cannot describe a path of any depth, so a backend's routes are one path item
`<prefix>/{path}` in which `path` may contain slashes; `/docs` sends them as slashes. Upstream addresses are
nowhere in the document: it is for the gateway's clients.

Own routes, the gateway's and the user's, are described by the decorators of sanic-ext at their handlers
(`sanic_app.documents`). Here they get what every answer of the gateway has.
"""

from collections.abc import Callable, Collection, Iterable
from itertools import count
from typing import Any

from sanic_ext import openapi
from sanic_ext.extensions.openapi.definitions import Response

from coregateway.endpoints.components import (
    ALWAYS,
    JSON,
    OWN_TAG,
    by_status,
    components,
    own_schema,
    path_of,
    problem_of,
    ref,
)
from coregateway.openapi.security import gateways
from coregateway.prober.planning import ways_of
from coregateway.sanic_app.documents import OwnDocument
from coregateway.settings import BackendSettings, Settings

USERS_TAG = "application"
"""Of the operations of users that name none, and belong to no blueprint."""

DESCRIBABLE = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"})
"""The methods that a path item has a field for (OpenAPI 3.1 §4.8.9), TRACE apart: it is never forwarded."""

WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose body has a meaning. Others are forwarded with their bodies too, but seldom have one."""

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
        "components": _merged(components(settings, described), own.components),
    }


def _described(description: str) -> JSON:
    return {"description": description} if description else {}


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


def about(name: str, backend: BackendSettings, state: str) -> JSON:
    """The tag of a backend; `state`: of its document."""
    return {"name": name, "description": _about(name, backend), "x-coregateway": {"state": state}}


def _forwarded(settings: Settings, name: str, backend: BackendSettings) -> JSON:
    responses = {str(status): ref("responses", problem_of(status)) for status in by_status()}
    responses["default"] = ref("responses", "Relayed")
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
            "parameters": [ref("parameters", path_of(name)), ref("parameters", "Query")],
            "responses": responses,
            **({"security": security} if security else {}),
        }
        if method in WITH_BODY:
            operation["requestBody"] = ref("requestBodies", "Body")
        item[method.lower()] = operation
    return item


def _own(operation: JSON, taken: set[str], described: Collection[str]) -> JSON:
    """An operation of an own route, with what every answer of the gateway has, and an id of its own, which
    no operation of a backend has."""
    answers = {
        status: answer if "$ref" in answer else answer | {"headers": answer.get("headers", {}) | ALWAYS}
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
        "responses": {**answers, "default": answers.get("default") or ref("responses", "Refused")},
    }


def state(
    operation: str, summary: str, schema: str, answers: Iterable[tuple[int, str, JSON]]
) -> Callable[[Any], Any]:
    """Describe a handler that answers by JSON; `answers`: status, words and an example of each."""
    reference = ref("schemas", own_schema(schema))
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
